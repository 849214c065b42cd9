"""Protocols: what writers of videos can do, and the factories that make them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from fractions import Fraction
    from pathlib import Path

    from offcamd.video.pixels import Pixels


class VideoFile(Protocol):
    """A video file that is being written, of pictures or of packets."""

    def close(self) -> None:
        """Finish the file, or raise EncodeError."""

    def copy_to(self, target: Path) -> None:
        """Write the finished video once more, as a plain MP4 without the fragments; or raise EncodeError."""


class Writer(VideoFile, Protocol):
    """Encodes the pictures of one clip into a file, as `offcamd.video.mp4.VideoWriter` does."""

    def write(self, i420: Pixels, pts: int) -> None:
        """Encode a picture, see `offcamd.video.mp4.VideoWriter.write`; or raise EncodeError."""

    def go_on_from(self, unfinished: Path) -> int:
        """Take over an unfinished file, see `offcamd.video.mp4.VideoWriter.go_on_from`; or raise EncodeError."""


class PacketWriter(VideoFile, Protocol):
    """Writes encoded pictures into a file, as `offcamd.video.ring_encoder.RingFile` does."""

    def write(self, data: bytes, pts: int, *, key: bool) -> None:
        """Write an encoded picture, shown at ``pts`` in frames since the file's start; or raise EncodeError."""


class PacketEncoder(Protocol):
    """Encodes the pictures of a ring, as `offcamd.video.ring_encoder.RingEncoder` does."""

    def encode(self, i420: Pixels, pts: int, *, key: bool) -> list[tuple[int, bytes, bool]]:
        """Encode a picture, or raise EncodeError; returns pts, bytes and whether a keyframe of each that is done."""

    def file(self, path: Path) -> PacketWriter:
        """Begin a file for its pictures; or raise EncodeError."""

    def close(self) -> None:
        """Close the encoder: it makes no more pictures and files."""


class PacketEncoderFactory(Protocol):
    """Makes a `PacketEncoder`."""

    def __call__(self, path: Path, *, width: int, height: int, fps: Fraction, preset: str, crf: int) -> PacketEncoder:
        """Open an encoder, or raise EncodeError; errors name it by ``path``."""


class WriterFactory(Protocol):
    """Makes a `Writer`; the class `VideoWriter` is such a factory."""

    def __call__(self, path: Path, *, width: int, height: int, fps: Fraction, preset: str, crf: int) -> Writer:
        """Create the file, or raise EncodeError."""
