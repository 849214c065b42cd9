"""Starts a daemon in the background; only one, however many processes ask for it at the same time."""

from __future__ import annotations

import contextlib
import os
import selectors
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from offcam_proto.errors import ConfigError, DaemonNotReady, DaemonUnavailable, OffcamError
from offcam_runs.file_lock import FileLock
from offcamd.config.settings import Settings, load
from offcamd.process.instance_lock import DaemonInfo, daemon_paths, prepare_directory, read_lock
from offcamd.process.logs import tail
from offcamd.process.scope import move_out

if TYPE_CHECKING:
    from pathlib import Path


DEFAULT_TIMEOUT_SECONDS = 25.0
"""How long `start` waits until a daemon listens. It is not ended then: imports from a cold network disk are slow."""

_PAUSE_SECONDS = 0.02
_EXIT_SECONDS = 5.0
READY = "offcam ready "
"""The beginning of the line that a daemon prints on stdout when it listens."""

FAILED = "offcam: "
"""The beginning of the line that a launched daemon prints on stdout if it cannot start: its log may not be writable."""


def for_wrapper(endpoint: str, timeout: float) -> int:
    """Do what ``offcam start --embedded`` does, without the command line's libraries.

    Returns:
        The exit code: 0 if a daemon listens, 1 if not yet, 2 if none can be started.
    """
    try:
        line = start_detached(load({"endpoint": endpoint}, embedded=True), timeout).ready_line
    except OffcamError as error:
        sys.stderr.write(f"offcam: {error}\n")
        return 1 if isinstance(error, DaemonNotReady) else 2
    sys.stdout.write(f"{line}\n")
    return 0


def start_detached(settings: Settings, timeout: float = DEFAULT_TIMEOUT_SECONDS) -> DaemonInfo:
    """Return the daemon at the endpoint; if there is none, start one in a session of its own.

    A daemon that is leaving, or is being started by somebody else, is waited for. A new one holds the starters' lock
    until it listens, so that nobody starts another one meanwhile, however long that takes.

    Args:
        settings: settings of a new daemon; ``log_file`` defaults to the log beside the socket.
        timeout: seconds to wait until it listens.

    Raises:
        ConfigError: the runtime directory cannot be used.
        DaemonNotReady: it is still starting, or the one before it is still stopping.
        DaemonUnavailable: it did not start; the message has the reason.
    """
    deadline = time.monotonic() + timeout
    if info := _running(settings):
        return info
    paths = daemon_paths(settings.endpoint)
    prepare_directory(paths.directory)
    log = settings.log_file or paths.log
    with _launching(paths.launch_lock, log, deadline) as lock:
        while info := read_lock(settings.endpoint):
            if not info.stopping:
                return info
            _pause(
                deadline, f"the recorder daemon before it (pid {info.pid}) is still finalising its videos: wait for it."
            )
        return _spawn(settings, log, deadline, lock)


def _running(settings: Settings) -> DaemonInfo | None:
    info = read_lock(settings.endpoint)
    return None if info is None or info.stopping else info


@contextlib.contextmanager
def _launching(path: Path, log: Path, deadline: float) -> Iterator[FileLock]:
    """Hold the starters' lock. Its file has the pid of the daemon that is being started."""
    while (lock := FileLock.take(path, 0o600)) is None:
        _pause(deadline, _still_starting(_starting_pid(path), log))
    try:
        os.ftruncate(lock.fd, 0)
        yield lock
    finally:
        lock.release()


def _pause(deadline: float, reason: str) -> None:
    if time.monotonic() > deadline:
        raise DaemonNotReady(reason)
    time.sleep(_PAUSE_SECONDS)


def _starting_pid(path: Path) -> str:
    try:
        return path.read_text(errors="replace") or "unknown"
    except OSError:
        return "unknown"


def _still_starting(pid: object, log: Path) -> str:
    return (
        f"the recorder daemon (pid {pid}) is still starting, which a slow disk can make long: wait for it. If its log "
        f"{log} shows no progress for many minutes, end it with `kill {pid}`, so that another can be started."
    )


def _spawn(settings: Settings, log: Path, deadline: float, lock: FileLock) -> DaemonInfo:
    fd, flags = _open_log(settings, log)
    with os.fdopen(fd, "ab") as stderr:
        offset = os.fstat(fd).st_size
        process = subprocess.Popen(
            [sys.executable, "-m", "offcamd", "serve", *flags, "--launch-lock", str(lock.fd)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            cwd="/",  # so that it keeps no file system busy, and imports nothing from a training's folder
            env={**os.environ, **settings.secrets(), "PYTHONSAFEPATH": "1"},
            pass_fds=[lock.fd],
            start_new_session=True,
        )
    with contextlib.suppress(OSError):  # the disk is full, of which the daemon itself will tell
        os.pwrite(lock.fd, str(process.pid).encode(), 0)
    lock.hand_to(process.pid)
    with contextlib.suppress(OSError):  # the daemon stays in the cgroup where it was started
        move_out(process.pid, os.environ)
    assert process.stdout is not None  # noqa: S101 - asked for above
    with process.stdout as stdout:
        line = _first_line(stdout.fileno(), deadline)
    listens = line.startswith(READY)
    ended = not listens and _ended(process, _EXIT_SECONDS if time.monotonic() < deadline else 0.0)
    process.returncode = 0  # so that Popen does not warn of a process that nobody waits for
    if not listens and not ended:
        raise DaemonNotReady(_still_starting(process.pid, log))
    if info := _running(settings):  # the one just started, or a user's `offcam serve` that was faster
        return info
    if line.startswith(FAILED):
        raise DaemonUnavailable(line.removeprefix(FAILED).strip())
    raise DaemonUnavailable(_why(log, offset))


def _ended(process: subprocess.Popen[bytes], seconds: float) -> bool:
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
    return process.returncode is not None


def _open_log(settings: Settings, log: Path) -> tuple[int, list[str]]:
    """Open a daemon's log; returns its descriptor and the daemon's flags. Without a named log the default may fail."""
    flags = settings.as_flags()
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        if settings.log_file is None:
            flags += ["--log-file", str(log)]
    except OSError as error:
        if settings.log_file is not None:
            raise ConfigError(
                f"cannot write the log {log} ({error.strerror}): choose another with --log-file."
            ) from error
        return os.open(os.devnull, os.O_WRONLY), flags
    return fd, flags


def _first_line(fd: int, deadline: float) -> str:
    """The first line from a pipe, or what there is of it when the pipe or the time ends."""
    data = b""
    with selectors.DefaultSelector() as selector:
        selector.register(fd, selectors.EVENT_READ)
        while not data.endswith(b"\n"):
            if not selector.select(max(0.0, deadline - time.monotonic())):
                break
            if not (chunk := os.read(fd, 4096)):
                break
            data += chunk
    return data.decode(errors="replace")


def _why(log: Path, offset: int) -> str:
    lines = tail(log, offset)
    reason = next((line for line in reversed(lines) if line.startswith("offcam: ")), "")
    if reason:
        return reason.removeprefix("offcam: ")
    return f"the daemon ended as it started. Its log is {log}:\n" + "\n".join(lines)
