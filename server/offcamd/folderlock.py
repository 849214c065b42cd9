"""One writer for each run folder: a flock on a small file in it, held while it is written.

The kernel lets go of it with its holder, however that ends, so a dead daemon locks nobody out. What stays behind is
a small file that means nothing, until the next writer takes it over and removes it in the end.
"""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import socket
import time
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from offcam_proto.errors import DaemonAlreadyRunning, FolderNotWritable
from offcam_proto.run_format import LOCK_NAME
from offcamd.lock import lock_against_readers, try_flock

if TYPE_CHECKING:
    from pathlib import Path

log = logging.getLogger(__name__)

_NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL})
_READ_TRIES = 100
_PAUSE_SECONDS = 0.005


@dataclass(frozen=True, slots=True)
class Writer:
    """Who writes a folder.

    Attributes:
        pid: its process id.
        host: the host that counts in.
        what: a daemon's endpoint, or the command that it is.
    """

    pid: int
    host: str
    what: str

    def __str__(self) -> str:
        return f"pid {self.pid} on {self.host}, {self.what}"


class FolderLock:
    """The right to write a run folder. Made by `acquire`; used by one thread at a time."""

    def __init__(self, path: Path, fd: int) -> None:
        self._path = path
        self._fd: int | None = fd

    @classmethod
    def acquire(cls, folder: Path, what: str) -> FolderLock:
        """Take the lock, and say in it who has it. The folder is made where it does not exist.

        Where the file system has no locks it goes without, and says so in the log.

        Raises:
            DaemonAlreadyRunning: another process has it.
            FolderNotWritable: the folder, or the file in it, cannot be made.
        """
        path = folder / LOCK_NAME
        try:
            folder.mkdir(parents=True, exist_ok=True)
            fd = _lock(path)
        except OSError as error:
            raise FolderNotWritable(
                f"the run folder {folder} cannot be written by user id {os.geteuid()} ({error.strerror}): make it "
                "writable, or record into another folder"
            ) from error
        if fd is None:
            raise _taken(folder)
        with suppress(OSError):  # a full disk: it is locked all the same
            os.truncate(fd, 0)
            os.pwrite(fd, json.dumps(asdict(Writer(os.getpid(), socket.gethostname(), what))).encode(), 0)
        return cls(path, fd)

    def release(self) -> None:
        """Remove the file and let go. Releasing twice is harmless."""
        fd, self._fd = self._fd, None
        if fd is not None:
            with suppress(OSError):  # the folder is gone, or read-only by now
                self._path.unlink()
            os.close(fd)


def writer_of(folder: Path) -> Writer | None:
    """Who writes a folder at this moment, or None. Changes nothing in it.

    Where whoever does has not said who it is, its ``pid`` is 0.
    """
    for _ in range(_READ_TRIES):
        try:
            fd = os.open(folder / LOCK_NAME, os.O_RDONLY)
        except OSError:
            return None
        with ExitStack() as stack:
            stack.callback(os.close, fd)
            try:
                if try_flock(fd, fcntl.LOCK_SH):
                    return None
            except OSError:  # no locks here
                return None
            if found := _read(fd):
                return found
        time.sleep(_PAUSE_SECONDS)  # taken a moment ago
    return Writer(0, "this or another host", "which did not say who it is")


def _lock(path: Path) -> int | None:
    """Open and lock the file; None where another process has it."""
    while True:
        with ExitStack() as stack:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)  # a link may lead out of the folder
            stack.callback(os.close, fd)
            try:
                if not lock_against_readers(fd):
                    return None
            except OSError as error:
                if error.errno not in _NO_LOCKS:
                    raise
                log.warning("%s cannot be locked (%s): keep other daemons from this folder", path, error)
            if _still_there(path, fd):
                stack.pop_all()
                return fd  # else its holder removed it just now, and the next one made another


def _still_there(path: Path, fd: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(fd))
    except FileNotFoundError:
        return False


def _taken(folder: Path) -> DaemonAlreadyRunning:
    writer = writer_of(folder)
    pid = writer.pid if writer else None
    return DaemonAlreadyRunning(
        f"the run folder {folder} is being written by another offcam process ({writer or 'it has just left'}): record "
        "into another folder, or use that daemon by setting OFFCAM_ADDR to its endpoint",
        pid,
    )


def _read(fd: int) -> Writer | None:
    try:
        return Writer(**json.loads(os.pread(fd, 4096, 0)))
    except (OSError, ValueError, TypeError):
        return None
