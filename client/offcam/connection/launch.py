"""Finding the daemon, and starting the embedded one where there is none."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

from offcam.connection import elsewhere, timeouts
from offcam_proto.errors import DaemonNotInstalled, DaemonNotReady, DaemonUnavailable

if TYPE_CHECKING:
    from offcam_proto.endpoints import Endpoint

PROBE_SECONDS = 0.25
"""How long it may take to find out whether somebody listens on another host."""

_NOT_READY = 1
"""The exit code of ``offcam start`` where a daemon is still starting."""


def listening(endpoint: Endpoint) -> bool:
    """Whether somebody listens on an endpoint; on this host's ``ipc://`` asked of the kernel alone."""
    if endpoint.path is None:
        with contextlib.suppress(OSError):
            socket.create_connection((str(endpoint.host).strip("[]"), endpoint.port or 0), PROBE_SECONDS).close()
            return True
        return False
    return _knock(endpoint.path) in (0, errno.EAGAIN)  # the latter: so many wait already that it takes no more


def gone(endpoint: Endpoint) -> bool:
    """Whether provably no process listens on an ``ipc://`` endpoint; one that is frozen still does."""
    return endpoint.path is not None and _knock(endpoint.path) in (errno.ENOENT, errno.ECONNREFUSED)


def _knock(path: str) -> int:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(path)


def start_embedded(endpoint: Endpoint) -> None:
    """Start this user's daemon, detached, and return when it listens. It leaves when it has long been idle.

    Processes that start it at once get one daemon between them: the daemon's own launcher sees to that, and ends no
    daemon that takes long. Where the daemon's libraries are not installed here, a full ``offcam`` on PATH is used.

    Raises:
        DaemonNotInstalled: the libraries of the ``server`` extra are missing, also behind any ``offcam`` on PATH.
        DaemonNotReady: it is still starting.
        DaemonUnavailable: it did not start.
    """
    if not sys.executable:
        raise DaemonUnavailable(
            "there is no Python executable to start the recorder daemon with (an embedded interpreter?): "
            "start it yourself with `offcam serve`."
        )
    try:
        _launch([sys.executable, "-m", "offcamd"], endpoint, {**os.environ, "PYTHONSAFEPATH": "1"})
    except DaemonNotInstalled as error:
        _start_elsewhere(endpoint, error)


def _start_elsewhere(endpoint: Endpoint, missing: DaemonNotInstalled) -> None:
    """Start the daemon of another installation, as pipx or another venv put it on PATH."""
    reasons = [str(missing)]
    for command in elsewhere.commands(os.environ.get("PATH", "")):
        if problem := elsewhere.problem(command):
            reasons.append(problem)
            continue
        with contextlib.suppress(DaemonNotInstalled):  # it is as thin as this one
            return _launch([command], endpoint, elsewhere.environment(os.environ))
    raise DaemonNotInstalled(" ".join(reasons)) from missing


def _launch(command: list[str], endpoint: Endpoint, environment: dict[str, str]) -> None:
    arguments = ["start", "--embedded", "--endpoint", endpoint.url, "--timeout", f"{timeouts.LAUNCH_SECONDS:g}"]
    try:
        done = subprocess.run(
            [*command, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            env=environment,
            start_new_session=True,  # a Ctrl-C is for the training
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
