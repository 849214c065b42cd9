"""What becomes of the last seconds where the client, the daemon, or both are killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from actors import TESTS, end

import films
import offcam
from envs import Barcode
from offcam_runs.format import INDEX_NAME
from offcam_runs.run import read_run
from waiting import wait_until

VANISHER = Path(__file__).parent / "vanisher.py"
FPS, SECONDS, STEPS = 30, 2, 100
HELD = FPS * SECONDS
MOST = HELD + HELD // 5


@pytest.fixture
def vanisher(stack, tmp_path):
    """Starts a client that took its steps, and waits to be killed."""

    def start(folder: Path) -> subprocess.Popen[str]:
        with (tmp_path / "vanisher").open("a") as stderr:
            process = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, str(VANISHER), str(folder), str(SECONDS), str(STEPS)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=stderr,
                    text=True,
                    env={**os.environ, "PYTHONPATH": str(TESTS)},
                )
            )
        stack.callback(end, process)
        assert process.stdout is not None
        assert process.stdout.readline().strip() == "there", (tmp_path / "vanisher").read_text()
        return process

    return start


def over(folder: Path, clips: int):
    """The run once it has so many clips, and all of them and its streams have ended; or None."""
    if not (folder / INDEX_NAME).exists():
        return None
    run = read_run(folder, "all")
    ended = all(clip.state != "recording" for clip in run.clips) and all(each.state != "live" for each in run.streams)
    return run if len(run.clips) == clips and ended else None


def kill(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait()


def test_of_a_killed_client_the_daemon_saves_what_it_has_by_itself(daemons, vanisher, tmp_path):
    """The frames that the client had not named yet, in shared memory, included; and once more, under another name."""
    daemons.start()
    folder = tmp_path / "run"
    for count in (1, 2):
        kill(vanisher(folder))
        run = wait_until(lambda count=count: over(folder, count), "its video is final", daemons.log.read_text)
    for clip in run.clips:
        assert (clip.state, clip.keep_reason) == ("final", "saved: vanished")
        assert clip.name == "rl-video-vanished"
        found = films.numbers(folder / clip.file)
        assert found == list(range(found[0], STEPS + 1))
        assert HELD <= len(found) == clip.frames <= MOST
    assert len({clip.file for clip in run.clips}) == 2, "neither replaced the other"
    assert daemons.stats()["lost"]["frames"] == 0
    films.check(folder)


def test_a_daemon_that_is_killed_takes_it_along_and_the_next_one_holds_it_anew(daemons, tmp_path):
    daemons.start()
    folder = tmp_path / "run"
    env = offcam.RecordVideo(Barcode(10**6), str(folder), last_seconds=SECONDS, overflow="block")
    env.reset()
    for _ in range(STEPS):
        env.step(0)
    assert env.flush()
    wait_until(lambda: daemons.stats()["queue_bytes"] == 0, "what was sent is encoded")
    daemons.kill()
    daemons.start()
    first = env.unwrapped.number + 1
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        for _ in range(30):
            env.step(0)
        wait_until(lambda: env.save_clip("later") and env.wait_video(60), "a video is saved")
    assert sum("held anew" in str(warning.message) for warning in said) == 1
    env.close()
    saved = [clip for clip in read_run(folder, "all").clips if clip.file]
    found = films.numbers(folder / saved[-1].file)
    assert found == list(range(found[0], STEPS + 31))
    assert found[0] >= first - 1, "what the killed one had is gone"
    films.check(folder)


def test_of_both_killed_nothing_is_made_of_the_frames_that_are_left(daemons, vanisher, tmp_path, offcam_command):
    """They are a few, in shared memory, of a ring that is gone."""
    daemons.start()
    folder = tmp_path / "run"
    process = vanisher(folder)
    daemons.kill()
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()
    assert process.stdout is not None
    assert process.stdout.readline().strip() == "there"
    kill(process)
    assert offcam_command("recover", str(folder)).returncode == 1, "there is nothing to recover"
    assert films.videos(folder) == []
    assert not read_run(folder, "all").clips


def test_where_no_daemon_is_there_nothing_is_saved_and_that_is_said(daemons, tmp_path):
    daemons.start()
    env = offcam.RecordVideo(Barcode(10**6), str(tmp_path / "run"), last_seconds=SECONDS)
    env.reset()
    env.step(0)
    daemons.kill()
    wait_until(lambda: not env._stream._connection.transport.connected, "the client knows")
    env._stream._connection.pump()
    with pytest.warns(UserWarning, match="cannot be saved"):
        assert env.save_clip("late") == "rl-video-late-step-0"
    daemons.start()
    env.close()
    (clip,) = read_run(tmp_path / "run", "all").clips
    assert (clip.name, clip.file, clip.frames) == ("rl-video-late-step-0", None, 0)


def test_a_client_that_leaves_in_good_order_leaves_nothing_of_it(daemons, tmp_path):
    daemons.start()
    folder = tmp_path / "run"
    script = "import sys, offcam; from envs import Barcode; env = offcam.RecordVideo(Barcode(99), sys.argv[1], "
    script += "last_seconds=2); env.reset(); [env.step(0) for _ in range(50)]"
    subprocess.run(
        [sys.executable, "-c", script, str(folder)], check=True, env={**os.environ, "PYTHONPATH": str(TESTS)}
    )
    wait_until(lambda: over(folder, 0), "its stream has ended")
    assert films.videos(folder) == []
