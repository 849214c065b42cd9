"""A user of one's own for the smoke set, which stands alone: pytest and pytest-timeout are all it needs."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

OFFCAM = str(Path(sys.executable).with_name("offcam"))
HERE = Path(__file__).parent
WAIT_SECONDS = 100


@dataclass(frozen=True)
class Place:
    """Directories and variables that no other daemon knows.

    Attributes:
        root: for files.
        environment: for what is started.
    """

    root: Path
    environment: dict[str, str]

    def run(self, *command: str, codes: tuple[int, ...] = (0,), **variables: str) -> str:
        """Run a command to its end, require one of some exit codes, and return what it printed."""
        done = subprocess.run(
            command,
            cwd=self.root,
            env={**self.environment, **variables},
            capture_output=True,
            text=True,
            timeout=WAIT_SECONDS,
            check=False,
        )
        assert done.returncode in codes, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def agent(self, which: str, folder: str) -> Path:
        """Let one of `agents` record into a folder, and return that."""
        self.run(sys.executable, str(HERE / "agents.py"), which, str(self.root / folder))
        return self.root / folder


@contextlib.contextmanager
def place() -> Iterator[Place]:
    """A new one; its daemon, where it has got one, is stopped."""
    with tempfile.TemporaryDirectory(
        prefix="oc", dir="/tmp", ignore_cleanup_errors=True
    ) as name:  # sockets' paths are short
        root = Path(name)
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("OFFCAM", "XDG_"))}
        for variable, folder in (("XDG_RUNTIME_DIR", "r"), ("HOME", "home")):
            (root / folder).mkdir(mode=0o700)
            environment[variable] = str(root / folder)
        environment["OFFCAM_HTTP"] = "127.0.0.1:0"
        environment["OFFCAM"] = "require"  # or the first frames are lost where a daemon starts slowly
        try:
            yield Place(root, environment)
        finally:
            if any(root.glob("r/**/*.sock")):
                subprocess.run([OFFCAM, "stop"], env=environment, timeout=WAIT_SECONDS, check=False)


def until(true: Callable[[], object], what: str) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not true():
        assert time.monotonic() < deadline, f"in {WAIT_SECONDS} s there was no {what}"
        time.sleep(0.05)
