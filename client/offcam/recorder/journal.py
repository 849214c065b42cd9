"""The journal of a stream: what was recorded survives this process, whatever becomes of it and of the daemon.

Each record is in the file before the step that ended its episode returns, and stays there until the daemon has it
committed. See `offcam_runs.journal` for what the file looks like.
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
"""A journal is so large at first; then `KEPT_BYTES`, which doubles."""

MOST_STEP_BYTES = 4 * 1024 * 1024

KEPT_BYTES = 8 * STEP_BYTES
"""So large a journal becomes, and stays, that is full though most is acked: writing takes less than allocating."""

MAPPED_TYPES = frozenset({"ext2", "ext3", "ext4", "tmpfs", "xfs"})
"""File systems that keep what they allocated for what is written there later. On others a full disk would be a SIGBUS
in a mapped file, which ends the process; there the journal is written by system calls, which fail instead."""

LOOK_SECONDS = 1.0
"""How often, when a record comes, it is seen whether the file is still where it was put: its folder may be gone."""

_READ_BYTES = 1024 * 1024
_NEW = ".new"
_TRIES = 10
_files: weakref.WeakSet[_File] = weakref.WeakSet()


class Journal(Backlog):
    """A stream's records until they are acked: in a file, and in memory where there is no room for one.

    One thread at a time: the connection's lock is held. The file is made with the first record, and moved where its
    folder becomes full.

    Args:
        info: what the stream is opened with.
        client: what the session is opened with.
        here: whether its run folder is this host's.
        said: is told of a folder that cannot be used, and why.

    Attributes:
        place: the folder that the file lies in, the run's or what stands for it; empty where there is none.
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
        _safe_to_map(self.folder)  # not first in the step of a record

    @property
    def nbytes(self) -> int:
        """Bytes that the records take, in memory and in the file, where some may be acked that made no room yet."""
        return super().nbytes + (self._file.nbytes if self._file is not None else 0)

    def begin(self) -> None:
        """Make the file before there is a record: in the step of the first one that would take as long as many steps.

        For the many records of a vector env it is as large as it becomes in any case.
        """
        if self._file is None and self._folders and not self._records:
            with contextlib.suppress(OSError):  # it is said of the first record
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
        """What has the rows of steps that are in no record yet: beside the file, if there is one and that is mapped."""
        if self._tail is None:
            self.begin()
            self._tail = Tail(self.tail_head(), self._beside())
            self._tail.recorded(self._last)
        return self._tail

    def tail_head(self) -> bytes:
        """What the tail begins with."""
        return tail.head(self._info, self._client)

    def append(self, first_seq: int, bodies: Sequence[bytes]) -> int:
        """Keep the next records: they are in the file when this returns. Returns how many of the bodies are kept."""
        kept = self._append(first_seq, bodies)
        self._last = first_seq + count_all(bodies[:kept]) - 1
        if self._tail is not None:
            self._tail.recorded(self._last)
        return kept

    def _append(self, first_seq: int, bodies: Sequence[bytes]) -> int:
        if self._folders and not self._records:  # else the file has no room, and theirs is the next place
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
        """The bodies behind number ``seq``, each by its first number; up to one that a failing disk cannot read."""
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
            except OSError:  # its folder is full or gone: they are sent in a moment, and from memory
                self._records.extendleft(reversed(left))
                self._bytes += sum(len(body) for _, body in left)
                self._file.release(remove=True)
                self._file = None
        self._acked -= gone
        self._last -= gone
        if self._tail is not None:
            self._tail.recorded(self._last)

    def rest(self) -> None:
        """All is acked: the file goes, and comes back with the next record. No tail is left without it."""
        if self._tail is not None and self._tail.empty:
            self._end_tail()
        if self._file is not None and self._file.last == self._acked and self._tail is None:
            self._file.release(remove=True)
            self._file = None

    def look(self) -> None:
        """Put what is left where it was, if the file is gone with its folder, or into the next folder."""
        if self._file is not None:
            try:
                self._look(self._file)
            except OSError as error:
                self._move(error, [])

    def leave(self) -> None:
        """The process leaves: the file stays, and is locked no more."""
        if self._tail is not None:
            self._tail.release(remove=self._tail.empty)
            self._tail = None
        if self._file is not None:
            self._file.release()
        self._file, self._folders = None, []

    def end(self) -> None:
        """The stream is closed, and nothing of it is left: the file goes."""
        self._end_tail()
        if self._file is not None:
            self._file.release(remove=True)
        self._file, self.place = None, ""

    def _end_tail(self) -> None:
        if self._tail is not None:
            self._tail.release(remove=True)
            self._tail = None

    def _beside(self) -> Path | None:
        """Where the tail is to lie; None where there is no file to lie beside, or it could not be mapped."""
        file = self._file
        return journal.tail_of(file.path) if file is not None and file.mapped else None

    def _begin(self, first_seq: int, frames: list[bytes], size: int = STEP_BYTES) -> _File:
        folder = self._folders[0]
        path = journal.journal_of(folder, self._info.stream)
        if len(self._folders) == 1 and (problem := host.make_private(str(path.parent))):  # it is not the run's own
            raise OSError(errno.EACCES, problem, str(path.parent))
        file = _File(path, self._head, first_seq, frames, size)
        self.place = folder
        return file

    def _look(self, file: _File) -> None:
        """Where the file is gone with its folder, put what is left where it was."""
        self._looked = time.monotonic()
        if not file.there:
            self._file = self._begin(self._acked + 1, [journal.frame(*each) for each in file.records(self._acked)])
            file.release()
            if self._tail is not None:
                self._tail.move(self._beside())

    def _move(self, error: OSError, frames: list[bytes]) -> bool:
        """Its folder is full, or cannot be used: go on in the next one, with all that is left. False where none can."""
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
        path: where it is to lie; the folder is made where it does not exist.
        head: what it begins with.
        first: number of its first record.
        frames: the records that it begins with.
        size: it has room for so many bytes, at least.

    Attributes:
        path: where it lies.
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
        """Whether it is the one at its path."""
        try:
            return os.path.samestat(self.path.stat(), os.fstat(self._lock.fd))
        except OSError:
            return False

    def append(self, frames: list[bytes], records: int, acked: int) -> None:
        """Append frames of so many records; those up to number ``acked`` may go, to make room for them.

        Raises:
            OSError: there is no room. What was there before is there still.
        """
        data = b"".join([*frames, journal.END])
        more = len(data)
        if self._end + more > self._size:
            self._make_room(more, acked)
        if self._map is None:
            write_all(self._lock.fd, data[: -len(journal.END)], self._end)
        elif more < mmap.PAGESIZE:
            self._map[self._end : self._end + more] = data
        else:  # to touch whole pages for the first time costs more than a call
            write_all(self._lock.fd, data, self._end)
        self._end += more - len(journal.END)
        self.last += records

    def records(self, acked: int) -> Iterator[tuple[int, bytes]]:
        """The bodies behind number ``acked``, each with the number of its first record."""
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
            if at == begun:  # somebody cut it short
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
        if self._size > KEPT_BYTES:  # else it is kept: pages that are there cost a tenth
            self._remap(STEP_BYTES)
            os.ftruncate(self._lock.fd, STEP_BYTES)

    def rewrite(self, first: int, frames: list[bytes], size: int = STEP_BYTES) -> None:
        """Put a file of at least this size in its place that begins with these records.

        At any moment the one or the other is there.

        Raises:
            OSError: there is no room. The one that was there is there still.
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
        """Let go, and remove it first if that is wanted, with the folder where it was the last one there."""
        if self._map is not None:
            self._map.close()
        self._lock.release(remove=remove)
        if remove:
            with contextlib.suppress(OSError):
                self.path.parent.rmdir()

    def forget(self) -> None:
        """It is a parent process's: let go of what keeps it locked."""
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
        except OSError:  # on a disk that is nearly full: by as little as will do
            self._grow(more, acked, STEP_BYTES)

    def _grow(self, more: int, acked: int, least: int) -> None:
        """Make room for so many bytes, by letting go of what is acked or in a file of at least this size."""
        if acked - self._first > self.last - acked:  # most of it may go
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
        with contextlib.suppress(FileNotFoundError):  # whoever removed the last journal in it removed the folder, too
            if (lock := FileLock.take(path, 0o644)) is not None:
                return lock
            break
    raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), str(path))


def _after_fork() -> None:
    for file in list(_files):
        file.forget()
    _files.clear()


os.register_at_fork(after_in_child=_after_fork)
