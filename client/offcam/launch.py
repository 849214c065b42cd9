"""Finding the daemon, and starting the embedded one where there is none."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

from offcam_proto.errors import DaemonNotInstalled, DaemonUnavailable

if TYPE_CHECKING:
    from offcam_proto.endpoints import Endpoint

START_TIMEOUT_SECONDS = 30.0
"""How long a wrapper's construction waits for the embedded daemon to listen."""


PROBE_SECONDS = 0.25
"""How long it may take to find out whether somebody listens on another host."""


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


def start_embedded() -> None:
    """Start this user's daemon, detached, and return when it listens. It leaves when it has long been idle.

    Two processes that start it at once get one daemon between them: the daemon's own launcher sees to that.

    Raises:
        DaemonNotInstalled: the libraries of the ``server`` extra are missing.
        DaemonUnavailable: it did not start.
    """
    if not sys.executable:
        raise DaemonUnavailable(
            "there is no Python executable to start the recorder daemon with (an embedded interpreter?): "
            "start it yourself with `offcam serve`.",
        )
    command = [sys.executable, "-m", "offcamd", "start", "--embedded"]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=START_TIMEOUT_SECONDS,
            check=False,
            env={**os.environ, "PYTHONSAFEPATH": "1"},
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise DaemonUnavailable(
            f"the recorder daemon did not start within {START_TIMEOUT_SECONDS:g} s ({error}): "
            "see why with `offcam serve`.",
        ) from error
    if done.returncode == 0:
        return
    reason = done.stderr.strip() or f"exit code {done.returncode}"
    if "offcam[server]" in reason:
        raise DaemonNotInstalled(reason)
    raise DaemonUnavailable(f"the recorder daemon did not start: {reason}")
