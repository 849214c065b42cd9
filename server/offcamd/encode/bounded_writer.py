"""Writers that stay within what memory and disk are meant for: each open video has an encoder, however idle."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

from offcam_proto.errors import EncodeError
from offcamd.video.h264 import encoder_bytes
from offcamd.video.late_writers import ring_encoder

if TYPE_CHECKING:
    from fractions import Fraction
    from pathlib import Path

    from offcamd.encode.disk_reserve import DiskReserve
    from offcamd.video.pixels import Pixels
    from offcamd.video.writer import PacketEncoder, PacketEncoderFactory, PacketWriter, Writer, WriterFactory

PICTURES = 2
"""So many pictures of a video are in the muxer's hands beyond what the disk has seen."""


def half_of_memory() -> int:
    """Half of this host's memory in bytes: what encoders may take."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


class BoundedWriters:
    """Makes writers, none for which there is no memory, and each ends its video where the disk runs short. Thread-safe.

    Args:
        make_writer: makes them.
        reserve: what is kept free on the disk; where there is no more: EncodeError (``disk_full``).
        memory_limit: bytes for all encoders that are open at a time; beyond it: EncodeError (``encoder``).
        make_encoder: makes the encoders of rings.

    Attributes:
        memory_bytes: what those that are open are counted as.
    """

    def __init__(
        self,
        make_writer: WriterFactory,
        reserve: DiskReserve,
        memory_limit: int,
        make_encoder: PacketEncoderFactory = ring_encoder,
    ) -> None:
        self.reserve = reserve
        self.memory_bytes = 0
        self._make_writer = make_writer
        self._make_encoder = make_encoder
        self._memory_limit = memory_limit
        self._lock = threading.Lock()

    def __call__(self, path: Path, *, width: int, height: int, fps: Fraction, preset: str, crf: int) -> Writer:
        """Create the file, or raise EncodeError."""
        nbytes = self._take(encoder_bytes(width, height, preset), path)
        try:
            self.reserve.require(path.parent, 0, path)
            writer = self._make_writer(path, width=width, height=height, fps=fps, preset=preset, crf=crf)
        except BaseException:
            self.give_back(nbytes)
            raise
        return _BoundedWriter(writer, path, nbytes, self)

    def ring(self, path: Path, *, width: int, height: int, fps: Fraction, preset: str, crf: int) -> PacketEncoder:
        """Open the encoder of a ring, or raise EncodeError."""
        nbytes = self._take(encoder_bytes(width, height, preset), path)
        try:
            encoder = self._make_encoder(path, width=width, height=height, fps=fps, preset=preset, crf=crf)
        except BaseException:
            self.give_back(nbytes)
            raise
        return _BoundedEncoder(encoder, nbytes, self)

    def _take(self, nbytes: int, path: Path) -> int:
        with self._lock:
            if self.memory_bytes + nbytes > self._memory_limit:
                raise EncodeError(
                    f"too many videos are open for {path} to be one more: their encoders take {self.memory_bytes:,} of "
                    f"{self._memory_limit:,} bytes of memory. Record fewer environments at a time, or smaller frames"
                )
            self.memory_bytes += nbytes
        return nbytes

    def give_back(self, nbytes: int) -> None:
        """An encoder is closed."""
        with self._lock:
            self.memory_bytes -= nbytes


class _BoundedWriter:
    def __init__(self, writer: Writer, path: Path, nbytes: int, bounds: BoundedWriters) -> None:
        self.copy_to = writer.copy_to
        self._writer = writer
        self._path, self._folder = path, path.parent
        self._nbytes = nbytes
        self._bounds = bounds

    def write(self, i420: Pixels, pts: int) -> None:
        # encoded, a picture is hardly ever larger
        self._bounds.reserve.require(self._folder, PICTURES * i420.nbytes, self._path)
        self._writer.write(i420, pts)

    def close(self) -> None:
        nbytes, self._nbytes = self._nbytes, 0
        try:
            self._writer.close()
        finally:
            self._bounds.give_back(nbytes)


class _BoundedEncoder:
    def __init__(self, encoder: PacketEncoder, nbytes: int, bounds: BoundedWriters) -> None:
        self.encode = encoder.encode
        self._encoder = encoder
        self._nbytes = nbytes
        self._bounds = bounds

    def file(self, path: Path) -> PacketWriter:
        self._bounds.reserve.require(path.parent, 0, path)
        return _BoundedFile(self._encoder.file(path), path, self._bounds.reserve)

    def close(self) -> None:
        nbytes, self._nbytes = self._nbytes, 0
        try:
            self._encoder.close()
        finally:
            self._bounds.give_back(nbytes)


class _BoundedFile:
    def __init__(self, file: PacketWriter, path: Path, reserve: DiskReserve) -> None:
        self.close, self.copy_to = file.close, file.copy_to
        self._file = file
        self._path = path
        self._reserve = reserve

    def write(self, data: bytes, pts: int, *, key: bool) -> None:
        self._reserve.require(self._path.parent, PICTURES * len(data), self._path)
        self._file.write(data, pts, key=key)
