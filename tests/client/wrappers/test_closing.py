"""Closing: whatever the user's own code raises then, ours has done what it promises."""

from __future__ import annotations

import gymnasium as gym
import pytest

import films
import offcam
from envs import Barcode, play

pytestmark = pytest.mark.usefixtures("daemon")


class Broken(Barcode):
    """Cannot be closed."""

    def close(self):
        raise OSError("the simulator is gone")


def test_an_env_that_cannot_be_closed(folder):
    env = offcam.record(Broken(3), folder, every=1)
    play(env, 2)
    env.reset()
    env.step(0)
    with pytest.raises(OSError, match="the simulator is gone"):
        env.close()
    films.check(folder)
    assert [clip.frames for clip in films.clips(folder).values()] == [4, 4, 2]
    assert len(films.episodes(folder)) == 2


def test_a_vector_env_that_cannot_be_closed(folder):
    class BrokenVector(gym.vector.SyncVectorEnv):
        def close_extras(self, **kwargs):
            raise OSError("the simulator is gone")

    env = offcam.record(BrokenVector([lambda: Barcode(3)] * 2), folder, every=1)
    env.reset()
    for _ in range(5):
        env.step([0, 0])
    with pytest.raises(OSError, match="the simulator is gone"):
        env.close()
    films.check(folder)
    assert len(films.episodes(folder)) == 2


def test_a_trigger_that_raises_at_the_end(folder):
    def collect(_episode):
        raise RuntimeError("the user's")

    env = offcam.record(Barcode(3), folder, every=1, gc_trigger=collect)
    env.reset()
    for _ in range(3):
        env.step(0)
    with pytest.raises(RuntimeError, match="the user's"):
        env.close()
    films.check(folder)
    assert [clip.frames for clip in films.clips(folder).values()] == [4]
    assert len(films.episodes(folder)) == 1
