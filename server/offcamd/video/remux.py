"""Copies a video into a plain MP4, packet by packet, without encoding it again."""

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

_NO_DECODING = {"skip_frame": "all"}  # else opening a file decodes a keyframe: tens of ms at 1920x1080


def remux(source: Path, target: Path) -> None:
    """Copy a video into a plain MP4 without encoding it again.

    Args:
        source: an MP4, such as one that `offcamd.video.files.salvage` made playable. It is not changed.
        target: the copy; an existing file is replaced.

    Raises:
        EncodeError: either file failed. ``target`` may be left incomplete.
    """
    with as_encode_error("copying", source), av.open(file_url(source), format="mp4", options=_NO_DECODING) as old:
        stream = decodable(old)
        # The empty packet that ends a stream, which has no time, is left out.
        copy_packets(stream, (packet for packet in old.demux(stream) if packet.dts is not None), target)


def copy_packets(template: VideoStream, packets: Iterable[Packet[VideoStream]], target: Path) -> None:
    """Make a plain MP4 of packets. Errors of av are not caught."""
    target.unlink(missing_ok=True)  # av would write through a link, to wherever that leads
    with av.open(file_url(target), "w", format="mp4") as container:
        stream = container.add_stream_from_template(template, opaque=True)
        for packet in packets:
            packet.stream = stream
            container.mux_one(packet)
