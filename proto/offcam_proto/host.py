"""What this host has for both sides: a directory for the daemon's socket, keys, locks on files or none, shared memory.

The one module of the protocol's package that does I/O. It is here, beside the rule that it serves,
because both sides must come to the same answer, and neither may import the other.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import mmap
import os
import secrets
import shutil
import socket
import stat
import struct
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from offcam_proto import keys
from offcam_proto.arena import DAEMON_AT, SLOTS_AT, SPOOL_EXTENSION
from offcam_proto.endpoints import (
    ADDR_VARIABLE,
    MAX_SOCKET_PATH,
    RUNTIME_VARIABLE,
    SOCKET_NAME,
    Candidate,
    Endpoint,
    Look,
    candidates,
    choose,
    endpoint_asked,
    endpoint_in,
    fits,
)
from offcam_proto.errors import ConfigError

NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL})
"""Errors by which a file system says that it has no locks."""

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_PROBE_BYTES = 8192  # room that the lock file and the socket need; without room for its log a daemon runs all the same
_OVERFLOW_UID = 65534  # the owner that a user namespace shows for root outside of it
_PUBLIC = ("/tmp", "/var/tmp", "/dev/shm")  # noqa: S108 - directories made there are random, 0700 and owner-checked

MEMORY = "/dev/shm"  # noqa: S108 - what is made there is in a directory of mode 0700 that is owner-checked
"""Where a file system in memory is, if there is one."""

_ARENA_EXTENSION = ".arena"
_ARENA_ROOM = 16  # an arena is made only where this many times its size is free
_LENGTH = struct.Struct("<H")

_COMPANIONS = ("", "-wal", "-journal")
_COPY_SECONDS = 10.0
_COPY_PAUSE_SECONDS = 0.01


@dataclass(frozen=True, slots=True)
class Found:
    """Where the daemon is, or is to be.

    Attributes:
        endpoint: where it listens.
        named: whether ``OFFCAM_ADDR`` says so; then none is started here.
        skipped: better directories that cannot be used, each with its reason.
        usable: whether a daemon can have its files there; else ``skipped`` has all that was tried.
    """

    endpoint: Endpoint
    named: bool = False
    skipped: tuple[str, ...] = ()
    usable: bool = True

    @property
    def warning(self) -> str:
        """What the user should hear of it, empty where there is nothing to say."""
        if not self.skipped:
            return ""
        reasons = "; ".join(self.skipped)
        remedy = f"Set {RUNTIME_VARIABLE} to a directory of your own, or {ADDR_VARIABLE} to a socket's path."
        if not self.usable:
            return f"no directory can hold the recorder daemon's socket: {reasons}. {remedy}"
        socket_ = self.endpoint.path
        return f"the recorder daemon's socket is {socket_}, as better places for it cannot be used: {reasons}. {remedy}"


def find(environ: Mapping[str, str], uid: int) -> Found:
    """Find the daemon's endpoint, by the rule in ``SPEC.md``; its directory is made where it is needed.

    Looks at the file system each time, as daemons and directories come and go.

    Args:
        environ: the environment that says where to look.
        uid: the user whose daemon it is.

    Raises:
        ConfigError: ``OFFCAM_ADDR`` is malformed.
    """
    if (asked := endpoint_asked(environ)) is not None:
        return Found(asked, named=True)
    listed = candidates(environ, uid, socket.gethostname())
    choice = choose(listed, look, prepare)
    skipped = tuple(f"{candidate} {problem}" for candidate, problem in choice.skipped)
    if choice.candidate is not None:
        return Found(endpoint_in(choice.candidate), skipped=skipped)
    bases = dict.fromkeys((*_PUBLIC, environ.get("TMPDIR", "")))
    made_up = _made_up([base for base in bases if base.startswith("/")], f"offcam-{uid}-")
    if made_up is not None:
        return Found(endpoint_in(made_up), skipped=skipped)
    first = next(each for each in listed if each.base.startswith("/") and fits(each.socket))
    return Found(endpoint_in(first), skipped=skipped, usable=False)


def look(candidate: Candidate) -> Look:  # noqa: PLR0911 - a list of reasons
    """See of a directory what can be seen without changing anything."""
    if not candidate.base.startswith("/"):
        return Look("is not absolute")
    if not fits(candidate.socket):
        return Look(f"makes a socket's path longer than {MAX_SOCKET_PATH} bytes")
    try:
        base = os.stat(candidate.base)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            return Look(f"cannot be made, as there is no {candidate.base}", missing=True)
        return Look(f"cannot be made ({error.strerror})")
    if problem := _base_problem(candidate.base, base):
        return Look(problem)
    try:
        problem = private_problem(os.lstat(candidate.path))
    except OSError as error:
        return Look() if error.errno == errno.ENOENT else Look(f"cannot be used ({error.strerror})")
    return Look(problem, listening=not problem and listens(candidate.socket))


def prepare(candidate: Candidate) -> str:
    """Make a directory for the daemon's files. Returns why it cannot be used, empty where it can."""
    return make_private(candidate.path) or write_problem(candidate.path)


def make_private(directory: str) -> str:
    """Make a directory, for its owner alone, and those above it. Returns what is wrong with it, empty if nothing."""
    try:
        os.makedirs(os.path.dirname(directory), mode=0o700, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            os.mkdir(directory, mode=0o700)
        return private_problem(os.lstat(directory))
    except OSError as error:
        return f"cannot be made ({_why(error)})"


def private_problem(status: os.stat_result) -> str:
    """Why a directory is not this user's alone: whoever else could write there could take the socket's place.

    Args:
        status: of `os.lstat`, so that a link is seen as one, whoever made it.
    """
    if not stat.S_ISDIR(status.st_mode):
        return "is no directory"
    if status.st_uid != os.geteuid():
        return f"belongs to uid {status.st_uid}, and you are uid {os.geteuid()}"
    if status.st_mode & 0o077:
        return f"is open to others (mode {stat.S_IMODE(status.st_mode):04o})"
    return ""


def write_problem(directory: str) -> str:
    """Why nothing can be written in a directory, found out by doing it; empty where it can."""
    path = f"{directory}/{secrets.token_hex(len(SOCKET_NAME) // 2)}"  # as long as the socket's, as paths are bounded
    try:
        try:
            with socket.socket(socket.AF_UNIX) as probe:  # some file systems hold files and no sockets
                probe.bind(path)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            if os.write(fd, bytes(_PROBE_BYTES)) < _PROBE_BYTES:
                return "cannot be written (its file system is full)"
        finally:
            os.close(fd)
            os.unlink(path)
    except OSError as error:
        return f"cannot be written ({_why(error)})"
    return ""


def listens(path: str) -> bool:
    """Whether somebody listens on a socket, asked of the kernel alone."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(0)
        return probe.connect_ex(path) in (0, errno.EAGAIN)  # EAGAIN: its queue of connections is full
    return False


def _base_problem(path: str, status: os.stat_result) -> str:
    """Why others could replace what lies in a directory, empty where they cannot: a shared one needs the sticky bit."""
    if not stat.S_ISDIR(status.st_mode):
        return f"cannot be made, as {path} is no directory"
    sticky = bool(status.st_mode & stat.S_ISVTX)
    if status.st_uid not in {0, os.geteuid(), *((_OVERFLOW_UID,) if sticky else ())}:
        return f"is another user's, as {path} belongs to uid {status.st_uid}, and you are uid {os.geteuid()}"
    if status.st_mode & stat.S_IWOTH and not sticky:
        return f"is not safe, as {path} is open to others (mode {stat.S_IMODE(status.st_mode):04o})"
    return ""


def _made_up(bases: list[str], prefix: str) -> Candidate | None:
    """The last resort: directories with random names that nobody can have taken. One made before is found again."""
    made = []
    for base in bases:
        with contextlib.suppress(OSError):
            names = sorted(name for name in os.listdir(base) if name.startswith(prefix))
            made += [Candidate(base, f"{base}/{name}") for name in names]
    if (chosen := choose(made, look, prepare).candidate) is not None:
        return chosen
    for base in bases:
        candidate = Candidate(base, f"{base}/{prefix}{secrets.token_hex(3)}")
        if not look(candidate).problem:
            if not prepare(candidate):
                return candidate
            with contextlib.suppress(OSError):
                os.rmdir(candidate.path)
    return None


def _why(error: OSError) -> str:
    return "its file system is full" if error.errno in _FULL else str(error.strerror)


# --- keys -------------------------------------------------------------------------------------------------


def client_key(endpoint: Endpoint, environ: Mapping[str, str]) -> keys.KeyFile | None:
    """The key with which this user's processes come to an endpoint, from the file that ``OFFCAM_KEYS`` names.

    Returns:
        The key; None for ``ipc://``, which needs none.

    Raises:
        ConfigError: there is no key, it is damaged, or the file or its directory is open to others.
    """
    if endpoint.path is not None:
        return None
    path = os.path.abspath(os.path.expanduser(keys.client_file(environ)))
    directory = os.path.dirname(path)
    try:
        status = os.stat(directory)
        os.stat(path)
    except FileNotFoundError as error:
        raise keys.no_client_key(endpoint.url, path) from error
    except OSError as error:
        raise _no_reading(path, error) from error
    if os.path.basename(path) == keys.CLIENT_FILE:  # in a directory of keys; a file alone may lie anywhere
        keys.check_private(directory, status.st_mode, status.st_uid, os.geteuid())
    return keys.for_client(read_key(path, keys.check_private), path)


def read_key(path: str, check: Callable[[str, int, int, int], None]) -> keys.KeyFile:
    """Read a key file.

    Args:
        path: of the file.
        check: is given its path, mode and owner, and this process's user, as `keys.check_private` takes them.

    Raises:
        ConfigError: the file cannot be read or is no key file, or what ``check`` raises.
    """
    try:
        with open(path, encoding="utf-8") as file:
            status = os.fstat(file.fileno())
            check(path, status.st_mode, status.st_uid, os.geteuid())
            return keys.parse(file.read(keys.MAX_KEY_FILE_BYTES), path)
    except OSError as error:
        raise _no_reading(path, error) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is no key file of offcam. Make one with `offcam keys new`.") from error


def _no_reading(path: str, error: OSError) -> ConfigError:
    return ConfigError(
        f"cannot read the key file {path} ({error.strerror}): make it readable for you (uid {os.geteuid()}), or name "
        f"another with {keys.KEYS_VARIABLE}."
    )


# --- files without locks ------------------------------------------------------------------------------------


def locks_missing(*paths: str) -> bool:
    """Whether the file system of the first of these files that is there says that it has no locks.

    Opening and closing a file ends the locks that this process has on it, as SQLite may: name another one first.
    """
    for path in paths:
        with contextlib.suppress(OSError), open(path, "rb") as file:
            try:
                fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except OSError as error:
                return error.errno in NO_LOCKS
            return False
    return False


def copy_index(index: str, folder: str) -> str:
    """Copy a SQLite file with its journals, though somebody may be writing it whom no lock keeps out.

    A copy is good where nothing changed meanwhile: none of the files, nor the counter that each commit raises. What a
    transaction that was under way had written, SQLite takes back in the copy by its journal.

    Args:
        index: the file.
        folder: where the copy goes.

    Returns:
        The copy's path.

    Raises:
        OSError: it cannot be read, or changed all the time.
    """
    copy = f"{folder}/{os.path.basename(index)}"
    give_up = time.monotonic() + _COPY_SECONDS
    while True:
        before = [_state(index + companion) for companion in _COMPANIONS]
        for companion in _COMPANIONS:
            _copy(index + companion, copy + companion)
        if before[0] is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), index)
        if [_state(index + companion) for companion in _COMPANIONS] == before:
            return copy
        if time.monotonic() > give_up:
            raise OSError(errno.EBUSY, "it was written all the time", index)
        time.sleep(_COPY_PAUSE_SECONDS)


def _state(path: str) -> object:
    try:
        with open(path, "rb") as file:
            status = os.fstat(file.fileno())
            counter = file.read(28)[24:]  # what each commit raises, see https://www.sqlite.org/fileformat2.html
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns, counter


def _copy(path: str, copy: str) -> None:
    try:
        shutil.copyfile(path, copy)
    except FileNotFoundError:
        with contextlib.suppress(FileNotFoundError):  # what an earlier try copied
            os.unlink(copy)


_THREADS = 17
"""The place of the number of threads in ``/proc/PID/stat``, counted from the state; see proc_pid_stat(5)."""


def ended(pid: int) -> bool:
    """Whether a process and all its threads have ended, so that none writes into memory that it shared. Linux alone."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            status = file.read()
    except OSError:
        return True
    fields = status.rpartition(")")[2].split()
    # A zombie has ended, unless only its first thread has: the other threads may still write.
    return fields[0] in "ZX" and int(fields[_THREADS]) <= 1


def mapped(descriptor: int, size: int) -> mmap.mmap:
    """Map so many bytes of an open file, where Python can do that without keeping a copy of its descriptor."""
    if sys.version_info >= (3, 13):
        return mmap.mmap(descriptor, size, trackfd=False)
    return mmap.mmap(descriptor, size)


# --- memory with a name -------------------------------------------------------------------------------------


def arena_path(token: bytes) -> str:
    """Where the arena with this token lies, if it has a name: in a folder of this user's, in memory."""
    return f"{arena_folder()}/{token.hex()}{_ARENA_EXTENSION}"


def arena_folder() -> str:
    """The folder of all arenas of this user that have names."""
    return f"{MEMORY}/offcam-{os.getuid()}"


def make_arena(token: bytes, size: int) -> int:
    """Make the file of an arena, which its client holds locked as long as it lives. Returns its descriptor.

    Raises:
        OSError: there is no file system in memory, or it has not many times that much room: others need it, too.
    """
    with open("/proc/self/mounts", encoding="utf-8", errors="replace") as mounts:
        if not any(line.split(" ")[1:3] == [MEMORY, "tmpfs"] for line in mounts):
            raise OSError(errno.ENOTSUP, "no file system in memory", MEMORY)
    if problem := make_private(arena_folder()):
        raise OSError(errno.EACCES, problem, arena_folder())
    path = arena_path(token)
    facts = os.statvfs(MEMORY)
    if facts.f_bavail * facts.f_frsize < _ARENA_ROOM * size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), MEMORY)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(descriptor, size)
    except BaseException:
        os.unlink(path)
        os.close(descriptor)
        raise
    return descriptor


def abandoned_arena(path: str) -> int | None:
    """Open an arena and lock it; None where its client has it, or it is not there."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def daemon_of(descriptor: int) -> tuple[str, str]:
    """What an arena says of its last daemon: where it listens, and in which folder it has what it moves to disk."""
    data = os.pread(descriptor, SLOTS_AT - DAEMON_AT, DAEMON_AT).ljust(_LENGTH.size, b"\0")
    said = data[_LENGTH.size : _LENGTH.size + _LENGTH.unpack_from(data)[0]]
    endpoint, _, folder = os.fsdecode(said).partition("\0")
    return endpoint, folder


def packed_daemon(endpoint: str, folder: str) -> bytes:
    """What an arena is to say of its daemon; nothing where that is too long for its place."""
    data = os.fsencode(f"{endpoint}\0{folder}")
    return _LENGTH.pack(len(data)) + data if len(data) <= SLOTS_AT - DAEMON_AT - _LENGTH.size else bytes(_LENGTH.size)


def spools_of(descriptor: int, token: bytes) -> list[str]:
    """The files to which daemons have moved frames of an arena that has a name."""
    _, folder = daemon_of(descriptor)
    try:
        names = sorted(os.listdir(folder)) if folder else []
    except OSError:
        return []
    return [f"{folder}/{name}" for name in names if name.startswith(token.hex()) and name.endswith(SPOOL_EXTENSION)]


def remove_arena(descriptor: int, token: bytes) -> None:
    """Remove an arena's name, and the files to which daemons moved its frames. Who has it open may go on."""
    for path in (*spools_of(descriptor, token), arena_path(token)):
        with contextlib.suppress(OSError):
            os.unlink(path)
