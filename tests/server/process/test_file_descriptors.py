"""The limit of file descriptors: raised as far as it may be, and reported where that is not enough."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from offcamd.process import file_descriptors

if TYPE_CHECKING:
    from pathlib import Path


def serve(soft: int, hard: int, runtime: Path) -> tuple[tuple[int, int], str]:
    """Start a daemon under limits of its own; returns those that it then has, and what it logged."""
    log = runtime / "log"
    with (
        log.open("w") as stderr,
        subprocess.Popen(
            [sys.executable, "-m", "offcamd", "serve"],
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            env={**os.environ, "OFFCAM_HTTP": "off"},
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard)),  # noqa: PLW1509 - takes no lock
        ) as daemon,
    ):
        assert daemon.stdout is not None
        assert daemon.stdout.readline().startswith("offcam ready"), log.read_text()
        limits = resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE)
        daemon.terminate()
        assert daemon.wait() == 0
    return limits, log.read_text()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells of another process's limits")
def test_a_low_soft_limit_is_raised_without_a_word(runtime):
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < file_descriptors.ENOUGH:
        pytest.skip(f"this process itself may have no more than {hard}")
    limits, log = serve(256, file_descriptors.ENOUGH, runtime)
    assert limits == (file_descriptors.ENOUGH, file_descriptors.ENOUGH)
    assert "few file descriptors" not in log


@pytest.mark.skipif(sys.platform != "linux", reason="as above")
def test_a_low_hard_limit_is_reported_with_its_fix(runtime):
    limits, log = serve(128, 512, runtime)
    assert limits == (512, 512)
    (told,) = [json.loads(line) for line in log.splitlines() if "few file descriptors" in line]
    assert told["level"] == "warning"
    assert "at most 512" in told["problem"]
    assert told["fix"] == file_descriptors.FIX


def test_where_no_limit_is_said_but_not_meant(monkeypatch):
    """macOS: the hard limit reads as none, and is refused as the soft one."""
    asked = []

    def setrlimit(_: int, limits: tuple[int, int]) -> None:
        asked.append(limits[0])
        if limits[0] == resource.RLIM_INFINITY:
            raise ValueError("current limit exceeds maximum limit")

    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, resource.RLIM_INFINITY))
    monkeypatch.setattr(resource, "setrlimit", setrlimit)
    assert file_descriptors.raise_limit() == file_descriptors.ENOUGH
    assert asked == [resource.RLIM_INFINITY, file_descriptors.ENOUGH]
    assert file_descriptors.shortage(file_descriptors.attainable()) == ""
