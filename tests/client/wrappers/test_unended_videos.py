"""Why the episode in a video came to no end is said of it: an error of the env, an early reset, an early end of all."""

from __future__ import annotations

import contextlib

import gymnasium as gym
import numpy as np
import pytest

from envs import Barcode, play
from offcam import RecordVideo
from offcam.recorder.readings import words_of
from offcam.vector import RecordVideo as RecordVectorVideo
from offcam_runs.run import read_run
from triggers import always

pytestmark = pytest.mark.usefixtures("daemon")


class Broken(Barcode):
    """Its step raises, where it is told to."""

    raises: Exception | None = None

    def step(self, action):
        if self.raises is not None:
            raise self.raises
        return super().step(action)


class Nasty(Exception):
    """An error without words: to ask for them raises."""

    def __str__(self):
        raise KeyError("no words")


def unended(folder):
    return [clip.unended for clip in read_run(folder).clips]


def test_an_error_an_early_reset_and_an_early_end_are_told_apart(folder):
    env = RecordVideo(Broken(6), str(folder), always)
    play(env)
    for error in (ValueError("the wheel\nfell off"), Nasty(), None, RuntimeError("once")):
        env.unwrapped.raises = None
        env.reset()
        env.step(0)
        env.unwrapped.raises = error
        if error is not None:
            with pytest.raises(type(error)):
                env.step(0)
    env.unwrapped.raises = None
    env.step(0)  # the env goes on after all
    env.close()
    assert unended(folder) == [
        "",
        "ended by an error: ValueError: the wheel fell off",
        "ended by an error: Nasty",
        "reset before its end",
        "closed before its end",
    ]
    numbers = [clip.numbers for clip in read_run(folder).clips]
    assert "ended by an error: Nasty" in numbers[2]


def test_videos_of_so_many_frames_end_with_these(folder):
    env = RecordVideo(Barcode(6), str(folder), step_trigger=lambda step: step % 6 == 0, video_length=3)
    play(env, 2)
    env.close()
    assert set(unended(folder)) == {""}


@pytest.mark.parametrize("per_env", [False, True])
def test_an_error_of_a_vector_env_ended_all_that_was_going_on(folder, per_env):
    envs = gym.vector.SyncVectorEnv([lambda: Broken(6)] * 2)
    env = RecordVectorVideo(envs, str(folder), episode_trigger=always, per_env=per_env)
    env.reset()
    env.step(np.zeros(2, int))
    envs.envs[1].raises = ValueError("the wheel fell off")
    with contextlib.suppress(ValueError):
        env.step(np.zeros(2, int))
    env.close()
    assert set(unended(folder)) == {"ended by an error: ValueError: the wheel fell off"}


def test_the_words_of_an_error_are_short_and_can_be_sent():
    assert words_of(KeyError()) == "KeyError"
    assert words_of(ValueError("\0 \ud800")) == "ValueError:  ?"
    assert len(words_of(ValueError("x" * 9999))) == 300
