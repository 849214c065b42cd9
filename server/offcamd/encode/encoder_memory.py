"""Memory of the encoders themselves: each open video has one, however few frames come for it."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

from offcam_proto.errors import EncodeError
from offcam_proto.limits import MIB
from offcamd.video.h264 import FAST_PRESETS

if TYPE_CHECKING:
    from fractions import Fraction
    from pathlib import Path

    from offcamd.encode.clip_encoder import Writer, WriterFactory
    from offcamd.video.pixels import Pixels

ENCODER_BYTES = MIB
FAST_PIXEL_BYTES, PIXEL_BYTES = 24, 48
"""What an encoder takes at most: so much, and so much for each pixel, by fast presets and by the others.

Measured with x264 from 84x84 to 1920x1080: 0.6 to 38 MiB with ``flat`` and the copy of the last frame, 43
with ``superfast``, 75 with ``veryslow``.
"""


def half_of_memory() -> int:
    """Half of this host's memory in bytes: what encoders may take."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


def cost(width: int, height: int, preset: str) -> int:
    """Bytes that an encoder is counted as."""
    return ENCODER_BYTES + width * height * (FAST_PIXEL_BYTES if preset in FAST_PRESETS else PIXEL_BYTES)


class EncoderMemory:
    """Opens no more encoders than memory is meant for. Thread-safe.

    Args:
        limit: bytes for all encoders that are open at a time.

    Attributes:
        nbytes: what those that are open are counted as.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.nbytes = 0
        self._lock = threading.Lock()

    def guard(self, make_writer: WriterFactory) -> WriterFactory:
        """The same writers, but one for which there is no memory is refused with EncodeError (``encoder``)."""

        def make(path: Path, *, width: int, height: int, fps: Fraction, preset: str, crf: int) -> Writer:
            nbytes = cost(width, height, preset)
            self._take(nbytes, path)
            try:
                writer = make_writer(path, width=width, height=height, fps=fps, preset=preset, crf=crf)
            except BaseException:
                self.give_back(nbytes)
                raise
            return _Counted(writer, nbytes, self)

        return make

    def _take(self, nbytes: int, path: Path) -> None:
        with self._lock:
            if self.nbytes + nbytes > self.limit:
                raise EncodeError(
                    f"too many videos are open for {path} to be one more: their encoders take {self.nbytes:,} of "
                    f"{self.limit:,} bytes of memory. Record fewer environments at a time, or smaller frames",
                )
            self.nbytes += nbytes

    def give_back(self, nbytes: int) -> None:
        """An encoder is closed."""
        with self._lock:
            self.nbytes -= nbytes


class _Counted:
    def __init__(self, writer: Writer, nbytes: int, memory: EncoderMemory) -> None:
        self._writer = writer
        self._nbytes = nbytes
        self._memory = memory

    def write(self, i420: Pixels, pts: int) -> None:
        self._writer.write(i420, pts)

    def close(self) -> None:
        nbytes, self._nbytes = self._nbytes, 0
        try:
            self._writer.close()
        finally:
            self._memory.give_back(nbytes)

    def copy_to(self, target: Path) -> None:
        self._writer.copy_to(target)
