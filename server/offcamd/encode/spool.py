"""Frames of one clip that wait on disk, first in first out, in files without a name."""

from __future__ import annotations

import errno
import os
import struct
import tempfile
from collections import deque
from typing import IO, TYPE_CHECKING

from offcam_proto.layout import FrameLayout
from offcam_proto.limits import MIB
from offcam_runs.filesystem import write_all
from offcamd.encode.frame import Frame, not_read_back

if TYPE_CHECKING:
    import threading
    from collections.abc import Sequence
    from pathlib import Path

    from offcam_proto.messages import Buffer
    from offcamd.encode.budget import Budget
    from offcamd.encode.frame import Part

_SEGMENT_BYTES = 32 * MIB
_RECORD = struct.Struct("<qdIQ")  # index, arrival, number of parts, bytes of pixels
_LAYOUT = struct.Struct("<B3q3qqqQ")  # number of axes, shape, strides, offset, bytes by the layout, bytes that came


class _Segment:
    """One temporary file of a spool, which closes it, and so frees its room, once it was read to its end."""

    def __init__(self, folder: Path) -> None:
        self.file: IO[bytes] = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115 - closed by drop
        self.start = 0  # where the next record is read
        self.end = 0  # where the next record is written
        self.writing = False


class Spool:
    """Frames on disk, first in first out. One thread may append while another reads.

    It has several files, so that room is freed before all frames were read. A frame that has a `Frame.move` goes to a
    file elsewhere, and only its place in the order is kept here.
    ``records`` counts the frames that can be read. The lock is the queue's.
    """

    def __init__(self, budget: Budget, folder: Path, lock: threading.Lock) -> None:
        self._budget = budget
        self._folder = folder
        self._lock = lock
        self._segments: deque[_Segment] = deque()
        self._order: deque[Frame | None] = deque()  # a frame that is elsewhere, or None for one in the files here
        self._segment_bytes = min(_SEGMENT_BYTES, budget.spool_limit // 8)
        self.records = 0

    def append(self, frame: Frame) -> bool:
        """Write a frame. Returns False if there is no room; raises OSError if the disk refuses."""
        if frame.move is not None and (moved := frame.move()) is not None:
            kept = Frame(frame.index, (), frame.nbytes, frame.arrived, charged=False, **moved._asdict())
            with self._lock:
                self._order.append(kept)
                self.records += 1
            return True
        header = _RECORD.pack(frame.index, frame.arrived, len(frame.parts), frame.nbytes)
        buffers = [header, *map(_packed, frame.parts), *(buffer for buffer, _ in frame.parts)]
        size = len(header) + len(frame.parts) * _LAYOUT.size + frame.nbytes
        if not self._budget.reserve_spool(size):
            return False
        written = 0
        try:
            segment = self._open_segment()
            try:
                write_at(segment.file.fileno(), segment.end, buffers)
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
                self._order.append(None)
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
        """Read the next frame; there must be one. Raises EncodeError if the disk refuses.

        One with a `Frame.place` is read later, by whoever encodes it.
        """
        kept = self._order[0]
        if kept is not None and kept.place is None:
            kept.parts = kept.pixels()
        if kept is not None:
            with self._lock:
                self._order.popleft()
                self.records -= 1
            return kept
        return self._read_file()

    def _read_file(self) -> Frame:
        with self._lock:
            while self._segments[0].start == self._segments[0].end:
                self._drop()
            segment = self._segments[0]
        descriptor, offset = segment.file.fileno(), segment.start
        try:
            index, arrived, parts, nbytes = _RECORD.unpack(read_at(descriptor, offset, _RECORD.size))
            offset += _RECORD.size
            body = memoryview(read_at(descriptor, offset, parts * _LAYOUT.size + nbytes))
        except OSError as error:
            raise not_read_back(error) from error
        with self._lock:
            self._order.popleft()
            segment.start = offset + len(body)
            self.records -= 1
            if segment.start == segment.end and not segment.writing and segment is self._segments[0]:
                self._drop()
        return Frame(index, _unpacked(body, parts), nbytes, arrived, charged=False)

    def clear(self) -> tuple[int, list[Frame]]:
        """Forget all frames. Returns how many, and those elsewhere, to be released. The caller holds the lock."""
        count, self.records = self.records, 0
        kept = [frame for frame in self._order if frame is not None]
        self._order.clear()
        while self._segments and not self._segments[0].writing:
            self._drop()
        for segment in self._segments:
            segment.start = segment.end
        return count, kept

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


def write_at(descriptor: int, offset: int, buffers: Sequence[Buffer]) -> None:
    """Write all bytes of the buffers, one behind the other, or raise OSError."""
    for buffer in buffers:
        data = memoryview(buffer).cast("B")
        write_all(descriptor, data, offset)
        offset += len(data)


def read_at(descriptor: int, offset: int, size: int) -> bytes:
    """Read ``size`` bytes, or raise OSError."""
    pieces: list[bytes] = []
    while size:
        piece = os.pread(descriptor, size, offset)
        if not piece:
            raise OSError(errno.EIO, f"the spool ends {size} bytes early")
        pieces.append(piece)
        offset, size = offset + len(piece), size - len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)
