"""Strange hosts, made of namespaces: mounts, users and processes of a test's own, which end with it. Needs root."""

from __future__ import annotations

import functools
import json
import os
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from offcam_proto.limits import PROTOCOL_VERSION
from waiting import HANG_SECONDS

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
UID = 12345
"""A user without an entry in passwd."""

OUT = "/mnt/out"
"""Where a host has the folder for what it records."""

SOCKET = f"daemon-v{PROTOCOL_VERSION}.sock"
PUBLIC = ("/tmp", "/var/tmp", "/dev/shm")
HIDDEN = (*PUBLIC, "/run")  # what other processes of this machine use, too
NAMESPACES = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
_LOGS = ("find /tmp /run /dev/shm /var/tmp -name '*.log' -exec cat {} + > /mnt/out/daemon.log || true",)


@dataclass
class Host:
    """A host.

    Attributes:
        out: the folder that it has as `OUT`.
        uid: who runs there.
        environment: all variables that there are.
        made: shell commands that furnish it, run by root.
    """

    out: Path
    uid: int = UID
    environment: dict[str, str] = field(default_factory=dict)
    made: list[str] = field(default_factory=list)

    def run(self, *command: str, removed: str = "") -> subprocess.CompletedProcess[str]:
        """Run a Python command there, in `OUT` or in a folder that is removed before it starts."""
        self.out.mkdir(exist_ok=True)
        os.chown(self.out, self.uid, self.uid)
        given = {"OFFCAM_HTTP": "off", "PYTHONPATH": str(HERE.parent), "PATH": os.defpath, **self.environment}
        words = [f"{name}={value}" for name, value in given.items()]
        user = ["setpriv", f"--reuid={self.uid}", f"--regid={self.uid}", "--clear-groups"] if self.uid else []
        inside = shlex.join([*user, "env", "-i", *words, sys.executable, *command])
        script = [*_mounts(self.out), *self.made]
        script += [f"mkdir {removed}", f"cd {removed}", f"rmdir {removed}"] if removed else [f"cd {OUT}"]
        return subprocess.run(
            [*NAMESPACES, "sh", "-ec", "\n".join([*script, f"{inside} || code=$?", *_LOGS, "exit $code"])],
            capture_output=True,
            text=True,
            timeout=HANG_SECONDS,
            check=False,
        )

    def train(self, **options: str) -> dict[str, Any]:
        """Record there; what `training` says, with its whole output where it says nothing."""
        done = self.run(str(HERE / "training.py"), f"{OUT}/run", **options)
        assert done.returncode == 0, done.stdout + done.stderr + self.log()
        said: dict[str, Any] = json.loads(done.stdout)
        assert said["uid"] == self.uid
        return said

    def records(self, where: str, *reasons: str, **options: str) -> dict[str, Any]:
        """Record there, with a daemon whose socket is in ``where``, and one warning with reasons, or without any."""
        said = self.train(**options)
        assert (said["episodes"], said["videos"]) == (3, ["final"] * 3), (said, self.log())
        assert said["address"].startswith(f"ipc://{where}") and said["address"].endswith(SOCKET), said  # noqa: PT018
        assert len(said["warnings"]) == bool(reasons), said
        assert all(reason in said["warnings"][0] for reason in reasons), said
        return said

    def log(self) -> str:
        """What the host left in its folder as a log, if anything."""
        return "".join(path.read_text() for path in sorted(self.out.glob("*.log")))


def _mounts(out: Path) -> list[str]:
    """Commands after which the common directories are empty, and everybody reaches what is needed, wherever it lies."""
    needed = [Path(sys.prefix), Path(sys.base_prefix), ROOT]
    needed = [path for path in dict.fromkeys(needed) if not any(path.is_relative_to(o) for o in needed if o != path)]
    commands = ["mount --make-rprivate /", "mount -t tmpfs -o mode=755 none /mnt", "mkdir /mnt/out"]
    commands.append(f"mount --bind {shlex.quote(str(out))} {OUT}")
    covered = dict.fromkeys(HIDDEN, ())
    for number, path in enumerate(needed):
        above = next((str(a) for a in reversed(path.parents) if str(a) in HIDDEN or not a.stat().st_mode & 0o001), "")
        if above:
            covered[above] = (*covered.get(above, ()), (shlex.quote(str(path)), f"/mnt/{number}"))
            commands += [f"mkdir /mnt/{number}", f"mount --bind {shlex.quote(str(path))} /mnt/{number}"]
    for above, paths in covered.items():
        mode = 1777 if above in PUBLIC else 755
        commands.append(f"mount -t tmpfs -o mode={mode} none {shlex.quote(above)}")
        for path, kept in paths:
            commands += [f"mkdir -p {path}", f"mount --bind {kept} {path}"]
    return commands


@functools.cache
def problem() -> str:
    """Why no host can be made here; empty where one can."""
    if os.geteuid() != 0:
        return "only root may make mounts and be other users"
    if missing := [tool for tool in ("unshare", "setpriv", "mount") if shutil.which(tool) is None]:
        return f"{missing[0]} is not installed"
    if subprocess.run([*NAMESPACES, "true"], check=False, capture_output=True).returncode:
        return "namespaces cannot be made here"
    return ""
