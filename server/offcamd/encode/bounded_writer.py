"""Video writers within limits of memory and disk: even an idle open video has an encoder, which takes memory."""

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
"""The muxer holds up to so many pictures that are not on the disk yet, so a write needs room for as many."""


def half_of_memory() -> int:
    """Half of this host's memory, in bytes: the limit for all encoders together."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


class BoundedWriters:
    """Makes writers only while there is memory for them; their writes fail when the disk runs short. Thread-safe.

    Args:
        make_writer: makes the unbounded writers.
        reserve: the room to keep free on the disk; writing into it raises EncodeError (``disk_full``).
        memory_limit: bytes for all open encoders; one more than fits raises EncodeError (``encoder``).
        make_encoder: makes the encoders of rings.

    Attributes:
        memory_bytes: estimated memory of the open encoders.
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
        """Create a video's file. Raises EncodeError if memory or disk is short."""
        nbytes = self._take(encoder_bytes(width, height, preset), path)
        try:
            self.reserve.require(path.parent, 0, path)
            writer = self._make_writer(path, width=width, height=height, fps=fps, preset=preset, crf=crf)
        except BaseException:
            self.give_back(nbytes)
            raise
        return _BoundedWriter(writer, path, nbytes, self)

    def ring(self, path: Path, *, width: int, height: int, fps: Fraction, preset: str, crf: int) -> PacketEncoder:
        """Open a ring's encoder. Raises EncodeError if memory is short."""
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
        """Count the memory of a closed encoder as free."""
        with self._lock:
            self.memory_bytes -= nbytes


class _BoundedWriter:
    def __init__(self, writer: Writer, path: Path, nbytes: int, bounds: BoundedWriters) -> None:
        self.copy_to, self.go_on_from = writer.copy_to, writer.go_on_from
        self._writer = writer
        self._path, self._folder = path, path.parent
        self._nbytes = nbytes
        self._bounds = bounds

    def write(self, i420: Pixels, pts: int) -> None:
        # an encoded picture is hardly ever larger than its planes
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
