"""The rows of a tape: those of the steps as long as these have all there is to say, and its own from there on."""

from __future__ import annotations

import warnings

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.wrappers import Autoreset, RescaleAction
from tapes import MemoryTape

import offcam
from offcam.recorder.actions import ActionCodec
from offcam.replay.tap import insert
from offcam.replay.tape_file import FileTape
from offcam.replay.tape_log import TapeLog
from offcam_runs.database import open_to_read
from offcam_runs.replay.recipe import Recipe
from offcam_runs.steps.layout import TAPE
from offcam_runs.steps.load import all_steps
from offcam_runs.steps.places import all_places
from offcam_runs.streams import read_streams

STEPS, EPISODES = 6, 4


@pytest.fixture(autouse=True)
def nobody(runtime, monkeypatch):
    """No daemon will come: all that is recorded is in the journals."""
    monkeypatch.setenv("OFFCAM_ADDR", f"ipc://{runtime}/nobody")
    monkeypatch.setattr(offcam.connection.timeouts, "START_SECONDS", 0.1)
    warnings.simplefilter("ignore")


class Between(gym.Wrapper):
    """A wrapper between the recorder and the base. From its tenth step on it does what it is there for."""

    def __init__(self, env):
        super().__init__(env)
        self.steps = 0

    def step(self, action):
        self.steps += 1
        return self.odd(action) if self.steps >= 10 else self.env.step(action)

    def odd(self, action):
        return self.env.step(action)


class Converts(Between):
    def odd(self, action):
        return self.env.step(int(action))


class Skips(Between):
    def odd(self, action):
        self.env.step(action)
        return self.env.step(action)


class Changes(Between):
    def odd(self, action):
        return self.env.step(1 - action)


class ChangesInPlace(Between):
    def odd(self, action):
        action *= 0.5
        return self.env.step(action)


class Answers(Between):
    def odd(self, action):
        return self.observation_space.sample(), 0.0, False, False, {}


class Fails(Between):
    def odd(self, action):
        self.env.step(action)
        raise LookupError


class FailsBefore(Between):
    def odd(self, action):
        if self.steps % 2:
            raise LookupError
        return self.env.step(action)


class Resets(Between):
    def odd(self, action):
        observation, info = self.env.reset(seed=int(action))
        return observation, 0.0, False, False, info


class ResetsTwice(Between):
    def reset(self, **kwargs):
        if self.steps >= 10:
            self.env.reset(**kwargs)
        return self.env.reset(**kwargs)


class StepsWithinReset(Between):
    def reset(self, **kwargs):
        observation, info = self.env.reset(**kwargs)
        return (self.env.step(self.action_space.sample())[0] if self.steps >= 10 else observation), info


CASES = {
    "nothing": ("CartPole-v1", Between, True),
    "arrays": ("Pendulum-v1", Between, True),
    "the same action as another integer": ("CartPole-v1", Converts, True),
    "a step that fails before the base": ("CartPole-v1", FailsBefore, True),
    "a reset within a step": ("CartPole-v1", Autoreset, True),
    "several steps for one": ("CartPole-v1", Skips, False),
    "another action": ("CartPole-v1", Changes, False),
    "an action changed in place": ("Pendulum-v1", ChangesInPlace, False),
    "an action of another space": ("Pendulum-v1", lambda env: RescaleAction(env, np.float32(-1), np.float32(1)), False),
    "no step at all": ("CartPole-v1", Answers, False),
    "a step that fails behind the base": ("CartPole-v1", Fails, False),
    "a reset in place of a step": ("CartPole-v1", Resets, False),
    "two resets for one": ("CartPole-v1", ResetsTwice, False),
    "steps within a reset": ("CartPole-v1", StepsWithinReset, False),
}


def play(env, look=lambda: None):
    env.action_space.seed(3)
    for episode in range(EPISODES):
        env.reset(seed=None if episode == 2 else episode)
        look()
        for _ in range(STEPS):
            try:
                env.step(env.action_space.sample())
            except LookupError:
                continue
            look()


@pytest.mark.parametrize(("env_id", "wrapper", "shared"), CASES.values(), ids=CASES)
def test_what_is_read_is_what_happened(folder, env_id, wrapper, shared):
    told, marks = MemoryTape(), []
    play(
        insert(wrapper(gym.make(env_id, max_episode_steps=5)), lambda _: told), lambda: marks.append(len(told.rows) - 1)
    )
    env = offcam.RecordVideo(
        wrapper(gym.make(env_id, max_episode_steps=5)), str(folder), lambda _: False, source="replay"
    )
    play(env)
    env._stream.steps.seal()
    with open_to_read(folder) as database:
        tape = FileTape(database, str(folder), 1)
        tape.actions = ActionCodec(env.unwrapped.action_space)
        assert tape.resets == told.resets
        same(tape.events(0, 10**9), told.rows)
        for begin in range(len(told.rows)):
            same(tape.events(begin, begin + 3), told.rows[begin : begin + 3])
        rows = [steps for _, _, steps in all_steps(database, folder, read_streams(database))]
        assert [mark for each in rows for mark in each["tape"].tolist()] == marks
        assert (not list(all_places(database, 1, TAPE))) == shared


def same(events, expected):
    events = list(events)
    assert [event.row for event in events] == [event.row for event in expected]
    for event, other in zip(events, expected, strict=True):
        assert event.digest == other.digest
        assert (event.reset and event.reset.seed) == (other.reset and other.reset.seed)
        assert np.array_equal(event.action, other.action) if other.reset is None else event.action is None


def test_minus_zero_is_another_action_than_zero(folder):
    class Flips(Between):
        def odd(self, action):
            return self.env.step(-action)

    env = offcam.RecordVideo(Flips(gym.make("Pendulum-v1")), str(folder), lambda _: False, source="replay")
    env.reset(seed=0)
    for _ in range(12):
        env.step(np.zeros(1, np.float32))
    env._stream.steps.seal()
    with open_to_read(folder) as database:
        tape = FileTape(database, str(folder), 1)
        tape.actions = ActionCodec(env.unwrapped.action_space)
        signs = [bool(np.signbit(event.action[0])) for event in tape.events(1, 13)]
    assert signs == [False] * 9 + [True] * 3


def test_a_number_that_may_be_minus_zero_is_on_the_tape_itself():
    tape = TapeLog(spaces.Box(-1, 1, (), np.float32), Recipe("", "", [], "", {}, {}))
    tape.share(ActionCodec(spaces.Box(-1, 1, (), np.float32)).columns)
    assert not tape.shares


def test_an_action_that_is_wider_than_its_space_is_whole_in_the_row_behind_a_step_that_failed(folder):
    inner = FailsBefore(gym.make("Pendulum-v1", render_mode="rgb_array"))
    env = offcam.RecordVideo(inner, str(folder), lambda _: False, steps=True)
    env.reset(seed=0)
    given = []
    for number in range(14):
        action = np.array([0.1 + number], np.float64 if number >= 10 else np.float32)  # of the 11th there is no step
        try:
            env.step(action)
        except LookupError:
            continue
        given.append(action[0])
    env._stream.steps.seal()
    with open_to_read(folder) as database:
        rows = [steps["action"][:, 0] for _, _, steps in all_steps(database, folder, read_streams(database))]
    assert np.concatenate(rows).tolist()[1:] == given
