"""The journal of a stream: a file in which records survive this process and the daemon.

Each record is in the file before the step that ended its episode returns, and stays there until the daemon has
committed it. `offcam_runs.journal` describes the file.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import functools
import mmap
import os
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from offcam.recorder.tail import Tail
from offcam_proto import host
from offcam_proto.backlog import Backlog
from offcam_proto.records import count_all, count_records
from offcam_runs import journal
from offcam_runs.file_lock import FileLock
from offcam_runs.filesystem import filesystem_type, write_all
from offcam_runs.steps import tail

if TYPE_CHECKING:
    from pathlib import Path

    from offcam_proto.messages import Hello, OpenStream

STEP_BYTES = 64 * 1024
"""First size of a journal. The next is `KEPT_BYTES`, then it doubles, by at most `MOST_STEP_BYTES`."""

MOST_STEP_BYTES = 4 * 1024 * 1024

KEPT_BYTES = 8 * STEP_BYTES
"""A journal up to this size is not shrunk when all is acked: writing costs less than allocating again."""

MAPPED_TYPES = frozenset({"ext2", "ext3", "ext4", "tmpfs", "xfs"})
"""File systems on which what was allocated can be written though the disk is full. On others a mapped file would then
get a SIGBUS, which kills the process; there the journal is written by system calls, which fail instead."""

LOOK_SECONDS = 1.0
"""How often `append` checks that the file is still at its path: its folder may have been removed."""

_READ_BYTES = 1024 * 1024
_NEW = ".new"
_TRIES = 10
_files: weakref.WeakSet[_File] = weakref.WeakSet()


class Journal(Backlog):
    """A stream's records until they are acked: in a file, or in memory if there is no room for one.

    Thread: any that holds the connection's lock. The file is made with the first record, in the run folder. If that is
    full, on another host or cannot be used, it is in this user's state folder.

    Args:
        info: the message that opens the stream.
        client: the message that opens the session.
        here: whether the run folder is on this host.
        said: called with a folder that cannot be used, and why.

    Attributes:
        place: the folder that the file is for, the run's or the state folder; empty if there is no file.
    """

    def __init__(self, info: OpenStream, client: Hello, *, here: bool, said: Callable[[str, str], None]) -> None:
        super().__init__()
        self.place = ""
        self._info = info
        self._client = client
        self._head = journal.head(info, client)
        self._tail: Tail | None = None
        state = journal.state_folder(os.environ, os.getuid())
        self._folders = [info.folder, state] if here else [state]
        self._said = said
        self._file: _File | None = None
        self._acked = self._last = 0
        self._looked = 0.0
        _safe_to_map(self.folder)  # cached, so that the first record's step need not find out

    @property
    def nbytes(self) -> int:
        """Bytes of the records in memory and in the file, which may have some that are acked."""
        return super().nbytes + (self._file.nbytes if self._file is not None else 0)

    def begin(self) -> None:
        """Make the file before the first record: in that one's step it would take as long as many steps.

        A vector env has many records, so its file is larger from the beginning.
        """
        if self._file is None and self._folders and not self._records:
            with contextlib.suppress(OSError):  # the first record tries again, and says it
                self._file = self._begin(self._acked + 1, [], KEPT_BYTES if self._info.vector else STEP_BYTES)

    @property
    def folder(self) -> Path:
        """The folder that the file is to lie in; it need not exist."""
        return journal.journal_of(self._folders[0], self._info.stream).parent

    @property
    def has_tail(self) -> bool:
        """Whether there is a tail."""
        return self._tail is not None

    def tail(self) -> Tail:
        """The rows of steps that are in no record yet: a file beside the journal's if that is mapped, else memory."""
        if self._tail is None:
            self.begin()
            self._tail = Tail(self.tail_head(), self._beside())
            self._tail.recorded(self._last)
        return self._tail

    def tail_head(self) -> bytes:
        """The bytes that the tail begins with."""
        return tail.head(self._info, self._client)

    def append(self, first_seq: int, bodies: Sequence[bytes]) -> int:
        """Keep the next records: they are in the file when this returns. Returns how many of the bodies are kept."""
        kept = self._append(first_seq, bodies)
        self._last = first_seq + count_all(bodies[:kept]) - 1
        if self._tail is not None:
            self._tail.recorded(self._last)
        return kept

    def _append(self, first_seq: int, bodies: Sequence[bytes]) -> int:
        if self._folders and not self._records:  # records in memory: there is no room for a file
            frames, seq = [], first_seq
            for body in bodies:
                frames.append(journal.frame(seq, body))
                seq += count_records(body)
            try:
                if self._file is None:
                    self._file = self._begin(first_seq, [])
                elif time.monotonic() - self._looked > LOOK_SECONDS:
                    self._look(self._file)
                self._file.append(frames, seq - first_seq, self._acked)
            except OSError as error:
                if self._move(error, frames):
                    return len(bodies)
            else:
                return len(bodies)
        return super().append(first_seq, bodies)

    def after(self, seq: int) -> Iterator[tuple[int, bytes]]:
        """The bodies after number ``seq``, each with its first number. Ends early if the disk cannot be read."""
        if self._file is not None:
            try:
                yield from self._file.records(max(seq, self._acked))
            except OSError as error:
                self._said(self.place, str(error.strerror or error))
                return
        yield from super().after(seq)

    def acked(self, seq: int) -> None:
        """Forget the records up to ``seq``."""
        super().acked(seq)
        self._acked = seq
        if self._file is not None and seq > self._file.last:
            self._file.last = seq
        if self._file is not None and seq == self._file.last:
            with contextlib.suppress(OSError):
                self._file.clear()

    def renumber(self, gone: int) -> None:
        """Lower the number of each record that is left by ``gone``."""
        super().renumber(gone)
        if self._file is not None:
            left = [(seq - gone, body) for seq, body in self._file.records(self._acked)]
            try:
                self._file.rewrite(self._acked - gone + 1, [journal.frame(*each) for each in left])
            except OSError:  # its folder is full or gone: keep them in memory, they are sent in a moment
                self._records.extendleft(reversed(left))
                self._bytes += sum(len(body) for _, body in left)
                self._file.release(remove=True)
                self._file = None
        self._acked -= gone
        self._last -= gone
        if self._tail is not None:
            self._tail.recorded(self._last)

    def rest(self) -> None:
        """Remove the file if all is acked; the next record makes it again. It stays while there is a tail."""
        if self._tail is not None and self._tail.empty:
            self._end_tail()
        if self._file is not None and self._file.last == self._acked and self._tail is None:
            self._file.release(remove=True)
            self._file = None

    def look(self) -> None:
        """If the file is gone with its folder, make it again with what is left, there or in the next folder."""
        if self._file is not None:
            try:
                self._look(self._file)
            except OSError as error:
                self._move(error, [])

    def leave(self) -> None:
        """Unlock the file, as the process ends. It stays."""
        if self._tail is not None:
            self._tail.release(remove=self._tail.empty)
            self._tail = None
        if self._file is not None:
            self._file.release()
        self._file, self._folders = None, []

    def end(self) -> None:
        """Remove the file, as the stream is closed and all is acked."""
        self._end_tail()
        if self._file is not None:
            self._file.release(remove=True)
        self._file, self.place = None, ""

    def _end_tail(self) -> None:
        if self._tail is not None:
            self._tail.release(remove=True)
            self._tail = None

    def _beside(self) -> Path | None:
        """The path for the tail; None for memory, if there is no journal file beside it or that is not mapped."""
        file = self._file
        return journal.tail_of(file.path) if file is not None and file.mapped else None

    def _begin(self, first_seq: int, frames: list[bytes], size: int = STEP_BYTES) -> _File:
        folder = self._folders[0]
        path = journal.journal_of(folder, self._info.stream)
        if len(self._folders) == 1 and (problem := host.make_private(str(path.parent))):  # the state folder
            raise OSError(errno.EACCES, problem, str(path.parent))
        file = _File(path, self._head, first_seq, frames, size)
        self.place = folder
        return file

    def _look(self, file: _File) -> None:
        self._looked = time.monotonic()
        if not file.there:
            self._file = self._begin(self._acked + 1, [journal.frame(*each) for each in file.records(self._acked)])
            file.release()
            if self._tail is not None:
                self._tail.move(self._beside())

    def _move(self, error: OSError, frames: list[bytes]) -> bool:
        """Go on in the next folder, with all that is left, as this one cannot be used. False if no other can."""
        before, folder = self._file, self._folders[0]
        self._said(folder, str(error.strerror or error))
        if len(self._folders) == 1:
            return False
        self._folders.pop(0)
        left = [journal.frame(*each) for each in before.records(self._acked)] if before is not None else []
        try:
            self._file = self._begin(self._acked + 1, left + frames)
        except OSError as another:
            self._said(self._folders[0], str(another.strerror or another))
            self._folders.insert(0, folder)
            return False
        if self._tail is not None:
            self._tail.move(self._beside())
        if before is not None:
            before.release(remove=True)
        return True


class _File:
    """A journal's file: locked, allocated before it is written, and mapped where that is safe.

    Args:
        path: its path; the folder is made if it does not exist.
        head: the bytes that it begins with.
        first: number of its first record.
        frames: the records that it begins with.
        size: its least size in bytes.

    Attributes:
        path: as given.
        mapped: whether it is mapped.
        last: number of its last record.

    Raises:
        OSError: it cannot be made.
    """

    def __init__(self, path: Path, head: bytes, first: int, frames: list[bytes], size: int) -> None:
        self._head = head
        self.path = path
        self._lock = _locked(path)
        self.mapped = _safe_to_map(path.parent)
        self._map: mmap.mmap | None = None
        self._size = self._end = 0
        self._first, self.last, self._cursor = first, first - 1, (first - 1, len(head))
        try:
            self._fill(self._lock.fd, first, frames, size)
        except BaseException:
            self.release(remove=True)
            raise
        _files.add(self)

    @property
    def nbytes(self) -> int:
        """Bytes of its records."""
        return self._end - len(self._head)

    @property
    def there(self) -> bool:
        """Whether it still is at its path."""
        try:
            return os.path.samestat(self.path.stat(), os.fstat(self._lock.fd))
        except OSError:
            return False

    def append(self, frames: list[bytes], records: int, acked: int) -> None:
        """Append frames with so many records. Those up to number ``acked`` may be removed to make room.

        Raises:
            OSError: there is no room. The file is as it was.
        """
        data = b"".join([*frames, journal.END])
        more = len(data)
        if self._end + more > self._size:
            self._make_room(more, acked)
        if self._map is None:
            write_all(self._lock.fd, data[: -len(journal.END)], self._end)
        elif more < mmap.PAGESIZE:
            self._map[self._end : self._end + more] = data
        else:  # to touch new pages of the map costs more than a system call
            write_all(self._lock.fd, data, self._end)
        self._end += more - len(journal.END)
        self.last += records

    def records(self, acked: int) -> Iterator[tuple[int, bytes]]:
        """The bodies after number ``acked``, each with the number of its first record."""
        seq, at = self._cursor if self._cursor[0] <= acked else (self._first - 1, len(self._head))
        while at < self._end:
            data, begun = os.pread(self._lock.fd, min(_READ_BYTES, self._end - at), at), at
            while at - begun + journal.FRAME.size <= len(data):
                length, _, _ = journal.FRAME.unpack_from(data, at - begun)
                body = data[at - begun + journal.FRAME.size : at - begun + journal.FRAME.size + length]
                if len(body) < length:
                    break
                first = seq + 1
                seq, at = seq + count_records(body), at + journal.FRAME.size + length
                if first > acked:
                    self._cursor = seq, at
                    yield first, body
            if at == begun:  # the file was cut short
                return

    def clear(self) -> None:
        """Cut it back to its head: all is acked."""
        self._end = len(self._head)
        self._first = self.last + 1
        self._cursor = self.last, self._end
        if self._map is None:
            os.ftruncate(self._lock.fd, self._end)
            return
        self._map[self._end : self._end + len(journal.END)] = journal.END
        if self._size > KEPT_BYTES:  # else its pages are kept: new ones cost ten times as much
            self._remap(STEP_BYTES)
            os.ftruncate(self._lock.fd, STEP_BYTES)

    def rewrite(self, first: int, frames: list[bytes], size: int = STEP_BYTES) -> None:
        """Replace the file, atomically, by one of at least this size that begins with these records.

        Raises:
            OSError: there is no room. The old one stays.
        """
        new = self.path.with_name(self.path.name + _NEW)
        before = self._map, self._size, self._end, self._first, self.last, self._cursor
        fd = os.open(new, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        try:
            if not self._lock.unlocked:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._fill(fd, first, frames, size)
            new.replace(self.path)
        except BaseException:
            self._map, self._size, self._end, self._first, self.last, self._cursor = before
            new.unlink(missing_ok=True)
            os.close(fd)
            raise
        if before[0] is not None:
            before[0].close()
        os.close(self._lock.fd)
        self._lock.fd = fd

    def release(self, *, remove: bool = False) -> None:
        """Unmap and unlock the file; with ``remove`` delete it before, and then its folder if it was the last there."""
        if self._map is not None:
            self._map.close()
        self._lock.release(remove=remove)
        if remove:
            with contextlib.suppress(OSError):
                self.path.parent.rmdir()

    def forget(self) -> None:
        """Unmap and close it in a forked child. It stays locked by the parent."""
        if self._map is not None:
            self._map.close()
        self._lock.forget()

    def _fill(self, fd: int, first: int, frames: list[bytes], size: int) -> None:
        data = b"".join([self._head, *frames])
        records = count_all(frame[journal.FRAME.size :] for frame in frames)
        self._end, self._first, self.last = len(data), first, first + records - 1
        self._cursor = first - 1, len(self._head)  # number of a record, and where it ends: reading goes on from there
        os.ftruncate(fd, 0)
        if self.mapped:
            while size < 2 * self._end:
                size *= 2
            os.posix_fallocate(fd, 0, size)
            self._map, self._size = mmap.mmap(fd, size), size
        else:
            self._size = 2 * self._end + size
        write_all(fd, data, 0)

    def _make_room(self, more: int, acked: int) -> None:
        try:
            self._grow(more, acked, KEPT_BYTES)
        except OSError:  # the disk is nearly full: grow as little as will do
            self._grow(more, acked, STEP_BYTES)

    def _grow(self, more: int, acked: int, least: int) -> None:
        """Make room for ``more`` bytes: remove acked records if they are most, and grow to at least ``least``."""
        if acked - self._first > self.last - acked:  # most are acked
            left = [journal.frame(*each) for each in self.records(acked)]
            self.rewrite(acked + 1, left, least)
        size = self._size
        while size < self._end + more:
            size = max(size + min(size, MOST_STEP_BYTES), least)
        if self._map is not None and size > self._size:
            os.posix_fallocate(self._lock.fd, self._size, size - self._size)
            self._remap(size)
        self._size = size

    def _remap(self, size: int) -> None:
        before, self._map, self._size = self._map, mmap.mmap(self._lock.fd, size), size
        if before is not None:
            before.close()


@functools.lru_cache(maxsize=64)
def _safe_to_map(folder: Path) -> bool:
    return filesystem_type(folder) in MAPPED_TYPES


def _locked(path: Path) -> FileLock:
    for _ in range(_TRIES):
        path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):  # another stream removed the folder with its journal
            if (lock := FileLock.take(path, 0o644)) is not None:
                return lock
            break
    raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), str(path))


def _after_fork() -> None:
    for file in list(_files):
        file.forget()
    _files.clear()


os.register_at_fork(after_in_child=_after_fork)
