"""An MP4 file of packets while it is written: fragmented, so that a crash costs at most the last packet."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, cast

import av
from av.packet import Packet

from offcam_proto.errors import EncodeError
from offcam_proto.limits import KIB
from offcamd.video.av_errors import file_url
from offcamd.video.h264 import byte_stream, parameter_sets
from offcamd.video.probe import decodable
from offcamd.video.remux import copy_packets, remux

if TYPE_CHECKING:
    from fractions import Fraction
    from pathlib import Path

    from av.container import OutputContainer
    from av.video.stream import VideoStream

KEPT_PACKETS, KEPT_BYTES = 256, 128 * KIB
"""Most bytes of a video that are kept in memory for its copy; a longer video is read back instead."""

_MOVFLAGS = "hybrid_fragmented+frag_every_frame+empty_moov+default_base_moof"


class PacketFile:
    """One MP4 that is being written. Use it from one thread at a time. Errors of av and of the system are not caught.

    Each packet is handed to the operating system when the next one is written.

    Args:
        path: the file, made anew; its folder exists.
        template: the encoder's stream, which describes the packets; it has to stay open as long as this is used.
    """

    def __init__(self, path: Path, template: VideoStream) -> None:
        self._path = path
        self._template = template
        self._kept: list[Packet[VideoStream]] | None = []
        self._kept_bytes = 0
        self._least_dts: int | None = None
        url = file_url(path)
        path.unlink(missing_ok=True)  # av would write through a link, to wherever that leads
        options = {"movflags": _MOVFLAGS, "flush_packets": "1"}
        self._container: OutputContainer | None = av.open(url, "w", format="mp4", options=options)
        try:
            self._stream = self._container.add_stream_from_template(template, opaque=True)
            self._container.start_encoding()  # creates the file
            self._file = path.lstat()
        except BaseException:
            self.close()
            raise

    @property
    def closed(self) -> bool:
        """Whether the file takes no more packets."""
        return self._container is None

    def require(self) -> None:
        """Raise FileNotFoundError if the file is not at its path any more."""
        if not os.path.samestat(os.lstat(self._path), self._file):
            raise FileNotFoundError(errno.ENOENT, "another file was put in its place")

    def write(self, packets: Iterable[Packet[VideoStream]]) -> None:
        """Write the next packets, in order."""
        assert self._container is not None  # noqa: S101 - its callers check `closed`
        for packet in packets:
            packet.stream = self._stream
            if self._least_dts is not None and packet.dts is not None:  # that of a second encoder may begin too early
                packet.dts = max(packet.dts, self._least_dts)
                self._least_dts = packet.dts + 1
            packet.duration = 1  # else the last picture would have no duration
            self._container.mux_one(packet)
            if self._kept is not None:
                self._kept.append(packet)
                self._kept_bytes += packet.size
                if len(self._kept) > KEPT_PACKETS or self._kept_bytes > KEPT_BYTES:
                    self._kept = None

    def take_over(self, unfinished: Path, tick: Fraction) -> int:
        """Write the packets of another file of the same encoder's settings first, and take its place.

        Args:
            unfinished: the other file.
            tick: the time base of this file's packets.

        Returns:
            The pts of the last picture, in ticks.
        """
        last, self._least_dts = 0, -(2**31)
        with av.open(file_url(unfinished), format="mp4") as old:
            stream = decodable(old)
            ours, theirs = (parameter_sets(each.codec_context.extradata or b"") for each in (self._template, stream))
            if ours != theirs:
                raise EncodeError(f"{unfinished} is of an encoder with other settings, so nothing can be added to it")
            for sample in old.demux(stream):
                if sample.pts is not None and sample.dts is not None:
                    scale = sample.time_base / tick
                    packet = cast("Packet[VideoStream]", Packet(byte_stream(bytes(sample))))
                    packet.pts, packet.dts, packet.time_base = (
                        round(sample.pts * scale),
                        round(sample.dts * scale),
                        tick,
                    )
                    packet.is_keyframe = sample.is_keyframe
                    last = max(last, packet.pts)
                    self.write([packet])
        self._path.replace(unfinished)
        self._path = unfinished
        return last

    def close(self) -> None:
        """Finish the file, so that it is a plain MP4. A second call does nothing."""
        container, self._container = self._container, None
        if container is not None:
            container.close()

    def copy_to(self, target: Path) -> None:
        """Write the finished file once more, as `remux` does, but at a fraction of the cost if it is short."""
        if self._kept is None:
            remux(self._path, target)
        else:
            # The template is the encoder's stream: this file's own is closed, and av 19 does not take a closed one.
            copy_packets(self._template, self._kept, target)
