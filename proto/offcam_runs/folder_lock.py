"""One writer for each run folder: a lock on a small file in it, held while it is written.

The lock ends with its holder, however that ends, so a dead daemon locks nobody out. What a dead holder leaves is a
small file without meaning; the next writer takes it over and removes it in the end.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from offcam_proto.errors import DaemonAlreadyRunning
from offcam_runs.database import not_writable
from offcam_runs.file_lock import NO_LOCKS_LINE, FileLock, held, try_flock
from offcam_runs.format import LOCK_NAME

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

log = logging.getLogger(__name__)

HELPER_SECONDS = 5.0
"""How long processes that wrote for a dead writer, and have yet to see that it died, are waited for."""

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_READ_TRIES = 100
_PAUSE_SECONDS = 0.005


@dataclass(frozen=True, slots=True)
class FolderWriter:
    """Who writes a folder.

    Attributes:
        pid: its process id; 0 where the writer has not said who it is yet.
        host: the host on which that is its process id.
        what: a daemon's endpoint, or the command that the writer is.
    """

    pid: int
    host: str
    what: str

    def __str__(self) -> str:
        return f"pid {self.pid} on {self.host}, {self.what}"


class FolderLock:
    """The right to write a run folder. Made by `acquire`; used by one thread at a time."""

    def __init__(self, lock: FileLock) -> None:
        self._lock = lock

    @property
    def in_place(self) -> bool:
        """Whether this is still the folder's lock: not if the folder was removed, renamed or replaced."""
        return self._lock.in_place

    @property
    def unlocked(self) -> bool:
        """Whether the folder's file system has no locks."""
        return bool(self._lock.unlocked)

    @classmethod
    def acquire(cls, folder: Path, what: str) -> FolderLock:
        """Take the lock, and say in it who has it. The folder is made where it does not exist.

        Where the file system has no locks, a claim stands for it (see `file_lock`), and a line in the log says so.

        Raises:
            DaemonAlreadyRunning: another process has it.
            FolderNotWritable: the folder, or the file in it, cannot be made.
        """
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock.take(folder / LOCK_NAME, 0o644)
        except OSError as error:
            raise not_writable(folder, str(error.strerror)) from error
        if lock is None:
            raise _taken(folder)
        if lock.unlocked:
            log.warning(NO_LOCKS_LINE, folder, lock.unlocked)
        with suppress(OSError):  # a full disk: it is locked all the same
            os.truncate(lock.fd, 0)
            os.pwrite(lock.fd, json.dumps(asdict(FolderWriter(os.getpid(), socket.gethostname(), what))).encode(), 0)
        return cls(lock)

    def release(self) -> None:
        """Remove the file and let go. Releasing twice is harmless."""
        self._lock.release(remove=True)


@contextmanager
def held_for_helper(folder: Path) -> Iterator[list[int]]:
    """A descriptor that locks the folder itself, for a process that writes a video for the folder's writer.

    The writer sends it together with the first thing to write. From then on the folder is locked until the process
    closes it or has ended, even if the writer dies before the process has read it. The list is empty where there can be
    no such lock.
    """
    with ExitStack() as closing:
        held = []
        with suppress(OSError):
            descriptor = os.open(folder, _DIRECTORY)
            closing.callback(os.close, descriptor)
            if try_flock(descriptor, exclusive=False):
                held.append(descriptor)
        yield held


def await_helpers(folder: Path) -> None:
    """Wait until no process writes for a dead writer any more, whose `FolderLock` the caller has now.

    Until then it may put frames into a video that the caller finds waiting in memory.
    """
    deadline = time.monotonic() + HELPER_SECONDS
    with suppress(OSError), ExitStack() as closing:  # OSError: a file system without such locks
        descriptor = os.open(folder, _DIRECTORY)
        closing.callback(os.close, descriptor)
        while not try_flock(descriptor, exclusive=True) and time.monotonic() < deadline:
            time.sleep(_PAUSE_SECONDS)


def writer_of(folder: Path) -> FolderWriter | None:
    """Who writes a folder at this moment, or None. Changes nothing in it.

    Where the writer has not said yet who it is, its ``pid`` is 0.
    """
    path = folder / LOCK_NAME
    for _ in range(_READ_TRIES):
        try:
            if not held(path):
                return None
        except OSError:
            return None
        if found := _read(path):
            return found
        time.sleep(_PAUSE_SECONDS)  # taken a moment ago
    return FolderWriter(0, "this or another host", "which did not say who it is")


def _taken(folder: Path) -> DaemonAlreadyRunning:
    writer = writer_of(folder)
    pid = writer.pid if writer else None
    return DaemonAlreadyRunning(
        f"the run folder {folder} is being written by another offcam process ({writer or 'it has just left'}): record "
        "into another folder, or use that daemon by setting OFFCAM_ADDR to its endpoint",
        pid,
    )


def _read(path: Path) -> FolderWriter | None:
    try:
        return FolderWriter(**json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError):
        return None
