"""A scope of systemd's for a daemon, so that it outlives the session, the service or the terminal that started it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

_MANAGER = ("org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager")


def move_out(pid: int, environ: Mapping[str, str]) -> None:
    """Ask the user's systemd, where there is one, to put a process into a scope of its own. Waits for nothing.

    A cgroup that ends with all its processes, as a service's does, takes a daemon in it along, which others may be
    using. systemd moves only what it may: a job step's or a container's processes stay where they are counted.

    Args:
        pid: the process.
        environ: its environment, which says where the user's systemd is.
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
    process.returncode = 0  # nobody waits for it, and Popen need not warn
