"""Moves a daemon into a systemd scope of its own, so that it outlives the session or service that started it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

_MANAGER = ("org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager")


def move_out(pid: int, environ: Mapping[str, str]) -> None:
    """Ask the user's systemd, if there is one, to move a process into a scope of its own. Does not wait.

    A cgroup that ends with all its processes, such as a service's, would end a daemon that others may be using. systemd
    only moves what it may: processes of a job step or a container stay where they are accounted.

    Args:
        pid: the process.
        environ: the process's environment, which says where the user's systemd listens.
    """
    runtime, busctl = environ.get("XDG_RUNTIME_DIR", ""), shutil.which("busctl", path=environ.get("PATH"))
    if busctl is None or not runtime or not Path(runtime, "systemd", "private").exists():
        return
    unit = f"offcam-{pid}.scope"
    properties = ["PIDs", "au", "1", str(pid), "Description", "s", "offcam recorder daemon"]
    properties += ["CollectMode", "s", "inactive-or-failed"]
    call = [*_MANAGER, "StartTransientUnit", "ssa(sv)a(sa(sv))", unit, "fail", "3", *properties, "0"]
    process = subprocess.Popen(
        [busctl, "--user", "call", *call],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    process.returncode = 0  # so that Popen does not warn of a process that nobody waits for
