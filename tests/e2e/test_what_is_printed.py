"""What the command line prints: tables, colours, help and versions."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest

import runs
from commandline import COMMAND, WAIT_SECONDS, one_line, run
from offcamd.cli.text import TextColumn, numbers, table
from terminal import Terminal


@pytest.fixture
def folder(tmp_path):
    return runs.write(tmp_path / "run", [1.0, 2.0, 3.0])


def test_a_folder_is_shortened_before_a_number_and_off_a_terminal_nothing_is():
    path = "/home/somebody/experiments/" + "x" * 60 + "/cartpole/seed-17"
    row = (path, "1,234,567", "123.4 ± 56.78", "234.5", "345.6", "123,456")
    columns = [TextColumn("folder", "name"), *numbers("episodes", "return", "last 100", "length", "steps/s")]
    head, line = table(columns, [row], 80)
    assert max(len(head), len(line)) <= 80
    assert "cartpole/seed-17" in line
    assert line.startswith("…")
    assert all(cell in line for cell in row[1:])
    assert path in table(columns, [row], None)[1]
    assert all(cell in table(columns, [row], 20)[1] for cell in row[1:])
    assert len(table(columns, [("短" * 50, *row[1:])], 80)[1]) < 80  # two places each


def test_tables_off_a_terminal_are_not_cut(tmp_path):
    name = "n" * 200
    path = runs.write(tmp_path / name, [float(number) for number in range(3)])
    assert str(path) in run("show", path).stdout
    assert "…" not in run("ls", path, env={**os.environ, "COLUMNS": "20"}).stdout


@pytest.mark.parametrize("words", [("doctor",), ("ls", "run"), ("--help",), ("nonsense",)], ids=" ".join)
@pytest.mark.usefixtures("runtime")
def test_no_color(words, folder, monkeypatch):
    monkeypatch.chdir(folder.parent)
    monkeypatch.setenv("NO_COLOR", "1")
    with Terminal([*COMMAND, *words]) as terminal:
        terminal.left()
        assert terminal.raw.strip()
        assert "\x1b[3" not in terminal.raw
        assert "\x1b[9" not in terminal.raw


def test_help_says_what_kind_of_value_is_meant():
    shown = run("serve", "--help", env={**os.environ, "COLUMNS": "200", "TERM": "dumb"}).stdout
    for option, kind in (
        ("--encoders", "<int>"),
        ("--crf", "<int>"),
        ("--log-file", "<path>"),
        ("--http", "<host:port>"),
    ):
        assert any(option in line and kind in line for line in shown.splitlines()), option
    assert "<int>" in run("view", "--help").stdout


def test_view_says_how_to_choose_its_address(folder):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        text = one_line(run("view", folder, "--port", str(taken.getsockname()[1]), "--no-browser"))
    assert "--port" in text
    assert "--http" not in text
    assert "--port" in one_line(run("view", folder, "--http", "0.0.0.0:80"))


def test_version():
    done = subprocess.run(
        [sys.executable, "-m", "offcam", "-V"], capture_output=True, text=True, check=False, timeout=WAIT_SECONDS
    )
    assert done.stdout == run("-V").stdout == run("--version").stdout
