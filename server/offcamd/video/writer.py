"""What a video's writer can do, and what makes one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from fractions import Fraction
    from pathlib import Path

    from offcamd.video.pixels import Pixels


class VideoFile(Protocol):
    """A video that is being written, of whatever it is given."""

    def close(self) -> None:
        """Finish the file, or raise EncodeError."""

    def copy_to(self, target: Path) -> None:
        """Write what was finished once more, without the marks that keep a crash from costing it; or EncodeError."""


class Writer(VideoFile, Protocol):
    """What encodes the pictures of one clip; `offcamd.video.mp4.VideoWriter` does."""

    def write(self, i420: Pixels, pts: int) -> None:
        """Encode a picture, or raise EncodeError."""


class PacketWriter(VideoFile, Protocol):
    """What writes pictures that are encoded already; `offcamd.video.ring_encoder.RingFile` does."""

    def write(self, data: bytes, pts: int, *, key: bool) -> None:
        """Write a picture, or raise EncodeError."""


class PacketEncoder(Protocol):
    """What encodes the pictures of a ring; `offcamd.video.ring_encoder.RingEncoder` does."""

    def encode(self, i420: Pixels, pts: int, *, key: bool) -> list[tuple[int, bytes, bool]]:
        """The time, the bytes, and whether it is a key, of each picture that is done; or EncodeError."""

    def file(self, path: Path) -> PacketWriter:
        """Begin a file of its pictures; or EncodeError."""

    def close(self) -> None:
        """It makes no more pictures, and no more files."""


class PacketEncoderFactory(Protocol):
    """What makes a `PacketEncoder`."""

    def __call__(self, path: Path, *, width: int, height: int, fps: Fraction, preset: str, crf: int) -> PacketEncoder:
        """Open an encoder, or raise EncodeError; ``path`` is what errors call it."""


class WriterFactory(Protocol):
    """What makes a `Writer`; the class `VideoWriter` is one."""

    def __call__(self, path: Path, *, width: int, height: int, fps: Fraction, preset: str, crf: int) -> Writer:
        """Create the file, or raise EncodeError."""
