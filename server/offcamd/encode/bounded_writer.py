"""Writers that stay within what memory and disk are meant for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from offcamd.video.h264 import encoder_bytes

if TYPE_CHECKING:
    from fractions import Fraction
    from pathlib import Path

    from offcamd.encode.disk_reserve import DiskReserve
    from offcamd.encode.encoder_memory import EncoderMemory
    from offcamd.video.pixels import Pixels
    from offcamd.video.writer import Writer, WriterFactory

PICTURES = 2
"""So many pictures of a video are in the muxer's hands beyond what the disk has seen."""


class BoundedWriters:
    """Makes the same writers, but refuses one for which there is no memory and ends a video where its disk runs short.

    Args:
        make_writer: makes them.
        memory: what all encoders together may take; without it: EncodeError (``encoder``).
        reserve: what is kept free on the disk; where there is no more: EncodeError (``disk_full``).
    """

    def __init__(self, make_writer: WriterFactory, memory: EncoderMemory, reserve: DiskReserve) -> None:
        self._make_writer = make_writer
        self._memory = memory
        self._reserve = reserve

    def __call__(self, path: Path, *, width: int, height: int, fps: Fraction, preset: str, crf: int) -> Writer:
        """Create the file, or raise EncodeError."""
        nbytes = encoder_bytes(width, height, preset)
        self._memory.take(path, nbytes)
        try:
            self._reserve.require(path, 0)
            writer = self._make_writer(path, width=width, height=height, fps=fps, preset=preset, crf=crf)
        except BaseException:
            self._memory.give_back(nbytes)
            raise
        return _BoundedWriter(writer, path, nbytes, self._memory, self._reserve)


class _BoundedWriter:
    def __init__(self, writer: Writer, path: Path, nbytes: int, memory: EncoderMemory, reserve: DiskReserve) -> None:
        self.copy_to = writer.copy_to
        self._writer = writer
        self._path = path
        self._nbytes = nbytes
        self._memory = memory
        self._reserve = reserve

    def write(self, i420: Pixels, pts: int) -> None:
        self._reserve.require(self._path, PICTURES * i420.nbytes)  # encoded, a picture is hardly ever larger
        self._writer.write(i420, pts)

    def close(self) -> None:
        nbytes, self._nbytes = self._nbytes, 0
        try:
            self._writer.close()
        finally:
            self._memory.give_back(nbytes)
