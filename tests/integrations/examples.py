"""Examples that need packages which people train with, run as their readers run them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from waiting import HANG_SECONDS

FOLDER = Path(__file__).parents[2] / "client" / "examples"


def printed(name: str, daemon, folder: Path, **variables: str) -> str:
    """Run an example in a folder, by whose name its runs are then; returns what it prints."""
    done = subprocess.run(
        [sys.executable, str(FOLDER / name)],
        env={**daemon.environment, "OFFCAM": "require", **variables},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=HANG_SECONDS,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
