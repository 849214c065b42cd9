"""Starting a daemon in the background, once, however many ask for it at the same time."""

from __future__ import annotations

import contextlib
import os
import selectors
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from offcam_proto.errors import ConfigError, DaemonUnavailable
from offcamd.filelock import FileLock
from offcamd.lock import daemon_paths, prepare_directory, read_lock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from offcamd.config import Settings
    from offcamd.lock import DaemonInfo

DEFAULT_TIMEOUT_SECONDS = 25.0
_PAUSE_SECONDS = 0.01
_END_SECONDS = 5.0
READY = "offcam ready "
"""How the line begins that a daemon prints on stdout when it listens."""


def start_detached(settings: Settings, timeout: float = DEFAULT_TIMEOUT_SECONDS) -> DaemonInfo:
    """Return the daemon at the endpoint; start one, in a session of its own, where there is none.

    A daemon that is just leaving is waited for.

    Args:
        settings: what a new daemon is told; ``log_file`` defaults to the log beside the socket.
        timeout: seconds to wait until it listens.

    Raises:
        ConfigError: the runtime directory cannot be used.
        DaemonUnavailable: it did not start; the message has the reason.
    """
    deadline = time.monotonic() + timeout
    if info := _running(settings):
        return info
    paths = daemon_paths(settings.endpoint)
    prepare_directory(paths.directory)
    with _launching(paths.launch_lock, deadline):
        while info := read_lock(settings.endpoint):
            if not info.stopping:
                return info
            _pause(deadline, f"the daemon before it (pid {info.pid}) is still finalising its videos")
        return _spawn(settings, settings.log_file or paths.log, deadline)


def _running(settings: Settings) -> DaemonInfo | None:
    info = read_lock(settings.endpoint)
    return None if info is None or info.stopping else info


@contextlib.contextmanager
def _launching(path: Path, deadline: float) -> Iterator[None]:
    """Hold the lock of those who start daemons."""
    while (lock := FileLock.take(path, 0o600)) is None:
        _pause(deadline, "another process is still starting one")
    try:
        yield
    finally:
        lock.release()


def _pause(deadline: float, reason: str) -> None:
    if time.monotonic() > deadline:
        raise DaemonUnavailable(f"no daemon could be started in time: {reason}. Try again in a while.")
    time.sleep(_PAUSE_SECONDS)


def _spawn(settings: Settings, log: Path, deadline: float) -> DaemonInfo:
    fd, flags = _open_log(settings, log)
    with os.fdopen(fd, "ab") as stderr:
        offset = os.fstat(fd).st_size
        process = subprocess.Popen(
            [sys.executable, "-m", "offcamd", "serve", *flags],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            cwd="/",  # keep no file system busy, and import nothing from a training's folder
            env={**os.environ, **settings.secrets(), "PYTHONSAFEPATH": "1"},
            start_new_session=True,
        )
    assert process.stdout is not None  # noqa: S101 - asked for above
    with process.stdout as stdout:
        line = _first_line(stdout.fileno(), deadline)
    info = read_lock(settings.endpoint) if line.startswith(READY) else None
    if info is not None and info.pid == process.pid:
        process.returncode = 0  # it lives on its own: nobody waits for it, and Popen need not warn
        return info
    late = _end(process)
    if info := _running(settings):
        return info  # somebody's `offcam serve` was faster
    raise DaemonUnavailable(_why(log, offset, late=late))


def _open_log(settings: Settings, log: Path) -> tuple[int, list[str]]:
    """Open the log for a daemon; returns its descriptor and the daemon's flags. A log that nobody named may not be."""
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
    """The first line of a pipe; what there is where the pipe or the time ends first."""
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


def _end(process: subprocess.Popen[bytes]) -> bool:
    """End a process that did not come up. Returns whether it had to be told to."""
    try:
        process.wait(0.5)
    except subprocess.TimeoutExpired:
        process.terminate()
    else:
        return False
    try:
        process.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    return True


def _why(log: Path, offset: int, *, late: bool) -> str:
    from offcamd.logs import tail  # noqa: PLC0415 - loads structlog, needed only where something failed

    lines = tail(log, offset)
    if late:
        return f"the daemon was not ready in time and was ended. Its log is {log}:\n" + "\n".join(lines)
    reason = next((line for line in reversed(lines) if line.startswith("offcam: ")), "")
    if reason:
        return reason.removeprefix("offcam: ")
    return f"the daemon ended as it started. Its log is {log}:\n" + "\n".join(lines)
