"""What a shell is offered where somebody presses Tab, and how it learns to ask."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

from commandline import WAIT_SECONDS, run


def completed(line, **environment):
    """What a shell is offered at the end of a command line."""
    words = {"COMP_WORDS": line, "COMP_CWORD": str(line.count(" "))}
    done = run(env={**os.environ, **environment, "_OFFCAM_COMPLETE": "complete_bash", **words})
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("offcam ver", ["verify"]),
        ("offcam keys rev", ["revoke"]),
        ("offcam plot --st", ["--statistic"]),
        ("offcam export --to ", ["csv", "jsonl", "parquet", "monitor", "html", "lerobot"]),
        ("offcam files systemd sys", ["systemd", "systemd-boot"]),
        ("offcam verify ru", []),  # the shell's own: folders
    ],
)
def test_completion(line, offered):
    assert completed(line) == offered


def test_completion_is_installed_for_the_shell_that_asks(tmp_path, monkeypatch):
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("there is no bash")
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "offcam").write_text(f'#!/bin/sh\nexec {sys.executable} -m offcamd "$@"\n')
    (tmp_path / "offcam").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)

    def shell(*words):
        return subprocess.run(
            [bash, "--norc", *words], capture_output=True, text=True, check=False, timeout=WAIT_SECONDS
        )

    done = shell("-c", "offcam --install-completion; exit $?")  # `exit`: or it would be replaced by offcam
    assert (done.returncode, done.stderr) == (0, "")
    assert "installed" in done.stdout
    assert "_offcam_completion" in shell("-c", "offcam --show-completion; exit $?").stdout
    asked = "COMP_WORDS=(offcam ver); COMP_CWORD=1; _offcam_completion offcam; echo ${COMPREPLY[*]}"
    assert shell("-c", f"source ~/.bashrc; complete -p offcam; {asked}").stdout.splitlines()[1:] == ["verify"]
