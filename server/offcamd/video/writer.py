"""What a video's writer can do, and what makes one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from fractions import Fraction
    from pathlib import Path

    from offcamd.video.pixels import Pixels


class Writer(Protocol):
    """What encodes the pictures of one clip; `offcamd.video.mp4.VideoWriter` does."""

    def write(self, i420: Pixels, pts: int) -> None:
        """Encode a picture, or raise EncodeError."""

    def close(self) -> None:
        """Finish the file, or raise EncodeError."""

    def copy_to(self, target: Path) -> None:
        """Write what was finished once more, without the marks that keep a crash from costing it; or EncodeError."""


class WriterFactory(Protocol):
    """What makes a `Writer`; the class `VideoWriter` is one."""

    def __call__(self, path: Path, *, width: int, height: int, fps: Fraction, preset: str, crf: int) -> Writer:
        """Create the file, or raise EncodeError."""
