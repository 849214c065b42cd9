"""SIGKILL of a daemon, or of the process that renders, while episodes are rendered that a rule keeps."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import warnings

import gymnasium as gym
import pytest
from actors import TESTS, WAIT_SECONDS

import films
from envs import play
from offcam import RecordVideo, keep
from offcam_runs.run import read_run
from scored import Graded
from waiting import HANG_SECONDS, wait_until

pytest.importorskip("xxhash")

COUNT = 30
SECONDS = 0.1
"""What each picture takes, so that a video can be met in its midst."""


@pytest.fixture(autouse=True)
def _registered(monkeypatch, tmp_path):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(TESTS), os.environ.get("PYTHONPATH", ""))))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    gym.register("Graded-v0", "scored:Graded")
    yield
    gym.registry.pop("Graded-v0")


def recorded(folder):
    env = gym.make("Graded-v0", seconds=SECONDS, disable_env_checker=True)
    return RecordVideo(env, str(folder), source="replay", keep=keep.worst(2) | keep.failures())


def wanted(count: int) -> set[int]:
    env, scores = Graded(), []
    for number in range(count):
        env.reset(seed=number)
        scores.append(env.score)
    worst = sorted(range(count), key=lambda number: scores[number].value)[:2]
    return {*worst, *(number for number, score in enumerate(scores) if not score.success)}


def found(folder) -> set[int]:
    clips = [clip for clip in read_run(folder, "all").clips if clip.file]
    assert films.videos(folder) == sorted(clip.file for clip in clips)
    assert {clip.state for clip in clips} == {"final"}
    for clip in clips:
        assert films.numbers(folder / clip.file) == list(range(clip.length + 1))
    assert len({clip.episode for clip in clips}) == len(clips), "none is there twice"
    films.check(folder)
    return {clip.episode for clip in clips}


def begun(folder) -> bool:
    """Whether a video is in the midst of being made."""
    return any(name.endswith(".part") for name in films.videos(folder))


@pytest.mark.filterwarnings("ignore::UserWarning")  # that a daemon is not there is said
def test_a_daemon_that_is_killed_while_a_video_is_made(daemons, folder):
    daemons.start()
    env = recorded(folder)
    play(env, 10, seed=0)
    env._stream.flush()  # its steps would come with a later episode's end
    wait_until(lambda: begun(folder), "a video is made")
    daemons.kill()
    daemons.start()
    play(env, COUNT - 10, seed=10)
    env.close()
    daemons.stop()
    assert found(folder) == wanted(COUNT)


def test_a_process_that_is_killed_while_it_makes_a_video(daemons, folder):
    daemons.start()
    env = recorded(folder)
    play(env, 10, seed=0)
    env._stream.flush()  # its steps would come with a later episode's end
    wait_until(lambda: begun(folder), "a video is made")
    worker = env._replaying.renderer._process  # as a user who looks for it finds it
    worker.kill()
    worker.wait(HANG_SECONDS)
    play(env, COUNT - 10, seed=10)
    env.close()
    daemons.stop()
    assert found(folder) == wanted(COUNT)


def test_a_process_that_ends_whenever_it_is_started_is_given_up(daemons, folder):
    daemons.start()
    env = recorded(folder)
    env._replaying.renderer._recipe = env._replaying.renderer._recipe._replace(executable="/bin/false")
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        play(env, 10, seed=0)
        env.close()
    told = [str(each.message) for each in said if "what the rule keeps is not rendered" in str(each.message)]
    assert len(told) == 1
    assert "the process that does so ended (1)" in told[0]
    daemons.stop()
    assert films.videos(folder) == []


AGENT = """
import sys
import gymnasium as gym
from envs import play
from offcam import RecordVideo, keep

gym.register("Graded-v0", "scored:Graded")
env = RecordVideo(gym.make("Graded-v0", seconds=0.1), sys.argv[1], source="replay", keep=keep.longer_than(1))
play(env, 40, seed=0)
env._stream.flush()
print(env._replaying.renderer._process.pid, flush=True)
sys.stdin.readline()
"""


def test_a_client_that_is_killed_has_its_process_leave(daemons, stack, folder):
    daemons.start()
    command = [sys.executable, "-W", "ignore", "-c", AGENT, str(folder)]
    agent = stack.enter_context(
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    )  # fmt: skip
    stack.callback(agent.kill)
    worker = int(agent.stdout.readline())
    wait_until(lambda: begun(folder), "a video is made")
    agent.send_signal(signal.SIGKILL)
    agent.wait(WAIT_SECONDS)
    wait_until(lambda: not os.path.exists(f"/proc/{worker}"), "it makes no more of them")  # noqa: PTH110
    daemons.stop()
    assert 0 < len(found(folder)) < 40
