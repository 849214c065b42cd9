"""Finding the daemon, and starting the embedded one where there is none."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from offcam.connection import elsewhere, timeouts
from offcam_proto.errors import DaemonNotInstalled, DaemonNotReady, DaemonUnavailable

if TYPE_CHECKING:
    from offcam_proto.endpoints import Endpoint

PROBE_SECONDS = 0.25
"""How long it may take to find out whether somebody listens on another host, in seconds."""

_PAUSE_SECONDS = 0.02

_NOT_READY = 1
"""The exit code of ``offcam start`` where a daemon is still starting."""


def listening(endpoint: Endpoint) -> bool:
    """Whether a process listens on an endpoint. For ``ipc://`` only the kernel is asked, not the process."""
    if endpoint.path is None:
        with contextlib.suppress(OSError):
            socket.create_connection((str(endpoint.host).strip("[]"), endpoint.port or 0), PROBE_SECONDS).close()
            return True
        return False
    return _knock(endpoint.path) in (0, errno.EAGAIN)  # EAGAIN: its queue of connections is full


def gone(endpoint: Endpoint) -> bool:
    """Whether provably no process listens on an ``ipc://`` endpoint; one that is frozen still does."""
    return endpoint.path is not None and _knock(endpoint.path) in (errno.ENOENT, errno.ECONNREFUSED)


def _knock(path: str) -> int:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(path)


def start_embedded(endpoint: Endpoint, seconds: float) -> None:
    """Start this user's daemon, detached, and return when it listens. It leaves by itself after a long idle time.

    If several processes do so at the same time, one starts a launcher and the others wait for its daemon. After
    ``seconds`` this function gives up, but the daemon goes on starting. Where the daemon's libraries are not installed
    here, an ``offcam`` on PATH that has them is used.

    Raises:
        DaemonNotInstalled: the libraries of the ``server`` extra are missing, here and behind every ``offcam`` on PATH.
        DaemonNotReady: the daemon is still starting, or another installation has not said its version yet.
        DaemonUnavailable: the daemon did not start.
    """
    if not sys.executable:
        raise DaemonUnavailable(
            "there is no Python executable to start the recorder daemon with (an embedded interpreter?): "
            "start it yourself with `offcam serve`."
        )
    until = time.monotonic() + seconds
    with _turn(endpoint, until) as first:
        if not first:
            return
        environment = {**os.environ, "PYTHONSAFEPATH": "1"}
        try:
            _launch([sys.executable, "-m", "offcamd"], endpoint, environment, until)
        except DaemonNotInstalled as error:
            _start_elsewhere(endpoint, error, until)


def recent(endpoint: Endpoint) -> bool:
    """Whether a daemon of this host has listened for less than `timeouts.LOADING_SECONDS`: its socket is that new."""
    with contextlib.suppress(OSError):  # the file is gone
        if endpoint.path is not None:
            return time.time() - os.stat(endpoint.path).st_mtime < timeouts.LOADING_SECONDS
    return False


@contextlib.contextmanager
def _turn(endpoint: Endpoint, until: float) -> Iterator[bool]:
    """Be the one process of this host that runs a launcher; yields False where another one's daemon listens by now.

    The lock is a record lock of `fcntl`, which a forked child does not inherit. Where there are no locks, each process
    runs a launcher of its own, and the launchers agree on who starts the daemon.
    """
    with contextlib.ExitStack() as stack:
        fd = -1
        with contextlib.suppress(OSError):  # the directory is not there yet: the launcher makes it
            fd = os.open(f"{endpoint.path}.turn", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            stack.callback(os.close, fd)
        while fd >= 0 and not _locked(fd):
            if listening(endpoint):
                yield False
                return
            if time.monotonic() > until:
                raise DaemonNotReady(
                    "the recorder daemon is still being started by another process of yours: wait until "
                    "`offcam status` answers."
                )
            time.sleep(_PAUSE_SECONDS)
        yield not listening(endpoint)


def _locked(fd: int) -> bool:
    try:
        fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in (errno.EACCES, errno.EAGAIN)  # other errors: there are no locks, so go on without
    return True


def _start_elsewhere(endpoint: Endpoint, missing: DaemonNotInstalled, until: float) -> None:
    """Start the daemon of another installation that is on PATH, such as pipx's or another venv's."""
    reasons = [str(missing)]
    slow: DaemonNotReady | None = None
    for command in elsewhere.commands(os.environ.get("PATH", "")):
        try:
            problem = elsewhere.problem(command)
        except DaemonNotReady as error:  # another command on PATH may be quicker
            slow = error
            continue
        if problem:
            reasons.append(problem)
            continue
        with contextlib.suppress(DaemonNotInstalled):  # that installation has no daemon either
            return _launch([command], endpoint, elsewhere.environment(os.environ), until)
    if slow is not None:
        raise slow
    raise DaemonNotInstalled(" ".join(reasons)) from missing


def _launch(command: list[str], endpoint: Endpoint, environment: dict[str, str], until: float) -> None:
    seconds = max(0.1, until - time.monotonic())
    arguments = ["start", "--embedded", "--endpoint", endpoint.url, "--timeout", f"{seconds:g}"]
    try:
        done = subprocess.run(
            [*command, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            env=environment,
            start_new_session=True,  # Ctrl-C is for the training, and does not reach the daemon
        )
    except OSError as error:
        raise DaemonUnavailable(
            f"the recorder daemon could not be started ({error}): see why with `offcam serve`."
        ) from error
    if done.returncode == 0:
        return
    reason = done.stderr.strip().removeprefix("offcam: ") or f"exit code {done.returncode}"
    if done.returncode == _NOT_READY:
        raise DaemonNotReady(reason)
    if "offcam[server]" in reason:
        raise DaemonNotInstalled(reason)
    raise DaemonUnavailable(f"the recorder daemon did not start: {reason}")
