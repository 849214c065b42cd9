"""A daemon that cannot work says so: to its clients, in its statistics and log, over HTTP, and by its exit code."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

import pytest
from actors import WAIT_SECONDS

import films
import offcam
import offcam.connection.timeouts
from commandline import COMMAND
from envs import Barcode, play
from fetching import fetch
from offcam_runs.run import read_run
from offcamd.cli import checks
from offcamd.reports.verify import verify
from offcamd.store.recovery import recover_folder
from waiting import freeze, wait_until

BROKEN_DAEMON = Path(__file__).parents[1] / "peers" / "broken_daemon.py"
FIRST = "rl-video-episode-0"
LENGTH = 10


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "run"


@pytest.fixture
def breaks(daemons, tmp_path, monkeypatch):
    """Start a daemon that breaks somewhere, and return what makes it break."""
    moment = tmp_path / "now"
    monkeypatch.setenv("BREAK_AT", str(moment))

    def start(way: str, *flags: str):
        daemons.start(BROKEN_DAEMON, way, "--http", "127.0.0.1:0", *flags)
        return moment.touch

    return start


def health(daemons) -> tuple[int, str]:
    reply = fetch(f"{daemons.stats()['http']}/healthz")
    return reply.status_code, reply.text


def not_whole(caught) -> list[str]:
    return [str(each.message) for each in caught if "is not whole" in str(each.message)]


def balanced(folder: Path) -> bool:
    return all(clip.offered == clip.frames + sum(clip.dropped.values()) for clip in read_run(folder, "all").clips)


# --- a clip ---------------------------------------------------------------------------------------------------


def test_what_nobody_expected_ends_one_video_and_says_so(daemons, breaks, folder, recwarn):
    """Opening, writing (twice), finishing, copying, and the books: each breaks for another video, on one worker."""
    breaks("clips", "--encoders", "1")
    env = offcam.record(Barcode(LENGTH), str(folder), every=1, overflow="block")
    play(env, 1)
    env.flush()
    play(env, 6)
    env.close()
    (said,) = not_whole(recwarn)
    assert FIRST in said
    assert "unforeseen" in said
    clips = {clip.episode: clip for clip in read_run(folder, "all").clips}
    frames = {0: 0, 1: 3, 2: 3, 3: LENGTH, 4: LENGTH + 1, 5: 0, 6: LENGTH + 1}
    assert {episode: clip.frames for episode, clip in clips.items()} == frames
    for episode in (0, 1, 2, 3, 5):
        assert clips[episode].state == "aborted"
        assert "unforeseen" in clips[episode].error
    for episode in (4, 6):  # the copy that is only smaller is no loss
        assert (clips[episode].state, clips[episode].error) == ("final", None)
    assert balanced(folder)
    assert len(films.episodes(folder)) == 7
    stats = daemons.stats()
    assert sum("unforeseen" in error for error in stats["recent_errors"]) >= 6
    assert stats["unexpected_errors"]["encoder"] >= 6
    assert (stats["problems"], health(daemons)) == ({}, (200, "ok"))
    assert daemons.log.read_text().count("Traceback") >= 6
    daemons.stop()
    left = f"{FIRST[:-1]}5.mp4.part"  # of the one whose books were lost as it was finished
    assert [(problem.file, problem.kind) for problem in verify(folder).problems] == [(left, "leftover_part")]
    (found,) = recover_folder(folder).clips
    assert (found.file, found.frames) == (left.removesuffix(".part"), LENGTH)
    assert verify(folder).ok


def test_a_worker_that_is_lost_is_known_to_be(daemons, breaks, folder, recwarn):
    breaks("worker", "--encoders", "2")
    env = offcam.record(Barcode(LENGTH), str(folder), every=1, overflow="block")
    play(env, 3)
    env.close()
    (said,) = not_whole(recwarn)
    assert FIRST in said
    assert [clip.state for clip in read_run(folder, "all").clips] == ["aborted", "final", "final"]
    assert balanced(folder)
    reason = daemons.stats()["problems"]["encoder"]
    assert "offcam-encode-" in reason
    assert health(daemons) == (503, reason)
    assert verify(folder).ok
    daemons.stop()


def test_without_a_worker_left_nothing_hangs(daemons, breaks, folder, recwarn, offcam_command):
    breaks("worker", "--encoders", "1")
    env = offcam.record(Barcode(LENGTH), str(folder), every=1, overflow="block")
    play(env, 3)
    env.close()
    (said,) = not_whole(recwarn)
    assert "unforeseen" in said
    assert {clip.state for clip in read_run(folder, "all").clips} == {"aborted"}
    assert balanced(folder)
    assert len(films.episodes(folder)) == 3
    code, why = health(daemons)
    assert code == 503
    assert "the encoder is dead" in why
    done = offcam_command("status")
    assert done.returncode == 1
    assert "the encoder is dead" in done.stderr
    done = offcam_command("verify", str(folder))
    assert done.returncode == 1
    assert "nothing could be checked" in done.stdout
    daemons.stop()


# --- the store ------------------------------------------------------------------------------------------------


def test_a_row_that_cannot_be_written_is_the_videos_error(daemons, breaks, folder, recwarn):
    breaks("row")
    env = offcam.record(Barcode(LENGTH), str(folder), every=1)
    play(env, 2)
    env.close()
    (said,) = not_whole(recwarn)
    assert FIRST in said
    stats = daemons.stats()
    assert stats["unexpected_errors"] == {"store": 1}
    assert stats["problems"] == {}
    assert len(films.episodes(folder)) == 2
    assert films.clips(folder)["rl-video-episode-1.mp4"].state == "final"
    daemons.stop()
    assert [problem.kind for problem in verify(folder).problems] == ["unfinished"]


def test_records_that_cannot_be_applied_are_set_aside_and_those_behind_them_go_on(daemons, breaks, folder):
    breaks("records")
    env = offcam.RecordEpisodeStatistics(offcam.RecordVideo(Barcode(3), str(folder), lambda _: False))
    play(env, 1)
    assert env.env.flush()
    play(env, 4)
    env.close()
    assert read_run(folder, "all").quarantined == 1
    assert [episode.episode for episode in films.episodes(folder)] == [1, 2, 3, 4]
    assert daemons.stats()["unexpected_errors"] == {"store": 1}
    daemons.stop()


def test_a_dead_store_keeps_nobody_waiting(daemons, breaks, folder, recwarn, offcam_command, monkeypatch):
    break_now = breaks("store")
    env = offcam.record(Barcode(LENGTH), str(folder), every=1)
    play(env, 1)
    assert env.flush()
    break_now()
    play(env, 2)
    with monkeypatch.context() as patched:
        patched.setattr(offcam.connection.timeouts, "SILENCE_SECONDS", 0.5)
        env.close()
    assert any("gave up waiting" in str(each.message) for each in recwarn)
    late = offcam.record(Barcode(3), str(folder / "late"))  # made in the midst of a training, which it must not end
    assert any("nothing is recorded yet: the daemon's store is dead" in str(each.message) for each in recwarn)
    late.close()
    code, why = health(daemons)
    assert code == 503
    assert "the store is dead" in why
    assert "unforeseen" in why
    assert offcam_command("status").returncode == 1
    began = time.monotonic()
    done = offcam_command("stop")
    assert time.monotonic() - began < WAIT_SECONDS / 2
    assert done.returncode == 1
    assert "not everything was finished" in done.stderr
    assert str(folder) in done.stderr
    assert daemons.process.wait(WAIT_SECONDS) == 1
    daemons.start()  # whose client sends it what it keeps
    again = offcam.record(Barcode(3), str(folder))
    wait_until(lambda: again.flush() and len(films.episodes(folder)) == 3, "all statistics are stored")
    again.close()
    daemons.stop()


# --- the service ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["message", "event"])
def test_what_one_client_causes_costs_no_other_one(way, daemons, breaks, folder, agents):
    break_now = breaks(way)
    agents.start(folder, "--every", "0", "--pause", "0.01")
    env = offcam.record(Barcode(LENGTH), str(folder), every=1)
    play(env, 1)
    assert env.flush()
    break_now()
    play(env, 1)
    wait_until(lambda: daemons.stats()["unexpected_errors"].get("service"), "it was met")
    Path(str(folder.parent / "now")).unlink()
    play(env, 1)
    env.close()
    agents.finish()
    assert daemons.stats()["problems"] == {}
    assert [episode.episode for episode in films.episodes(folder)] == [0, 1, 2]
    daemons.stop()


def test_a_loop_that_cannot_go_on_finishes_what_came_and_leaves(daemons, breaks, folder, recwarn):
    break_now = breaks("loop")
    env = offcam.record(Barcode(LENGTH), str(folder), every=1)
    play(env, 2)
    assert env.flush()
    break_now()
    assert daemons.process.wait(WAIT_SECONDS) == 1
    assert "the service was ended by RuntimeError('unforeseen')" in daemons.log.read_text()
    films.check(folder)
    daemons.start()
    env.close()
    daemons.stop()


# --- the self-test --------------------------------------------------------------------------------------------


def test_a_daemon_whose_self_test_fails_keeps_the_statistics(daemons, breaks, folder, recwarn, offcam_command):
    fail_now = breaks("self-test")
    env = offcam.record(Barcode(LENGTH), str(folder), every=1)
    env.reset()
    env.step(0)  # in a video that was begun before the outcome is known
    wait_until(lambda: daemons.stats()["self_test"] == "testing", "the self-test is under way")
    fail_now()
    wait_until(lambda: daemons.stats()["self_test"] == "failed", "the self-test failed")
    for _ in range(LENGTH - 1):
        env.step(0)
    play(env, 2)
    env.close()
    (said,) = not_whole(recwarn)
    for text in ("no video can be made here", "unforeseen", "PyAV ", "-m pip install", "Statistics go on"):
        assert text in said
    run = read_run(folder, "all")
    assert [clip.state for clip in run.clips] == ["aborted"] * 3
    assert run.clips[0].frames <= 2  # what it had by then is kept
    assert [clip.frames for clip in run.clips[1:]] == [0, 0]
    assert all("no video can be made here" in clip.error for clip in run.clips)
    assert balanced(folder)
    assert len(run.episodes) == 3
    code, why = health(daemons)
    assert (code, "no video can be made here" in why) == (503, True)
    assert "video is down" in offcam_command("status").stdout
    done = offcam_command("doctor")
    assert done.returncode == 1
    assert "FAIL  daemon: no video can be made here" in done.stdout
    daemons.stop()


def test_one_that_passes_is_behind_the_ready_line_and_costs_nothing_else(daemons, folder):
    daemons.start()
    stats = wait_until(lambda: (now := daemons.stats())["self_test"] == "passed" and now, "the self-test passed")
    assert (stats["problems"], stats["recent_errors"], stats["runs"]) == ({}, [], [])
    daemons.stop()


def test_doctor_makes_a_video_of_its_own(monkeypatch, tmp_path):
    check = checks._self_test()
    assert check.outcome == "ok"
    assert check.detail.startswith("a video was made and read with PyAV ")
    (tmp_path / "sitecustomize.py").write_text(
        "import offcamd.video.mp4\n"
        "def copy_to(*_): raise AssertionError('unforeseen')\n"
        "offcamd.video.mp4.VideoWriter.copy_to = copy_to\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    check = checks._self_test()
    assert check.outcome == "fail"
    for text in ("no video can be made here", "unforeseen", "-m pip install"):
        assert text in check.detail


# --- a stop ---------------------------------------------------------------------------------------------------


def test_a_stop_says_so_where_its_daemon_is_killed_meanwhile(daemons):
    process = daemons.start()
    freeze(process.pid)
    command = [*COMMAND, "stop"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as stop:
        wait_until(lambda: pending(process.pid) & 1 << signal.SIGTERM - 1, "it was told to stop")
        process.kill()
        _, said = stop.communicate(timeout=WAIT_SECONDS)
    assert stop.returncode == 1
    assert "offcam recover" in said


def pending(pid: int) -> int:
    """The signals that wait for a process, by bits."""
    (line,) = (line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("ShdPnd:"))
    return int(line.split()[1], 16)
