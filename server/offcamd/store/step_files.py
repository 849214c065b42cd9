"""Writes the steps of a run: their blocks into files, and where each block lies into the index.

A block's bytes are in its file before the transaction is committed that says so. So, whoever dies, every block in the
index is there; a block that is not in the index is overwritten, and its record is sent again.
"""

from __future__ import annotations

import errno
import logging
import os
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from offcam_proto.errors import RunFolderError
from offcam_proto.host import NO_LOCKS
from offcam_proto.limits import MIB
from offcam_runs.file_lock import try_flock
from offcam_runs.filesystem import write_all
from offcam_runs.format import STEP_DROP_REASONS
from offcam_runs.steps import files
from offcam_runs.steps.blocks import pack
from offcam_runs.steps.places import ADD_BLOCK, facts_of, has_rows

if TYPE_CHECKING:
    import sqlite3

    from offcam_proto.records import StepRecord

log = logging.getLogger(__name__)

STEPS_LIMIT: Final = 1024 * MIB
"""Most bytes of a run's steps on the disk, unless a stream sets another bound."""

MOST_OPEN: Final = 64
"""Most files that are open at a time; further streams' files are opened for each block."""

LIMIT, DISK_FULL, IO = STEP_DROP_REASONS
"""For people, why rows are dropped."""

_BYTES = "SELECT stream, file, sum(bytes) FROM step_blocks JOIN streams ON id = stream_id GROUP BY stream_id, file"
_STREAM = "SELECT stream, steps_limit FROM streams WHERE id = :stream_id"
_LAST = "SELECT file, offset + bytes FROM step_blocks WHERE stream_id = :stream_id ORDER BY seq DESC LIMIT 1"
# Rows that follow others dropped for the same reason share a row of the table with these.
_DROP_MORE = """
UPDATE dropped_steps SET rows = rows + :rows, last_episode = max(last_episode, :last_episode)
WHERE stream_id = :stream_id AND kind = :kind AND env_index = :env_index AND envs = :envs AND reason = :reason
    AND first_row + rows = :first_row AND first_row = (
        SELECT max(first_row) FROM dropped_steps
        WHERE stream_id = :stream_id AND kind = :kind AND env_index = :env_index AND first_row < :first_row
    )
"""
_DROP = """
INSERT INTO dropped_steps (stream_id, kind, env_index, envs, first_row, rows, first_episode, last_episode, reason)
VALUES (:stream_id, :kind, :env_index, :envs, :first_row, :rows, :first_episode, :last_episode, :reason)
"""
_SAID = {
    LIMIT: "the run has as many bytes of steps as it may: give a larger steps_limit to keep more",
    DISK_FULL: "there is no room for steps on its disk: make some",
    IO: "their file cannot be written",
}


@dataclass(slots=True)
class _File:
    """An open file of a stream, and up to where it is written."""

    number: int
    path: Path
    descriptor: int
    end: int

    def in_place(self) -> bool:
        """Whether it is the file at its path, rather than one that was removed."""
        try:
            there, own = os.lstat(self.path), os.fstat(self.descriptor)
        except OSError:
            return False
        return (there.st_dev, there.st_ino) == (own.st_dev, own.st_ino)


class StepFiles:
    """Writes the steps of one run. For the index's thread; call its methods within transactions of the index.

    Args:
        folder: the run folder.
        database: its index, open to be written.
        limit: most bytes of its steps on the disk, unless a stream sets another bound.
    """

    def __init__(self, folder: Path, database: sqlite3.Connection, limit: int = STEPS_LIMIT) -> None:
        self._folder = folder
        self._db = database
        self._limit = limit
        self._bytes: int | None = None  # size of all blocks whose file exists; None until that is asked
        self._counted = 0  # when their folder had last changed as they were counted
        self._files: OrderedDict[int, _File] = OrderedDict()
        self._made: list[Path] = []  # files made in this transaction
        self._durable = False  # whether blocks are synced to the disk before they are committed
        self._said: set[str] = set()

    def add(self, key: int, seq: int, record: StepRecord) -> str | None:
        """Write a record of steps. If that fails it is counted as dropped, so that other records are not held up.

        Args:
            key: of its stream.
            seq: its number.
            record: the record. One whose rows are there, or were dropped, already is skipped.

        Returns:
            Why it was dropped; None if it was not.

        Raises:
            MalformedMessage: the record's bytes are not the rows of its layout.
        """
        facts = facts_of(key, seq, record)
        if has_rows(self._db, facts):
            return None
        data = files.framed(seq, pack(record))
        stream, limit = self._db.execute(_STREAM, {"stream_id": key}).fetchone()
        if self._used(len(data), limit or self._limit) + len(data) > (limit or self._limit):
            return self._drop(facts, LIMIT, "")
        try:
            file = self._file(key, stream)
            write_all(file.descriptor, data, file.end)
            if self._durable:
                os.fdatasync(file.descriptor)
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
            return self._drop(facts, DISK_FULL if full else IO, error.strerror or str(error))
        self._db.execute(ADD_BLOCK, {**facts, "file": file.number, "offset": file.end, "bytes": len(data)})
        file.end += len(data)
        self._bytes = (self._bytes or 0) + len(data)
        return None

    def kept(self) -> None:
        """Keep the files that the transaction made, as it is committed."""
        self._made.clear()

    def mark(self) -> int:
        """A position in a transaction, to which `undo` can go back."""
        return len(self._made)

    def undo(self, mark: int = 0) -> None:
        """Go back to a mark, or to the transaction's begin: forget what was known, and look again."""
        self.close()
        for path in self._made[mark:]:
            with suppress(OSError):
                path.unlink()
        del self._made[mark:]
        self._bytes = None

    def settle(self, key: int) -> None:
        """Close the file of a stream, by its row id, that has ended: who has it in object storage may remove it now."""
        if file := self._files.pop(key, None):
            os.close(file.descriptor)

    def close(self) -> None:
        """Close all files."""
        while self._files:
            os.close(self._files.popitem()[1].descriptor)

    def _used(self, more: int, limit: int) -> int:
        """Bytes of all blocks. If ``more`` would exceed the limit, files that were removed meanwhile do not count."""
        if self._bytes is None or self._bytes + more > limit:
            changed = 0
            with suppress(OSError):
                changed = (self._folder / files.FOLDER).stat().st_mtime_ns
            if self._bytes is None or changed != self._counted:
                sizes = self._db.execute(_BYTES).fetchall()
                self._bytes = sum(size for stream, number, size in sizes if self._is_there(stream, number))
                self._counted = changed
        return self._bytes

    def _is_there(self, stream: str, number: int) -> bool:
        try:
            return os.path.lexists(files.path_of(self._folder, stream, number))
        except RunFolderError:  # not a stream's id, so no reader finds such a file
            return False

    def _drop(self, facts: dict[str, object], reason: str, why: str) -> str:
        values = {**facts, "reason": reason}
        if not self._db.execute(_DROP_MORE, values).rowcount:
            self._db.execute(_DROP, values)
        if reason not in self._said:
            self._said.add(reason)
            log.error("steps of %s are dropped: %s%s", self._folder, _SAID[reason], f" ({why})" if why else "")
        return reason

    def _file(self, key: int, stream: str) -> _File:
        """The open file into which a stream's next block goes."""
        file = self._files.pop(key, None)
        if file is not None and (file.end > files.FILE_BYTES or not file.in_place()):
            os.close(file.descriptor)
            file = None
        if file is None:
            file = self._open(key, stream)
        self._files[key] = file
        while len(self._files) > MOST_OPEN:
            _, oldest = self._files.popitem(last=False)
            os.close(oldest.descriptor)
        return file

    def _open(self, key: int, stream: str) -> _File:
        """Open the last file in the index, cut to the part that the index has, or make the next one."""
        inner = self._folder / files.FOLDER
        inner.mkdir(exist_ok=True)
        if inner.is_symlink():
            raise OSError(errno.ELOOP, f"{inner} is a link, maybe out of the folder")
        self._durable = self._db.execute("PRAGMA journal_mode").fetchone() != ("wal",)  # as commits of the index
        number, end = self._db.execute(_LAST, {"stream_id": key}).fetchone() or (-1, 0)
        if 0 < end <= files.FILE_BYTES and (file := self._reopened(stream, number, end)):
            return file
        while True:
            number += 1
            path = Path(files.path_of(self._folder, stream, number))
            with suppress(FileExistsError):  # a file that no index has any more is left alone
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
                self._made.append(path)
                try:
                    _hold(descriptor)
                    write_all(descriptor, files.MAGIC, 0)
                except OSError:
                    os.close(descriptor)
                    self._made.remove(path)
                    path.unlink()
                    raise
                if self._durable:
                    _sync(inner)
                return _File(number, path, descriptor, len(files.MAGIC))

    def _reopened(self, stream: str, number: int, end: int) -> _File | None:
        """Open a file that was written before; None if it is gone or about to, or lacks what the index has of it."""
        path = Path(files.path_of(self._folder, stream, number))
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            whole = _hold(descriptor) and os.fstat(descriptor).st_size >= end
            whole = whole and os.pread(descriptor, len(files.MAGIC), 0) == files.MAGIC
            if whole:
                os.ftruncate(descriptor, end)
                return _File(number, path, descriptor, end)
        except OSError:
            whole = False
        os.close(descriptor)
        return None


def _hold(descriptor: int) -> bool:
    """Keep a file from being removed while it is open. Returns whether it can be kept: not if somebody is about to."""
    try:
        return try_flock(descriptor, exclusive=False)
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        return True  # nobody can lock it to remove it


def _sync(folder: Path) -> None:
    """Sync the names in a folder to the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
