"""The rows of a stream's steps that are in no record yet: in a file beside its journal, which outlives the process.

`offcam_runs.steps.tail` describes the file.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import weakref
from typing import TYPE_CHECKING

from offcam_runs.steps import tail

if TYPE_CHECKING:
    from pathlib import Path

_tails: weakref.WeakSet[Tail] = weakref.WeakSet()


class Section:
    """The rows of one table and one group of sub-environments.

    Attributes:
        view: its bytes.
        counts: the same bytes as uint64; the first is the number of rows, whose store is atomic.
        sealed: whether its rows are being made into a record; they are removed once that is in the journal.
    """

    __slots__ = ("counts", "sealed", "view")

    def __init__(self, view: memoryview) -> None:
        self.view = view
        self.counts = view.cast("Q")
        self.sealed = False

    def put(self, view: memoryview) -> None:
        """Move it to other memory."""
        self.counts.release()
        self.view.release()
        self.view, self.counts = view, view.cast("Q")

    def clear(self) -> None:
        """Remove its rows."""
        self.counts[0] = 0
        self.sealed = False


class Tail:
    """A stream's tail. Use its file only on the env's thread, or with the connection's lock held.

    Args:
        head: what the file begins with.
        path: of the file; None for memory that is lost with this process.
    """

    def __init__(self, head: bytes, path: Path | None) -> None:
        self._path: Path | None = None
        self._sections: list[Section] = []
        self._fd = -1
        self._map = self._made(path, len(head))
        self._map[: len(head)] = head
        _tails.add(self)

    @property
    def empty(self) -> bool:
        """Whether the tail has no rows."""
        return not any(section.counts[0] for section in self._sections)

    def section(self) -> Section:
        """A new section, without rows."""
        begin = tail.HEAD_BYTES + len(self._sections) * tail.SECTION_BYTES
        self._remap(self._path, begin + tail.SECTION_BYTES)
        section = Section(memoryview(self._map)[begin : begin + tail.SECTION_BYTES])
        self._sections.append(section)
        return section

    def recorded(self, last_seq: int) -> None:
        """The journal has the stream's records up to this number: remove the rows that these were made of."""
        tail.LAST_SEQ.pack_into(self._map, len(tail.MAGIC), last_seq)
        for section in self._sections:
            if section.sealed:
                section.clear()

    def move(self, path: Path | None) -> None:
        """Move it to another path, with all that is in it."""
        before = self._path
        self._remap(path, len(self._map), anew=True)
        if before is not None and before != path:
            with contextlib.suppress(OSError):
                before.unlink()

    def release(self, *, remove: bool) -> None:
        """Release the file, and remove it if that is wanted."""
        if remove and self._path is not None:
            with contextlib.suppress(OSError):
                if os.path.samestat(self._path.stat(), os.fstat(self._fd)):  # else another file is at the path now
                    self._path.unlink()
        self.forget()

    def forget(self) -> None:
        """Release memory that may be a parent process's, and leave the file as it is."""
        for section in self._sections:
            section.counts.release()
            section.view.release()
        self._sections.clear()
        self._map.close()
        fd, self._fd, self._path = self._fd, -1, None
        if fd >= 0:
            os.close(fd)

    def _remap(self, path: Path | None, size: int, *, anew: bool = False) -> None:
        """Change its size, keeping its content; if its file has no room, it moves into memory."""
        before, fd = self._map, self._fd
        if path is not None and path == self._path and not anew:
            try:
                os.posix_fallocate(fd, 0, size)
                self._map = mmap.mmap(fd, size)
            except OSError:
                self._map = self._made(None, size)
                self._map[: len(before)] = before[:]
                with contextlib.suppress(OSError):  # what goes on elsewhere must not be taken in from here
                    path.unlink()
        else:
            self._map = self._made(path, size)
            self._map[: len(before)] = before[:]
        for place, section in enumerate(self._sections):
            begin = tail.HEAD_BYTES + place * tail.SECTION_BYTES
            section.put(memoryview(self._map)[begin : begin + tail.SECTION_BYTES])
        before.close()
        if fd not in (-1, self._fd):
            os.close(fd)

    def _made(self, path: Path | None, size: int) -> mmap.mmap:
        """Memory of a size: of the file at a path; or, if it has no room or there is no path, of this process alone."""
        if path is not None:
            fd = -1
            try:
                fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
                os.posix_fallocate(fd, 0, size)
                made = mmap.mmap(fd, size)
            except OSError:
                if fd >= 0:
                    os.close(fd)
                    with contextlib.suppress(OSError):
                        path.unlink()
            else:
                self._path, self._fd = path, fd
                return made
        self._path, self._fd = None, -1
        return mmap.mmap(-1, size)


def _after_fork() -> None:
    for each in list(_tails):
        each.forget()
    _tails.clear()


os.register_at_fork(after_in_child=_after_fork)
