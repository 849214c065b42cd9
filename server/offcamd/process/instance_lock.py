"""One daemon for each endpoint: a lock beside the socket, held as long as the daemon lives, with facts about it inside.

A second ``ipc://`` bind would silently steal the endpoint. So a daemon takes the lock before it binds, and only the
holder removes a socket file that a dead daemon left.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from offcam_proto import host
from offcam_proto.errors import ConfigError, DaemonAlreadyRunning, DaemonError
from offcam_runs.file_lock import FileLock, held, pid_namespace

if TYPE_CHECKING:
    from offcam_proto.endpoints import Endpoint

MOST_NAMED = 5
"""Most unfinished things that a daemon lists when it leaves."""

_INFO_BYTES = 1024
_READ_SECONDS = 2.0
_PAUSE_SECONDS = 0.005


class DaemonPaths(NamedTuple):
    """The files of the daemon at an endpoint, all in one directory."""

    directory: Path
    socket: Path
    lock: Path
    launch_lock: Path
    log: Path
    lost: Path
    shown: Path


@dataclass(frozen=True, slots=True)
class DaemonInfo:
    """What a daemon says of itself in its lock's file.

    Attributes:
        pid: its process id.
        endpoint: its ZeroMQ endpoint.
        http: its HTTP address as a URL, or None.
        version: its version of offcam.
        log_file: its log, or None for stderr.
        started: seconds since the Unix epoch.
        pid_namespace: the namespace of ``pid``, so that nobody outside a container signals another process.
        stopping: whether it takes no more clients.
        tcp: where it listens for other hosts, or None.
    """

    pid: int
    endpoint: str
    http: str | None
    version: str
    log_file: str | None
    started: float
    pid_namespace: str
    stopping: bool = False
    tcp: str | None = None

    @property
    def ready_line(self) -> str:
        """The one line that ``offcam serve`` and ``offcam start`` print on stdout."""
        also = f" tcp={self.tcp}" if self.tcp else ""
        return f"offcam ready pid={self.pid} endpoint={self.endpoint} http={self.http or 'off'}{also}"

    @property
    def whereabouts(self) -> dict[str, Any]:
        """The same as a dictionary, for JSON."""
        return {"pid": self.pid, "endpoint": self.endpoint, "http": self.http, "tcp": self.tcp}

    @property
    def here(self) -> bool:
        """Whether its pid means the same process to us."""
        return self.pid_namespace == pid_namespace()


def daemon_paths(endpoint: Endpoint) -> DaemonPaths:
    """The paths of the files of the daemon at an endpoint. ConfigError unless that is ``ipc://``."""
    if endpoint.path is None:
        raise ConfigError(
            f"{endpoint.url} is for other hosts and has no socket file; on its own host a daemon is found by that. "
            "Unset OFFCAM_ADDR, or set it to ipc:///absolute/path."
        )
    socket = Path(endpoint.path)
    # The names must stay the same in all versions, so that two daemons at one socket compete for the same lock.
    beside = (socket.with_name(f"{socket.name}.{kind}") for kind in ("lock", "launch.lock", "log", "lost", "shown"))
    return DaemonPaths(socket.parent, socket, *beside)


def prepare_directory(directory: Path) -> None:
    """Make the runtime directory, for its owner alone.

    Raises:
        ConfigError: it cannot be made, or is another user's or open to others, who could replace the socket and
            receive what the agents see.
    """
    if problem := host.make_private(str(directory)):
        chmod = f"Run chmod 700 {directory}" if "open to others" in problem else "Make one of your own"
        raise ConfigError(
            f"the runtime directory {directory} {problem}. {chmod}, or name another socket with "
            "OFFCAM_ADDR=ipc:///your/own/directory/daemon.sock."
        )


@contextlib.contextmanager
def private_umask() -> Iterator[None]:
    """Create files for their owner alone within the ``with`` block. The umask is the whole process's: keep it short."""
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)


class DaemonLock:
    """The lock that makes this process the daemon of an endpoint. Not thread-safe."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.paths = daemon_paths(endpoint)
        self._lock: FileLock | None = None
        self._info: DaemonInfo | None = None

    def acquire(self, info: DaemonInfo) -> None:
        """Take the lock, write ``info`` into it, and remove the socket of a daemon that died.

        Raises:
            ConfigError: the runtime directory cannot be used.
            DaemonAlreadyRunning: another process holds the lock.
        """
        prepare_directory(self.paths.directory)
        with _usable(self.paths.directory), contextlib.ExitStack() as stack:
            lock = FileLock.take(self.paths.lock, 0o600)
            if lock is None:
                owner = _read(self.paths.lock)
                raise already_running(info.endpoint, owner.pid if owner else None)
            stack.callback(lock.release)
            self.paths.socket.unlink(missing_ok=True)
            _write(lock.fd, info)
            stack.pop_all()
        self._lock, self._info = lock, info

    @property
    def unlocked(self) -> str:
        """Why locks do not work in the directory's file system; empty where they do."""
        return self._lock.unlocked if self._lock else ""

    def update(self, *, http: str | None = None, stopping: bool = False) -> None:
        """Tell readers of the lock more: the HTTP address, or that this daemon takes no more clients."""
        if self._lock is None or self._info is None:
            raise DaemonError("the lock is not held, so there is nothing to update in it")
        self._info = replace(self._info, http=http or self._info.http, stopping=stopping or self._info.stopping)
        with contextlib.suppress(OSError):  # a full disk must not end a daemon
            _write(self._lock.fd, self._info)

    def release(self, unfinished: Sequence[str] = ()) -> None:
        """Remove the socket and release the lock. Does nothing if it is not held.

        Args:
            unfinished: what the daemon leaves unfinished, for whoever stopped it.
        """
        lock, info, self._lock, self._info = self._lock, self._info, None, None
        if lock is not None and info is not None:
            self.paths.socket.unlink(missing_ok=True)
            os.ftruncate(lock.fd, 0)
            if unfinished:
                with contextlib.suppress(OSError):  # a full disk must not keep the lock from being released
                    os.pwrite(lock.fd, json.dumps({"pid": info.pid, "unfinished": list(unfinished)}).encode(), 0)
            lock.release()


def already_running(endpoint: str, pid: int | None) -> DaemonAlreadyRunning:
    """The error of a daemon that finds another one at its endpoint."""
    return DaemonAlreadyRunning(
        f"an offcam daemon (pid {pid or 'unknown'}) is listening at {endpoint} already. Use that one "
        "(`offcam status`), or give this one another --endpoint.",
        pid,
    )


def read_lock(endpoint: Endpoint) -> DaemonInfo | None:
    """The daemon that holds the endpoint's lock, or None where nobody does.

    Raises:
        ConfigError: it is no ``ipc://`` endpoint.
        DaemonError: the lock is held by something that is not a daemon, or may not be read by us.
    """
    path = daemon_paths(endpoint).lock
    give_up = time.monotonic() + _READ_SECONDS
    while _held(path):
        info = _read(path)
        if info and _alive(info):
            return info
        if time.monotonic() > give_up:
            raise DaemonError(
                f"somebody holds the lock {path} and does not say who: find the process with `fuser {path}` and end it."
            )
        time.sleep(_PAUSE_SECONDS)  # the holder has just taken it, and not yet written its own facts
    return None


def last_words(endpoint: Endpoint, pid: int) -> list[str]:
    """What a daemon that has left did not finish; empty if it finished everything, or another one came since."""
    try:
        said = json.loads(daemon_paths(endpoint).lock.read_text())
    except (OSError, ValueError):
        return []
    if not isinstance(said, dict) or said.get("pid") != pid:
        return []
    return list(said.get("unfinished", ("it was killed before it had finished: run `offcam recover` on its runs",)))


def not_finished(unfinished: Sequence[str]) -> str:
    """A sentence on what a daemon that has ended did not finish."""
    more = f" (and {len(unfinished) - MOST_NAMED} more)" if len(unfinished) > MOST_NAMED else ""
    return f"not everything was finished: {'; '.join(unfinished[:MOST_NAMED])}{more}."


def _alive(info: DaemonInfo) -> bool:
    if not info.here:
        return True  # its pid means nothing here, but the lock is held
    try:
        os.kill(info.pid, 0)
    except OSError as error:
        return isinstance(error, PermissionError)  # another user's process, which is alive
    return True


def _held(path: Path) -> bool:
    try:
        return held(path)
    except OSError as error:
        raise DaemonError(
            f"cannot read the daemon's lock {path} ({error.strerror}): it is another user's. Use your own with "
            "OFFCAM_ADDR=ipc:///your/own/directory/daemon.sock, or unset OFFCAM_ADDR."
        ) from error


@contextlib.contextmanager
def _usable(directory: Path) -> Iterator[None]:
    """Turn an OSError within the ``with`` block into a ConfigError that names the directory and the fix."""
    try:
        yield
    except OSError as error:
        raise ConfigError(
            f"the runtime directory {directory} cannot be written ({error.strerror}). Make room in it, or name another "
            "socket with OFFCAM_ADDR=ipc:///your/own/directory/daemon.sock."
        ) from error


def _write(fd: int, info: DaemonInfo) -> None:
    # One write, padded so that it is never shorter than the text it replaces: a reader sees the old or the new one.
    os.pwrite(fd, json.dumps(asdict(info)).encode().ljust(max(_INFO_BYTES, os.fstat(fd).st_size)), 0)


def _read(path: Path) -> DaemonInfo | None:
    try:
        return DaemonInfo(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return None
