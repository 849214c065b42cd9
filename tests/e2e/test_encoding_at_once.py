"""An env's ``encode=``: whether encoding leaves the cores to others while its videos are recorded."""

from __future__ import annotations

import os
import signal
import sys

import gymnasium as gym
import pytest

import films
import offcam
from envs import Barcode, play
from offcamd.cli.query import ask_stats
from triggers import always
from waiting import HANG_SECONDS, wait_until

LENGTH = 60

SECONDS = 0.5
"""What each picture of a replay takes, so that its video can be met in its midst."""


@pytest.fixture
def stats(serve, endpoint):
    serve("--encoders", "1")
    return lambda: ask_stats(endpoint, HANG_SECONDS)


def gives_way(stats) -> bool:
    return stats()["encoders"]["give_way"]


def rendered(now, *, gives_way: bool) -> bool:
    """Whether a video has not come to its end yet, so that nobody waits for it, and encoding gives way or not."""
    return now["clips"]["recording"] == 1 and now["encoders"]["give_way"] == gives_way


def begin(env, action, stats) -> None:
    """Begin an episode, and return once the daemon has its video open."""
    env.reset()
    for _ in range(LENGTH // 2):
        env.step(action)
    wait_until(lambda: stats()["clips"]["recording"], "its video is open")


@pytest.mark.parametrize("encode", ["idle", "now"])
@pytest.mark.parametrize("vector", [False, True], ids=["single", "vector"])
def test_an_env_says_whether_its_videos_are_encoded_at_once(folder, stats, encode, vector):
    made = gym.vector.SyncVectorEnv([lambda: Barcode(LENGTH)] * 2) if vector else Barcode(LENGTH)
    env = offcam.record(made, folder, every=1, encode=encode)
    begin(env, [0, 0] if vector else 0, stats)
    assert gives_way(stats) == (encode == "idle")
    env.close()
    wait_until(lambda: gives_way(stats), "nobody waits any more")
    films.check(folder)


@pytest.fixture
def stopped(stats):
    """Stops the process that encodes, which goes on after the test."""
    pids = []

    def stop() -> None:
        pids.extend(stats()["encoders"]["pids"])
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)

    yield stop
    for pid in pids:
        os.kill(pid, signal.SIGCONT)


def test_who_waits_for_a_video_has_it_encoded_at_once(folder, stats, stopped):
    env = offcam.RecordVideo(Barcode(LENGTH), folder, lambda number: number == 0)
    begin(env, 0, stats)
    stopped()
    for _ in range(LENGTH // 2):
        env.step(0)
    env.reset()
    assert gives_way(stats)
    assert env.wait_video(0.0) is None
    wait_until(lambda: not gives_way(stats), "it does not give way any more")


def test_what_is_held_wants_no_cores(folder, stats):
    held = offcam.record(Barcode(LENGTH), folder, last_seconds=5, encode="now")
    env = offcam.record(Barcode(LENGTH), folder, every=1, name_prefix="other")
    held.reset()
    begin(env, 0, stats)
    assert gives_way(stats)
    held.close()
    env.close()


@pytest.mark.parametrize("encode", ["idle", "now"])
def test_what_is_replayed_is_encoded_as_its_env_says(folder, stats, encode, monkeypatch):
    pytest.importorskip("xxhash")
    monkeypatch.setenv("PYTHONPATH", ":".join(sys.path))
    gym.register("Graded-v0", "scored:Graded")
    try:
        graded = gym.make("Graded-v0", seconds=SECONDS, disable_env_checker=True)
        env = offcam.RecordVideo(graded, folder, always, source="replay", encode=encode)
        play(env)
        wait_until(lambda: rendered(stats(), gives_way=encode == "idle"), "it is rendered and encoded so")
        env.close()
    finally:
        gym.registry.pop("Graded-v0")
    assert films.videos(folder) == ["rl-video-episode-0.mp4"]
