import os
import subprocess
import sys
import tempfile
import threading
import time
from importlib.metadata import version

import pytest

from offcam_proto.errors import EncodeError
from offcamd.config.settings import load
from offcamd.daemon.service import Service
from offcamd.encode import self_test
from offcamd.process.health import FAILED, PASSED, SKIPPED
from offcamd.video.mp4 import VideoWriter
from waiting import HANG_SECONDS


def failing(error, *, method="write"):
    def fail(*_arguments, **_options):
        raise error

    return type("Failing", (VideoWriter,), {method: fail})


@pytest.fixture
def alone(tmp_path, monkeypatch):
    """No folder but those that the test gives; the one returned can be written."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    monkeypatch.setattr(self_test, "_MEMORY", tmp_path / "gone")
    folder = tmp_path / "folder"
    folder.mkdir()
    return folder


def test_it_passes_here_and_leaves_nothing(alone):
    outcome = self_test.self_test(folders=[alone])
    assert (outcome.state, list(alone.iterdir())) == (PASSED, [])
    assert "PyAV" in outcome.text
    assert outcome.seconds > 0


@pytest.mark.parametrize("method", ["__init__", "write", "close", "copy_to"])
@pytest.mark.parametrize("error", [EncodeError("foreseen"), AssertionError("unforeseen"), SystemExit("unforeseen")])
def test_whatever_the_library_raises_is_a_failure_with_its_fix(alone, method, error):
    outcome = self_test.self_test(failing(error, method=method), [alone])
    assert outcome.state == FAILED
    for text in (
        "no video can be made here",
        "foreseen",
        "PyAV",
        "Statistics go on",
        f"{sys.executable} -m pip install",
    ):
        assert text in outcome.text
    assert "\n" not in outcome.text


def test_a_file_that_shows_something_else_is_a_failure(alone):
    class Dark(VideoWriter):
        def write(self, i420, pts):
            i420[:] = 128
            super().write(i420, pts)

    outcome = self_test.self_test(Dark, [alone])
    assert outcome.state == FAILED
    assert "pictures of levels 40, 90, 140, 190 were encoded, and the file shows" in outcome.text


def test_a_library_that_cannot_read_is_a_failure(alone, monkeypatch):
    def broken(_path):
        raise TypeError("unforeseen")

    monkeypatch.setattr(self_test, "iter_frames", broken)
    assert self_test.self_test(folders=[alone]).state == FAILED


def test_no_room_for_its_file_is_no_fault_of_the_encoder(alone, tmp_path):
    assert self_test.self_test(folders=[tmp_path / "none"]).state == SKIPPED
    assert self_test.self_test(failing(EncodeError("full", "disk_full")), [alone]).state == SKIPPED
    assert self_test.self_test(folders=[tmp_path / "none", alone]).state == PASSED, "the next folder has"


def test_a_full_file_system_is_no_fault_of_the_encoder(alone):
    code = (
        "import resource, signal, sys, tempfile, pathlib; from offcamd.encode import self_test\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (16, 16))\n"
        "tempfile.tempdir = sys.argv[1]\n"
        "self_test._MEMORY = pathlib.Path(sys.argv[1])\n"
        "print(self_test.self_test().state)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(alone)], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == SKIPPED, done.stderr


def test_the_command_names_what_the_distribution_asks_for():
    assert "--only-binary av 'av>=" in self_test.fix()
    assert self_test.fix().endswith(f",!={version('av')}'"), "and not the version that fails"


def test_what_killed_ones_left_is_removed_and_nothing_else(alone):
    names = ("offcam-self-test-old", "offcam-self-test-new", "another")
    for name in names:
        (alone / name).mkdir()
        (alone / name / self_test.FILE).touch()
    (alone / "offcam-self-test-link").symlink_to(alone / "another")
    long_ago = time.time() - self_test._LEFT_SECONDS - 60
    for name in ("offcam-self-test-old", "another"):
        os.utime(alone / name, (long_ago, long_ago))
    assert self_test.self_test(folders=[alone]).state == PASSED
    assert sorted(path.name for path in alone.iterdir()) == ["another", "offcam-self-test-link", "offcam-self-test-new"]


def test_a_daemon_that_leaves_lets_its_own_end(monkeypatch, tmp_path):
    begun, end = threading.Event(), threading.Event()

    def patient(*_given):
        begun.set()
        end.wait()
        return self_test.Outcome(PASSED, "", 0.0)

    monkeypatch.setattr(self_test, "self_test", patient)
    service = Service(load({"endpoint": f"ipc://{tmp_path}/private/d.sock", "tcp": "off", "http": "off"}, environ={}))
    service.start()
    service.test_itself()
    begun.wait()
    service.stop("test")
    leaving = threading.Thread(target=service.wait)
    leaving.start()
    service.finished.wait()
    leaving.join(0.2)
    assert leaving.is_alive()
    end.set()
    leaving.join(HANG_SECONDS)
    assert not leaving.is_alive()
