"""Factories that load what they need with the first video, as a daemon takes records before that."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fractions import Fraction
    from pathlib import Path

    from offcamd.video.writer import PacketEncoder, Writer, WriterFactory


def software(path: Path, *, width: int, height: int, fps: Fraction, preset: str, crf: int) -> Writer:
    """Make a `offcamd.video.mp4.VideoWriter`, which is loaded first."""
    from offcamd.video.mp4 import VideoWriter  # noqa: PLC0415 - loaded late, see above

    return VideoWriter(path, width=width, height=height, fps=fps, preset=preset, crf=crf)


def ring_encoder(path: Path, *, width: int, height: int, fps: Fraction, preset: str, crf: int) -> PacketEncoder:
    """Make a `offcamd.video.ring_encoder.RingEncoder`, which is loaded first."""
    from offcamd.video.ring_encoder import RingEncoder  # noqa: PLC0415 - loaded late, see above

    return RingEncoder(path, width=width, height=height, fps=fps, preset=preset, crf=crf)


class LateWriters:
    """A `WriterFactory` that makes the real factory with the first writer. Thread-safe.

    Args:
        factory: makes the real factory, as `offcamd.video.hardware.writer_factory` does, which may take seconds.
    """

    def __init__(self, factory: Callable[[], WriterFactory]) -> None:
        self._make_factory = factory
        self._factory: WriterFactory | None = None
        self._lock = threading.Lock()

    def __call__(self, path: Path, *, width: int, height: int, fps: Fraction, preset: str, crf: int) -> Writer:
        """Make a writer, see `WriterFactory`."""
        return self.load()(path, width=width, height=height, fps=fps, preset=preset, crf=crf)

    def load(self) -> WriterFactory:
        """Make the real factory, if it is not made yet."""
        with self._lock:
            factory = self._factory = self._factory or self._make_factory()
        return factory
