"""A daemon that is launched asks the user's systemd for a scope of its own, where there is one."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from waiting import wait_until

BUSCTL = """#!/bin/sh
printf '%s\\n' "$@" > {place}/called.new
mv {place}/called.new {place}/called
exit {code}
"""


@pytest.fixture
def called(tmp_path, runtime, monkeypatch):
    """Where a ``busctl`` on PATH writes what it is called with; it fails, as one does that may not move a process."""
    command = tmp_path / "busctl"
    command.write_text(BUSCTL.format(place=tmp_path, code=1))
    command.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    return tmp_path / "called"


def test_it_is_asked_for(called, offcam_command):
    private = Path(os.environ["XDG_RUNTIME_DIR"], "systemd", "private")
    private.parent.mkdir()
    private.touch()
    started = offcam_command("start", "--json")
    assert started.returncode == 0, "it listens whatever systemd says"
    pid = str(json.loads(started.stdout)["pid"])
    words = wait_until(lambda: called.exists() and called.read_text().split("\n"), "systemd is asked")
    assert "StartTransientUnit" in words
    assert f"offcam-{pid}.scope" in words
    assert words[words.index("PIDs") :][:4] == ["PIDs", "au", "1", pid]


def test_there_is_none_without_systemd(called, offcam_command):
    assert offcam_command("start").returncode == 0
    assert not called.exists()
