"""The exclusive right to something that a file stands for: by the kernel where it can, by a claim where it cannot.

Where the file system has locks it is a ``flock``, which ends with its holder, however that ends. Where it has none
(Lustre without flock, some FUSE and network file systems) it is a file beside it, made with ``O_EXCL``, that says who
made it and is touched every few seconds: a claim. One whose process is gone, or that was not touched for a minute
where that cannot be seen, is stale, and whoever comes next takes it over.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import secrets
import socket
import threading
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from offcam_proto.host import NO_LOCKS

log = logging.getLogger(__name__)

CLAIM_ENDING = ".claim"
"""Appended to the name of a file that cannot be locked, for the file that stands for the lock."""

NO_LOCKS_LINE = "the file system of %s has no locks (%s): a claim with a heartbeat keeps others away instead"

HEARTBEAT_SECONDS = 5.0
"""How often the holder of a claim touches it."""

STALE_SECONDS = 60.0
"""A claim of another host, or another container, that was not touched for so long has no holder any more."""

_CONTENTION_TRIES = 200
_PAUSE_SECONDS = 0.005


def pid_namespace() -> str:
    """This process's pid namespace, empty where the system has none."""
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


class FileLock:
    """A lock that is held. Made by `take`; used by one thread at a time.

    Attributes:
        path: the file.
        fd: an open descriptor of it, for what the holder writes into it.
        unlocked: why its file system has no locks, empty where it has.
    """

    def __init__(self, path: Path, fd: int, claim: _Claim | None, unlocked: str) -> None:
        self.path = path
        self.fd = fd
        self.unlocked = unlocked
        self._claim = claim

    @classmethod
    def take(cls, path: Path, mode: int) -> FileLock | None:
        """Take the lock; None where another process has it. The file is made where it does not exist.

        Raises:
            OSError: it, or the claim beside it, cannot be made.
        """
        while True:
            with contextlib.ExitStack() as stack:
                flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC  # a link may lead anywhere
                fd = os.open(path, flags, mode)
                stack.callback(os.close, fd)
                claim, unlocked = None, ""
                try:
                    if not _lock_against_readers(fd):
                        return None
                except OSError as error:
                    if error.errno not in NO_LOCKS:
                        raise
                    unlocked = str(error.strerror)
                    if (claim := _Claim.make(_claim_path(path), mode)) is None:
                        return None
                    stack.callback(claim.withdraw)
                else:
                    if _claimed(_claim_path(path)):  # by one who was told that there are no locks here
                        return None
                if _still_there(path, fd):
                    stack.pop_all()
                    return cls(path, fd, claim, unlocked)  # else its holder has just removed the file

    def release(self, *, remove: bool = False) -> None:
        """Let go, and remove the file first if that is wanted. Releasing twice is harmless."""
        fd, self.fd = self.fd, -1
        if fd < 0:
            return
        if remove:
            with contextlib.suppress(OSError):  # the folder is read-only by now
                if _still_there(self.path, fd):  # else the file is gone, and what lies there is somebody else's
                    self.path.unlink()
        if self._claim is not None:
            self._claim.withdraw()
        os.close(fd)

    @property
    def in_place(self) -> bool:
        """Whether the file is still where it was made, so that whoever looks there finds it locked."""
        return _still_there(self.path, self.fd)

    def hand_to(self, pid: int) -> None:
        """Give the lock to another process of this host, which has inherited ``fd``: it then ends with that process."""
        if self._claim is not None:
            self._claim.hand_to(pid)
        fd, self.fd = self.fd, -1
        os.close(fd)

    def forget(self) -> None:
        """Let go of a lock that this process has by its parent's fork, and that the parent keeps."""
        fd, self.fd = self.fd, -1
        os.close(fd)

    @staticmethod
    def end_inherited(path: Path, fd: int) -> None:
        """Let go of a lock that this process got by `hand_to`."""
        with contextlib.suppress(OSError):
            _claim_path(path).unlink()
        os.close(fd)


def held(path: Path) -> bool:
    """Whether somebody holds the lock of a file. Changes nothing.

    Raises:
        OSError: the file is there and cannot be read.
    """
    try:
        with path.open("rb") as file:
            if not try_flock(file.fileno(), exclusive=False):
                return True
    except FileNotFoundError:
        return False
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
    return _claimed(_claim_path(path))


def _lock_against_readers(fd: int) -> bool:
    """Take the lock unless another owner has it; readers, who look at it for a moment, do not count."""
    for _ in range(_CONTENTION_TRIES):
        if try_flock(fd, exclusive=True):
            return True
        if not try_flock(fd, exclusive=False):
            return False
        fcntl.flock(fd, fcntl.LOCK_UN)
        time.sleep(_PAUSE_SECONDS)
    return False


def try_flock(fd: int, *, exclusive: bool) -> bool:
    """Take an exclusive lock of an open file, or a shared one, without waiting; whether it was to be had.

    Raises:
        OSError: with one of `NO_LOCKS`, where the file system has none.
    """
    try:
        fcntl.flock(fd, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _still_there(path: Path, fd: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(fd))
    except (FileNotFoundError, NotADirectoryError):
        return False


# --- claims -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Claimant:
    """What a claim says.

    Attributes:
        host: the host that ``pid`` and ``namespace`` count in.
        pid: the holder's process id.
        namespace: its pid namespace.
        born: when that process began, as the kernel says it; a pid may be given anew.
        token: of this claim alone; names the claim that may follow it.
    """

    host: str
    pid: int
    namespace: str
    born: str
    token: str

    @classmethod
    def of(cls, pid: int) -> _Claimant:
        return cls(socket.gethostname(), pid, pid_namespace(), _born(pid), secrets.token_hex(8))

    @property
    def here(self) -> bool:
        """Whether the claimant's process can be seen from here."""
        return (self.host, self.namespace) == (socket.gethostname(), pid_namespace())


class _Claim:
    """A claim that is held, with the thread that keeps it fresh."""

    def __init__(self, path: Path, claimant: _Claimant) -> None:
        self._path = path
        self._claimant = claimant
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="offcam-heartbeat", daemon=True)
        self._thread.start()

    @classmethod
    def make(cls, path: Path, mode: int) -> _Claim | None:
        """Claim a path; None where somebody has a claim that holds.

        A stale claim is followed, not removed: the follower's name is made of the stale one's token, so that of
        many who find it stale one makes that name, by ``O_EXCL``. It then moves its claim into the stale one's place.
        Who made the name after that sees that the chain does not lead to it any more, and begins anew.
        """
        claimant = _Claimant.of(os.getpid())
        while True:
            chain = _chain(path)
            if chain is None:
                return None
            own = chain[-1]
            if not _write_new(own, claimant, mode):
                continue
            if own == path:
                return cls(path, claimant)
            if _chain(path, claimant.token) == chain:
                own.replace(path)
                for stale in chain[1:-1]:
                    stale.unlink(missing_ok=True)
                return cls(path, claimant)
            own.unlink(missing_ok=True)

    def withdraw(self) -> None:
        """Remove the claim."""
        self._end()
        with contextlib.suppress(OSError):
            if _token(self._path) == self._claimant.token:
                self._path.unlink()

    def hand_to(self, pid: int) -> None:
        """Make the claim another process's, which keeps it by being alive."""
        self._end()
        heir = replace(_Claimant.of(pid), token=self._claimant.token)
        with contextlib.suppress(OSError), self._path.open("r+b") as file:  # the heir may have ended it already
            file.write(_packed(heir))
            file.truncate()

    def _end(self) -> None:
        self._over.set()
        self._thread.join()

    def _beat(self) -> None:
        while not self._over.wait(HEARTBEAT_SECONDS):
            with contextlib.suppress(FileNotFoundError):  # its folder was removed
                if _token(self._path) != self._claimant.token:
                    log.error(
                        "%s was taken over by another process, as this one was frozen for over %g s: end one of the "
                        "two, or both write there",
                        self._path,
                        STALE_SECONDS,
                    )
                    return
                with contextlib.suppress(OSError):  # a file server that is away for a moment
                    os.utime(self._path)


def _claim_path(path: Path) -> Path:
    return path.with_name(path.name + CLAIM_ENDING)


def _chain(path: Path, own: str = "") -> list[Path] | None:
    """From a path along the stale claims to the name that is free, or is claimed by ``own``; None where one holds."""
    chain = [path]
    while (found := _read(chain[-1])) is not None:
        claimant, token = found
        if own and token == own:
            break
        if _alive(chain[-1], claimant):
            return None
        chain.append(path.with_name(f"{path.name}.{token}"))
    return chain


def _claimed(path: Path) -> bool:
    """Whether a claim on a path holds."""
    return _chain(path) is None


def _read(path: Path) -> tuple[_Claimant | None, str] | None:
    """A claim and its token; None in place of the claim where the file says nothing; None where there is no file."""
    try:
        text = path.read_text()
        inode = path.stat().st_ino
    except FileNotFoundError:
        return None
    try:
        claimant = _Claimant(**json.loads(text))
    except (ValueError, TypeError):
        return None, f"{inode:x}"
    return claimant, claimant.token


def _token(path: Path) -> str:
    found = _read(path)
    return found[1] if found else ""


def _alive(path: Path, claimant: _Claimant | None) -> bool:
    """Whether whoever made a claim is there: seen by its process where that can be, else by its heartbeat.

    A claim that says nothing was made just now and is about to be written, or its maker died before it could write.
    """
    if claimant is None or not claimant.here:
        return _age(path) < STALE_SECONDS
    try:
        os.kill(claimant.pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return _born(claimant.pid) == claimant.born


def _age(path: Path) -> float:
    """Seconds since a file was touched, by the clock of its file system: a server's may differ from ours."""
    probe = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    try:
        touched = path.stat().st_mtime
        try:
            probe.touch(exist_ok=False)
            now = probe.stat().st_mtime
        finally:
            probe.unlink(missing_ok=True)
    except FileNotFoundError:
        return 0.0  # withdrawn just now
    except OSError:
        now = time.time()  # not for us to write
    return now - touched


def _born(pid: int) -> str:
    """What tells a process from a later one of the same pid; empty where the system does not say, or it has ended."""
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except (OSError, ValueError):
        return ""
    return "" if state in "ZX" else f"{fields[18]} of {boot}"  # a parent that never waits keeps what is left of it


def _packed(claimant: _Claimant) -> bytes:
    return json.dumps(asdict(claimant)).encode()


def _write_new(path: Path, claimant: _Claimant, mode: int) -> bool:
    """Make a claim's file; False where there is one."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    except FileExistsError:
        return False
    try:
        os.write(fd, _packed(claimant))
    except OSError:  # a full disk
        path.unlink(missing_ok=True)
        raise
    finally:
        os.close(fd)
    return True
