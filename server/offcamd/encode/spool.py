"""Frames of one clip that wait on disk, first in first out, in files without a name."""

from __future__ import annotations

import errno
import os
import struct
import tempfile
from collections import deque
from typing import IO, TYPE_CHECKING

from offcam_proto.errors import EncodeError
from offcam_proto.layout import FrameLayout
from offcam_proto.limits import MIB
from offcamd.encode.frame import Frame

if TYPE_CHECKING:
    import threading
    from collections.abc import Sequence
    from pathlib import Path

    from offcam_proto.messages import Buffer
    from offcamd.encode.budget import Budget
    from offcamd.encode.frame import Part

_SEGMENT_BYTES = 32 * MIB
_RECORD = struct.Struct("<qdIQ")  # index, arrival, number of parts, bytes of pixels
_LAYOUT = struct.Struct("<B3q3qqqQ")  # axes, shape, strides, offset, bytes stated, bytes that came


class _Segment:
    """One temporary file of a spool. It is gone from disk once it is read to its end."""

    def __init__(self, folder: Path) -> None:
        self.file: IO[bytes] = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115 - closed by drop
        self.start = 0  # where the next record is read
        self.end = 0  # where the next record is written
        self.writing = False


class Spool:
    """Frames on disk, first in first out. One thread may append while another reads.

    It is a row of files, so that the room of what was read is given back before everything is.
    ``records`` counts the frames that can be read. The lock is the queue's.
    """

    def __init__(self, budget: Budget, folder: Path, lock: threading.Lock) -> None:
        self._budget = budget
        self._folder = folder
        self._lock = lock
        self._segments: deque[_Segment] = deque()
        self._segment_bytes = min(_SEGMENT_BYTES, budget.spool_limit // 8)
        self.records = 0

    def append(self, frame: Frame) -> bool:
        """Write a frame; False if there is no room. Raises OSError if the disk refuses."""
        header = _RECORD.pack(frame.index, frame.arrived, len(frame.parts), frame.nbytes)
        buffers = [header, *map(_packed, frame.parts), *(buffer for buffer, _ in frame.parts)]
        size = len(header) + len(frame.parts) * _LAYOUT.size + frame.nbytes
        if not self._budget.reserve_spool(size):
            return False
        written = 0
        try:
            segment = self._open_segment()
            try:
                _write(segment.file.fileno(), segment.end, buffers)
                written = size
            finally:
                self._settle(segment, written)
        finally:
            self._budget.free_spool(size - written)
        return True

    def _settle(self, segment: _Segment, written: int) -> None:
        with self._lock:
            segment.writing = False
            if written:
                segment.end += written
                self.records += 1
            if segment.start == segment.end and segment is self._segments[0]:
                self._drop()

    def _open_segment(self) -> _Segment:
        with self._lock:
            if self._segments and self._segments[-1].end < self._segment_bytes:
                self._segments[-1].writing = True
                return self._segments[-1]
        segment = _Segment(self._folder)
        segment.writing = True
        with self._lock:
            self._segments.append(segment)
        return segment

    def read(self) -> Frame:
        """Read the next frame; there must be one."""
        with self._lock:
            while self._segments[0].start == self._segments[0].end:
                self._drop()
            segment = self._segments[0]
        descriptor, offset = segment.file.fileno(), segment.start
        try:
            index, arrived, parts, nbytes = _RECORD.unpack(_read(descriptor, offset, _RECORD.size))
            offset += _RECORD.size
            body = memoryview(_read(descriptor, offset, parts * _LAYOUT.size + nbytes))
        except OSError as error:
            raise EncodeError(f"frames that waited on disk could not be read back: {error}", "io") from error
        with self._lock:
            segment.start = offset + len(body)
            self.records -= 1
            if segment.start == segment.end and not segment.writing and segment is self._segments[0]:
                self._drop()
        return Frame(index, _unpacked(body, parts), nbytes, arrived, charged=False)

    def clear(self) -> int:
        """Forget all frames, and say how many. The caller holds the lock."""
        count, self.records = self.records, 0
        while self._segments and not self._segments[0].writing:
            self._drop()
        for segment in self._segments:
            segment.start = segment.end
        return count

    def _drop(self) -> None:
        segment = self._segments.popleft()
        segment.file.close()
        self._budget.free_spool(segment.end)


def _packed(part: Part) -> bytes:
    buffer, layout = part
    shape, strides = (*layout.shape, 0)[:3], (*layout.strides, 0)[:3]
    return _LAYOUT.pack(len(layout.shape), *shape, *strides, layout.offset, layout.nbytes, memoryview(buffer).nbytes)


def _unpacked(body: memoryview, count: int) -> list[Part]:
    parts: list[Part] = []
    start = count * _LAYOUT.size
    for axes, *numbers, offset, nbytes, size in _LAYOUT.iter_unpack(body[:start]):
        layout = FrameLayout(tuple(numbers[:axes]), tuple(numbers[3 : 3 + axes]), offset, nbytes)
        parts.append((body[start : start + size], layout))
        start += size
    return parts


def _write(descriptor: int, offset: int, buffers: Sequence[Buffer]) -> None:
    for buffer in buffers:
        left = memoryview(buffer).cast("B")
        while left:
            written = os.pwrite(descriptor, left, offset)
            offset += written
            left = left[written:]


def _read(descriptor: int, offset: int, size: int) -> bytes:
    pieces: list[bytes] = []
    while size:
        piece = os.pread(descriptor, size, offset)
        if not piece:
            raise OSError(errno.EIO, f"the spool ends {size} bytes early")
        pieces.append(piece)
        offset, size = offset + len(piece), size - len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)
