"""Frames of one stream that wait on disk, where they outlive the daemon: see `offcam_proto.spool_file`."""

from __future__ import annotations

import heapq
import os
import tempfile
import threading
import weakref
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from offcam_proto.spool_file import HEAD_BYTES, LENGTH, PIXELS_AT, TOKEN_AT, pack_name, place_bytes, spool_name
from offcamd.encode.frame import FramePlace, Moved, SharedFile
from offcamd.encode.spool import read_at, write_at

if TYPE_CHECKING:
    from pathlib import Path

    from offcam_proto.layout import FrameLayout
    from offcam_proto.messages import Buffer
    from offcamd.encode.budget import Budget
    from offcamd.encode.frame import Part


_FREE = LENGTH.pack(0)


class SpoolFile:
    """A file of frames. One without a name lives as long as it has frames, an arena, or a client that has it open.

    Its size counts as disk in use: free places are used again first, and free ones at its end are cut off. Thread-safe.

    Args:
        budget: counts the disk in use.
        folder: the folder that it is made in.
        token: the arena's id.
        slot_bytes: size of the arena's slots.
        named: whether it has a name, as its arena has. Then it is removed with that, or once nobody here needs it.

    Attributes:
        descriptor: the file's descriptor.

    Raises:
        OSError: it cannot be made.
    """

    def __init__(self, budget: Budget, folder: Path, token: bytes, slot_bytes: int, *, named: bool = False) -> None:
        path = None
        if named:
            self.descriptor, path = _made(folder, token)
        else:
            with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
                self.descriptor = os.dup(file.fileno())
        weakref.finalize(
            self, _let_go, self.descriptor, path
        ).atexit = False  # the next daemon takes what is in it then
        os.pwrite(self.descriptor, token, TOKEN_AT)
        self._budget = budget
        self._file = SharedFile(self.descriptor, mapped=False)
        self._place_bytes = place_bytes(slot_bytes)
        self._lock = threading.Lock()
        self._used: set[int] = set()
        self._free: list[int] = []
        self._places = 0

    def move(
        self, clip: int, index: int, layouts: tuple[FrameLayout, ...], pixels: Buffer, slot_head: Buffer = b""
    ) -> Moved | None:
        """Write a frame and its slot's head. Returns None if there is no room; raises OSError if the disk refuses."""
        name = pack_name(clip, index, layouts)
        if not name or (place := self._take()) is None:
            return None
        start = HEAD_BYTES + place * self._place_bytes
        try:
            write_at(self.descriptor, start + PIXELS_AT, [pixels])
            write_at(self.descriptor, start + HEAD_BYTES, [slot_head])
            write_at(self.descriptor, start + LENGTH.size, [name[LENGTH.size :]])
            os.pwrite(self.descriptor, name[: LENGTH.size], start)  # last, as with it the client finds the frame
        except BaseException:
            self._give_back(place)
            raise
        where = FramePlace(self._file, start + PIXELS_AT, layouts, mark_at=start, mark=_FREE)
        return Moved(partial(self._read, place, layouts), partial(self._release, place), where)

    def _take(self) -> int | None:
        with self._lock:
            if not self._free:
                if not self._budget.reserve_spool(self._place_bytes):
                    return None
                self._free.append(self._places)
                self._places += 1
            place = heapq.heappop(self._free)
            self._used.add(place)
            return place

    def _read(self, place: int, layouts: tuple[FrameLayout, ...]) -> list[Part]:
        start = HEAD_BYTES + place * self._place_bytes + PIXELS_AT
        pixels = memoryview(read_at(self.descriptor, start, sum([layout.nbytes for layout in layouts])))
        found: list[Part] = []
        for layout in layouts:
            found.append((pixels[: layout.nbytes], layout))
            pixels = pixels[layout.nbytes :]
        return found

    def _release(self, place: int) -> None:
        with suppress(OSError):  # at worst the next daemon encodes the frame again
            os.pwrite(self.descriptor, _FREE, HEAD_BYTES + place * self._place_bytes)
        self._give_back(place)

    def _give_back(self, place: int) -> None:
        with self._lock:
            self._used.discard(place)
            heapq.heappush(self._free, place)
            left = max(self._used, default=-1) + 1 if place == self._places - 1 else self._places
            if left < self._places:
                with suppress(OSError):
                    os.ftruncate(self.descriptor, HEAD_BYTES + left * self._place_bytes)
                self._budget.free_spool((self._places - left) * self._place_bytes)
                self._places, self._free = left, [free for free in self._free if free < left]
                heapq.heapify(self._free)


def _made(folder: Path, token: bytes) -> tuple[int, Path]:
    """Make a file with a name that no other has. Returns its descriptor and its path.

    Another may have frames of the arena: those of a connection that broke, or of a dead daemon with this process id.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    number = 0
    while True:
        path = folder / spool_name(token, os.getpid(), number)
        try:
            return os.open(path, flags, 0o600), path
        except FileExistsError:
            number += 1


def _let_go(descriptor: int, path: Path | None) -> None:
    os.close(descriptor)
    if path is not None:
        with suppress(OSError):  # it is gone with its arena
            path.unlink()
