"""Encodes a ring's pictures into packets in memory, and writes files of such packets."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, cast

from av.packet import Packet

from offcam_proto.errors import EncodeError
from offcamd.video.av_errors import as_encode_error
from offcamd.video.packet_file import PacketFile
from offcamd.video.picture_encoder import PictureEncoder, VideoFormat

if TYPE_CHECKING:
    from pathlib import Path

    from av.video.stream import VideoStream

    from offcamd.video.pixels import Pixels


class RingEncoder:
    """Encodes pictures with x264 into packets in memory. Use it, and its files, from one thread at a time.

    Args:
        path: by which errors name it; nothing is written there.
        width: of the pictures in pixels, even.
        height: of the pictures in pixels, even.
        fps: pictures a second; need not be whole.
        preset: see `offcamd.video.mp4.VideoWriter`.
        crf: see `offcamd.video.mp4.VideoWriter`.

    Raises:
        EncodeError: the encoder does not take these settings.
    """

    def __init__(self, path: Path, *, width: int, height: int, fps: Fraction, preset: str, crf: int) -> None:
        self._path = path
        self._shape = (height * 3 // 2, width)
        with as_encode_error("encoding for", path):
            self._encoder = PictureEncoder(
                VideoFormat(width=width, height=height, fps=Fraction(fps), preset=preset, crf=crf)
            )

    def encode(self, i420: Pixels, pts: int, *, key: bool) -> list[tuple[int, bytes, bool]]:
        """Encode one picture, as a keyframe with ``key``; or raise EncodeError.

        Args:
            i420: as for `offcamd.video.mp4.VideoWriter.write`.
            pts: when it is shown, in frames.
            key: whether to make it a keyframe.

        Returns:
            Of each picture that is done: its pts in frames, its bytes, and whether it is a keyframe.
        """
        if i420.shape != self._shape:  # av would rescale the picture silently
            raise EncodeError(f"{self._path} holds pictures of shape {self._shape}, got {i420.shape}")
        with as_encode_error("encoding for", self._path):
            packets = self._encoder.encode(i420, pts, key=key)
        return [(packet.pts or 0, bytes(packet), packet.is_keyframe) for packet in packets]

    def file(self, path: Path) -> RingFile:
        """Begin a file for packets of this encoder; or raise EncodeError."""
        with as_encode_error("creating", path):
            return RingFile(path, PacketFile(path, self._encoder.stream), self._encoder.tick)

    def close(self) -> None:
        """Close the encoder: it makes no more packets and files."""


class RingFile:
    """A file of a ring's packets, the first a keyframe. After an EncodeError only `close` may be called."""

    def __init__(self, path: Path, file: PacketFile, tick: Fraction) -> None:
        self._path = path
        self._file = file
        self._tick = tick

    def write(self, data: bytes, pts: int, *, key: bool) -> None:
        """Write the next packet, shown at ``pts`` in frames since the file's start; or raise EncodeError."""
        packet = cast("Packet[VideoStream]", Packet(data))
        packet.pts = packet.dts = pts
        packet.time_base = self._tick
        packet.is_keyframe = key
        with as_encode_error("writing", self._path):
            self._file.require()
            self._file.write([packet])

    def close(self) -> None:
        """Finish the file; or raise EncodeError."""
        with as_encode_error("finishing", self._path):
            self._file.close()

    def copy_to(self, target: Path) -> None:
        """Write the finished file once more as a plain MP4; or raise EncodeError."""
        with as_encode_error("copying", self._path):
            self._file.copy_to(target)
