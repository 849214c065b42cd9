"""Pictures in, packets in memory out: what a ring holds, and the files that are made of it."""

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
    """Encodes pictures by x264 into packets that nobody has written. Use it, and its files, from one thread at a time.

    Args:
        path: what errors call it.
        width: of the pictures in pixels, even.
        height: of the pictures in pixels, even.
        fps: pictures a second; need not be whole.
        preset: as of `offcamd.video.mp4.VideoWriter`.
        crf: likewise.

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
        """Encode one picture, by itself where it is to be a ``key``; or EncodeError.

        Returns:
            Of each picture that is done its time, its bytes, and whether it can be decoded without those before.
        """
        if i420.shape != self._shape:  # av would rescale it without a word
            raise EncodeError(f"{self._path} holds pictures of shape {self._shape}, got {i420.shape}")
        with as_encode_error("encoding for", self._path):
            packets = self._encoder.encode(i420, pts, key=key)
        return [(packet.pts or 0, bytes(packet), packet.is_keyframe) for packet in packets]

    def file(self, path: Path) -> RingFile:
        """Begin a file of its packets; or EncodeError."""
        with as_encode_error("creating", path):
            return RingFile(path, PacketFile(path, self._encoder.stream), self._encoder.tick)

    def close(self) -> None:
        """It makes no more packets, and no more files."""


class RingFile:
    """A file that is made of a ring's packets, beginning with a key. After an EncodeError only `close` is of use."""

    def __init__(self, path: Path, file: PacketFile, tick: Fraction) -> None:
        self._path = path
        self._file = file
        self._tick = tick

    def write(self, data: bytes, pts: int, *, key: bool) -> None:
        """Write the next packet, to be shown at a time in frames since the file's start; or EncodeError."""
        packet = cast("Packet[VideoStream]", Packet(data))
        packet.pts = packet.dts = pts
        packet.time_base = self._tick
        packet.is_keyframe = key
        with as_encode_error("writing", self._path):
            self._file.require()
            self._file.write([packet])

    def close(self) -> None:
        """Finish the file; or EncodeError."""
        with as_encode_error("finishing", self._path):
            self._file.close()

    def copy_to(self, target: Path) -> None:
        """Write what was finished once more, as a plain MP4; or EncodeError."""
        with as_encode_error("copying", self._path):
            self._file.copy_to(target)
