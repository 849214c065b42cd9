"""Files that a user named: what becomes of links, pipes, devices, and of what is there already."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

import runs
from commandline import COMMAND, WAIT_SECONDS, one_line, only_json, run
from offcam_runs.format import INDEX_NAME

EXPORT = ("export", "run", "--to", "csv")


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A working directory with a run in it."""
    runs.write(tmp_path / "run", [1.0, 2.0, 3.0])
    monkeypatch.chdir(tmp_path)
    return tmp_path


def reader_of(pipe):
    """A process that reads a pipe by its name."""
    code = "import sys; sys.stdout.buffer.write(open(sys.argv[1], 'rb').read())"
    return subprocess.Popen([sys.executable, "-c", code, str(pipe)], stdout=subprocess.PIPE)


@pytest.mark.parametrize("name", ["-", "/dev/stdout", "/proc/self/fd/1"])
def test_export_to_stdout(here, name):
    before = os.lstat("/dev/stdout")
    done = run(*EXPORT, "-o", name, "--force")
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 4
    assert done.stderr == "stdout: 3 episodes\n"
    assert os.lstat("/dev/stdout").st_ino == before.st_ino


def test_what_stdout_leads_to_is_appended_to_and_not_replaced(here):
    (here / "log").write_text("before\n")
    with (here / "log").open("a") as log:
        assert run(*EXPORT, "-o", "/dev/stdout", stdout=log).returncode == 0
    assert (here / "log").read_text().splitlines()[0] == "before"
    assert len((here / "log").read_text().splitlines()) == 5


def test_json_has_stdout_for_itself(here):
    done = run(*EXPORT, "-o", "-", "--json")
    assert done.returncode == 2
    assert "give one of them" in only_json(done.stdout)["error"]


@pytest.mark.usefixtures("here")
def test_export_into_a_pipe_that_has_a_name():
    os.mkfifo("pipe")
    with reader_of("pipe") as reader:
        assert run(*EXPORT, "-o", "pipe").stdout == "pipe: 3 episodes\n"
        assert len(reader.communicate(timeout=WAIT_SECONDS)[0].splitlines()) == 4
    assert stat.S_ISFIFO(os.lstat("pipe").st_mode)


def test_a_link_stays_and_where_it_leads_is_replaced(here):
    (here / "data").mkdir()
    (here / "link.csv").symlink_to("data/real.csv")  # which is not there yet
    assert run(*EXPORT, "-o", "link.csv").returncode == 0
    assert "--force" in one_line(run(*EXPORT, "-o", "link.csv"))
    (here / "data" / "real.csv").write_text("old")
    (here / "data" / "real.csv").chmod(0o640)
    assert run(*EXPORT, "-o", "link.csv", "--force").returncode == 0
    assert (here / "link.csv").readlink() == Path("data/real.csv")
    assert len((here / "data" / "real.csv").read_text().splitlines()) == 4
    assert (here / "data" / "real.csv").stat().st_mode & 0o777 == 0o640
    assert [path.name for path in (here / "data").iterdir()] == ["real.csv"]


def test_a_link_to_a_part_of_a_run_or_to_itself_is_refused(here):
    (here / "index.csv").symlink_to(here / "run" / INDEX_NAME)
    (here / "self.csv").symlink_to("self.csv")
    before = (here / "run" / INDEX_NAME).read_bytes()
    assert "a part of a run" in one_line(run(*EXPORT, "-o", "index.csv", "--force"))
    assert (here / "run" / INDEX_NAME).read_bytes() == before
    assert "cannot be written" in one_line(run(*EXPORT, "-o", "self.csv", "--force"))


def test_a_page_is_many_files_and_goes_where_a_link_leads(here):
    page = ("export", "run", "--to", "html", "-o")
    os.mkfifo("pipe")
    for place in ("-", "/dev/stdout", "/dev/null", "pipe"):
        assert "is no folder" in one_line(run(*page, place, "--force"))
    assert sorted(path.name for path in here.iterdir()) == ["pipe", "run"]
    (here / "link").symlink_to("site")  # which is not there yet
    assert run(*page, "link").returncode == 0
    assert run(*page, "link", "--force").returncode == 0
    assert (here / "link").readlink() == Path("site")
    assert sorted(path.name for path in here.iterdir()) == ["link", "pipe", "run", "site"]
    assert (here / "site" / "index.html").is_file()


@pytest.mark.usefixtures("here")
def test_devices_are_written_into():
    before = [os.lstat(path) for path in ("/dev/null", "/dev/full")]
    assert run(*EXPORT, "-o", "/dev/null").returncode == 0
    assert run("plot", "run", "-o", "/dev/null").returncode == 0
    assert "No space left" in one_line(run(*EXPORT, "-o", "/dev/full", "--force"))
    assert [os.lstat(path).st_ino for path in ("/dev/null", "/dev/full")] == [each.st_ino for each in before]


@pytest.mark.usefixtures("here")
def test_a_figure_to_stdout_is_a_png():
    done = subprocess.run([*COMMAND, "plot", "run", "-o", "-"], capture_output=True, check=False, timeout=WAIT_SECONDS)
    assert (done.returncode, done.stdout[:4]) == (0, b"\x89PNG"), done.stderr


def test_a_log_that_is_a_link_is_set_aside_where_it_leads(tmp_path):
    code = (
        "import sys; from pathlib import Path; from offcamd.process.logs import BoundedLog\n"
        "log = BoundedLog(Path(sys.argv[1]), limit=10)\nfor _ in range(3): log.write('twelve bytes')\n"
    )
    (tmp_path / "link").symlink_to("real")
    os.mkfifo(tmp_path / "pipe")
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "link")], check=True, timeout=WAIT_SECONDS)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "pipe", "real", "real.1"]
    assert (tmp_path / "link").is_symlink()
    with reader_of(tmp_path / "pipe") as reader:
        subprocess.run([sys.executable, "-c", code, str(tmp_path / "pipe")], check=True, timeout=WAIT_SECONDS)
        assert reader.communicate(timeout=WAIT_SECONDS)[0] == b"twelve bytes" * 3
    assert stat.S_ISFIFO((tmp_path / "pipe").lstat().st_mode)
