"""Copies a video into a plain MP4: its packets as they are, nothing is encoded again."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import av

from offcamd.video.av_errors import as_encode_error, file_url
from offcamd.video.probe import decodable

if TYPE_CHECKING:
    from pathlib import Path

    from av.packet import Packet
    from av.video.stream import VideoStream

_NO_DECODING = {"skip_frame": "all"}  # or opening a file of 1920x1080 decodes a keyframe, for tens of milliseconds


def remux(source: Path, target: Path) -> None:
    """Copy a video into a plain MP4 without encoding it again.

    Args:
        source: an MP4, such as one that `offcamd.video.files.salvage` made playable. Untouched.
        target: the new file, made anew.

    Raises:
        EncodeError: either file failed. ``target`` may be left incomplete.
    """
    with as_encode_error("copying", source), av.open(file_url(source), format="mp4", options=_NO_DECODING) as old:
        stream = decodable(old)
        # the empty packet that ends a stream has no time
        copy_packets(stream, (packet for packet in old.demux(stream) if packet.dts is not None), target)


def copy_packets(template: VideoStream, packets: Iterable[Packet[VideoStream]], target: Path) -> None:
    """Make a plain MP4 of packets; av's errors are the caller's."""
    target.unlink(missing_ok=True)  # av would write through a link, to wherever that leads
    with av.open(file_url(target), "w", format="mp4") as container:
        stream = container.add_stream_from_template(template, opaque=True)
        for packet in packets:
            packet.stream = stream
            container.mux_one(packet)
