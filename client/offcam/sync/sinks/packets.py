"""A video's packets, as the encoder made them: nothing is decoded."""

from __future__ import annotations

import importlib
from typing import NamedTuple


class NotRemuxed(Exception):
    """The packets cannot be had; the message says why."""


class Packet(NamedTuple):
    """The packet of one frame.

    Attributes:
        seconds: when the frame is shown, from the beginning of the video.
        is_keyframe: whether the frame can be decoded without the frames before it.
        data: H.264 in Annex B; keyframes begin with the parameter sets that a decoder needs.
    """

    seconds: float
    is_keyframe: bool
    data: bytes


def packets(path: str) -> list[Packet]:
    """All packets of a video, in the order in which they are decoded and shown.

    Args:
        path: path of an MP4 with H.264.

    Raises:
        NotRemuxed: the file cannot be read, or its frames are shown in another order than they are decoded in.
        ModuleNotFoundError: PyAV is not installed.
    """
    av = importlib.import_module("av")  # the daemon's, and so there where a script has `offcam[server]`
    try:
        with av.open(f"file:{path}", format="mp4") as container:
            stream = container.streams.video[0]
            annex_b = av.bitstream.BitStreamFilterContext("h264_mp4toannexb", stream)
            found = [made for packet in container.demux(stream) if packet.size for made in annex_b.filter(packet)]
            base = stream.time_base
    except (OSError, av.error.FFmpegError, IndexError) as error:
        raise NotRemuxed(f"the video cannot be read: {error}") from error
    if any(packet.pts is None or packet.pts != packet.dts for packet in found):
        raise NotRemuxed("its frames are not shown in the order in which they are decoded")
    return [Packet(float(packet.pts * base), packet.is_keyframe, bytes(packet)) for packet in found]
