"""A place of its own for each test's daemon, and the real command line run in it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from offcam_proto.endpoints import endpoint_from
from offcamd.lock import read_lock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from offcam_proto.endpoints import Endpoint

WAIT_SECONDS = 30
COMMAND = [sys.executable, "-m", "offcamd"]


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A short directory (Unix socket paths are short) that is this test's whole environment."""
    with tempfile.TemporaryDirectory(prefix="oc", dir="/tmp") as name:
        base = Path(name)
        for variable in [variable for variable in os.environ if variable.startswith("OFFCAM")]:
            monkeypatch.delenv(variable)
        for variable, folder in {
            "XDG_RUNTIME_DIR": "r",
            "XDG_CONFIG_HOME": "config",
            "XDG_CACHE_HOME": "cache",
            "HOME": "home",
        }.items():
            (base / folder).mkdir(mode=0o700)
            monkeypatch.setenv(variable, str(base / folder))
        (base / "cwd").mkdir()
        monkeypatch.chdir(base / "cwd")
        monkeypatch.setenv("OFFCAM_HTTP", "127.0.0.1:0")
        yield base


@pytest.fixture
def endpoint(runtime: Path) -> Endpoint:
    """Where this test's daemon listens."""
    return endpoint_from(os.environ, os.getuid())[0]


@pytest.fixture
def offcam(runtime: Path, endpoint: Endpoint) -> Iterator[Callable[..., subprocess.CompletedProcess[str]]]:
    """Run the command line to its end. A daemon that it left in the background is stopped after the test."""

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*COMMAND, *arguments],
            capture_output=True,
            text=True,
            timeout=WAIT_SECONDS,
            check=False,
            env={**os.environ, **environment},
        )

    yield run
    if read_lock(endpoint):
        run("stop")


@pytest.fixture
def serve(runtime: Path) -> Iterator[Callable[..., tuple[subprocess.Popen[str], str]]]:
    """Start `offcam serve` and return it with its ready line; ended after the test."""
    with contextlib.ExitStack() as stack:

        def run(*arguments: str) -> tuple[subprocess.Popen[str], str]:
            process = stack.enter_context(
                subprocess.Popen(
                    [*COMMAND, "serve", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
                )
            )
            stack.callback(_end, process)
            assert process.stdout is not None
            return process, process.stdout.readline().strip()

        yield run


def _end(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.communicate(timeout=WAIT_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
