"""The tap tells of each reset and step of an env's base, and is to all around it that base."""

from __future__ import annotations

import copy
import pickle
import warnings

import gymnasium as gym
import numpy as np
import pytest
import tapes
from gymnasium.wrappers import FlattenObservation, TimeAwareObservation

from offcam import replay
from offcam.replay import hooks, recipe
from offcam.replay.plans import Plan, find_plan
from offcam.replay.tap import Tap, insert
from offcam_proto.errors import ConfigError, NotReplayable


def tapped(**kwargs):
    tape = tapes.MemoryTape()
    return insert(gym.make("CartPole-v1", **kwargs), lambda _: tape), tape


def layers(env):
    while hasattr(env, "env"):
        yield env
        env = env.env


def test_it_is_below_every_wrapper():
    tape = tapes.MemoryTape()
    wrapped = TimeAwareObservation(FlattenObservation(gym.make("CartPole-v1")))
    env = insert(wrapped, lambda _: tape)
    assert env is wrapped
    *_, innermost = layers(env)
    assert type(innermost) is Tap
    assert innermost.env is env.unwrapped
    env.reset(seed=1)
    env.step(1)
    assert [(bool(event.reset), event.action) for event in tape.rows] == [(True, None), (False, 1)]


def test_a_bare_base_becomes_the_tap():
    base = gym.make("CartPole-v1").unwrapped
    env = insert(base, lambda _: tapes.MemoryTape())
    assert type(env) is Tap
    assert env.unwrapped is base


def test_each_sub_environment_has_one():
    told = {}
    envs = gym.make_vec("CartPole-v1", num_envs=3, vectorization_mode="sync")
    assert insert(envs, lambda index: told.setdefault(index, tapes.MemoryTape())) is envs
    envs.reset(seed=5)
    envs.step(np.array([0, 1, 0]))
    assert {index: [event.action for event in tape.rows[1:]] for index, tape in told.items()} == {
        0: [0],
        1: [1],
        2: [0],
    }
    assert [told[index].rows[0].reset.seed for index in range(3)] == [5, 6, 7]
    envs.close()


def test_what_cannot_be_reached_is_said_and_left_alone():
    envs = gym.make_vec("CartPole-v1", num_envs=1, vectorization_mode="async")
    with pytest.raises(NotReplayable, match="AsyncVectorEnv live where this process cannot see them"):
        insert(envs, lambda _: tapes.MemoryTape())
    envs.close()
    env, _ = tapped()
    with pytest.raises(NotReplayable, match="one tape is enough"):
        insert(env, lambda _: tapes.MemoryTape())


def test_to_all_around_it_is_the_base():
    env, _ = tapped(render_mode="rgb_array")
    *_, tap = layers(env)
    base = env.unwrapped
    assert tap.spec is base.spec
    assert [each.name for each in env.spec.additional_wrappers] == []
    assert env.spec.to_json() == gym.make("CartPole-v1", render_mode="rgb_array").spec.to_json()
    assert tap.gravity == base.gravity
    tap.gravity = 3.0
    assert base.gravity == 3.0
    tap.action_space = gym.spaces.Discrete(1)
    assert base.action_space == gym.spaces.Discrete(1)
    tap.np_random = other = np.random.default_rng(3)
    assert base.np_random is env.np_random is other
    assert tap._np_random is base._np_random
    assert env.get_wrapper_attr("gravity") == 3.0
    assert not hasattr(tap, "nothing")
    del tap.gravity
    assert not hasattr(base, "gravity")
    env.reset(seed=1)
    assert env.render().shape == (400, 600, 3)
    assert str(tap) == str(base)
    env.close()


def test_what_the_env_says_is_what_it_says_without_one():
    results = []
    for wrap in (lambda env: env, lambda env: insert(env, lambda _: tapes.MemoryTape())):
        env = wrap(gym.make("LunarLander-v3"))
        seen = [env.reset(seed=3)[0]]
        for action in (0, 2, 1, 3, 2):
            seen += env.step(action)[:3]
        results.append([np.asarray(each).tobytes() for each in seen])
    assert results[0] == results[1]


@pytest.mark.parametrize("another", [copy.deepcopy, copy.copy, lambda tap: pickle.loads(pickle.dumps(tap))])  # noqa: S301
def test_a_copy_tells_nothing(another):
    env, tape = tapped()
    env.reset(seed=1)
    *_, tap = layers(env)
    twin = another(tap)
    assert type(twin) is Tap
    twin.reset()
    twin.step(0)
    assert len(tape.rows) == 1
    tap.step(0)
    assert len(tape.rows) == 2


def test_a_planner_that_copies_the_whole_env_is_not_on_the_tape():
    env, tape = tapped()
    found = recipe.of(env)
    env.reset(seed=1)
    for _ in range(5):
        ahead = copy.deepcopy(env)
        ahead.step(0)
        env.step(1)
    assert len(tape.rows) == 6
    assert find_plan(tape, tape.episode(0), lambda: recipe.make(found)).verified


def test_no_seed_at_all():
    env, tape = tapped()
    found = recipe.of(env)
    for _ in range(3):
        env.reset()
        env.step(1)
    assert list(tape.rows[0].reset.random) == ["seed"]  # its generator was made in that reset
    assert tape.rows[2].reset.random["bit_generator"] == "PCG64"
    for number in range(3):
        assert find_plan(tape, tape.episode(number), lambda: recipe.make(found)) == (Plan(), None, "")


def test_no_generator_is_made_by_asking():
    class Plain(gym.Env):
        def reset(self, *, seed=None, options=None):
            return np.zeros(1), {}

    tape = tapes.MemoryTape()
    env = insert(Plain(), lambda _: tape)
    before = np.random.get_state()[1].tobytes()  # noqa: NPY002 - the global one is not touched either
    env.reset()
    assert env.unwrapped._np_random is None
    assert tape.rows[0].reset.random is None
    assert np.random.get_state()[1].tobytes() == before  # noqa: NPY002


def test_another_kind_of_generator():
    env, tape = tapped()
    found = recipe.of(env)
    env.unwrapped.np_random = np.random.Generator(np.random.MT19937(3))
    env.reset()
    env.step(0)
    assert tape.rows[0].reset.random["bit_generator"] == "MT19937"
    assert find_plan(tape, tape.episode(0), lambda: recipe.make(found)).verified


def test_a_step_that_raised_is_not_on_the_tape():
    env, tape = tapped()
    found = recipe.of(env)
    env.reset(seed=1)
    with pytest.raises(AssertionError):
        env.step(7)
    env.step(1)
    assert [event.action for event in tape.rows] == [None, 1]
    assert find_plan(tape, tape.episode(0), lambda: recipe.make(found)).verified


def test_options_that_cannot_be_kept_spoil_one_episode():
    env, tape = tapped()
    found = recipe.of(env)
    env.reset(seed=1, options={"low": -0.02, "high": 0.02})
    env.reset(seed=1, options={"function": print})
    assert tape.rows[0].reset.options == {"low": -0.02, "high": 0.02}
    assert find_plan(tape, tape.episode(0), lambda: recipe.make(found)).verified
    with pytest.raises(NotReplayable, match="builtin_function_or_method"):
        find_plan(tape, tape.episode(1), lambda: recipe.make(found))


def test_a_hook_that_fails_spoils_no_training(monkeypatch):
    monkeypatch.setattr(hooks, "_hooks", dict(hooks._hooks))  # the registry of all processes alike
    replay.register("CartPole-v1", state=lambda env: 1 / 0, restore=print)
    env, tape = tapped()
    env.reset()
    assert "ZeroDivisionError" in tape.rows[0].reset.why


@pytest.mark.parametrize("wrong", [(3, len, len), ("CartPole-v1", 1, len), ("CartPole-v1", len, None)])
def test_what_can_be_registered(wrong):
    env, state, restore = wrong
    with pytest.raises(ConfigError, match="takes an env's class or id and two functions"):
        replay.register(env, state=state, restore=restore)


def test_observations_that_cannot_be_checked_end_the_tape():
    class Odd(gym.Env):
        def reset(self, *, seed=None, options=None):
            return object(), {}

        def step(self, action):
            return object(), 0.0, False, False, {}

    tape = tapes.MemoryTape()
    env = insert(Odd(), lambda _: tape)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env.reset()
        env.step(0)
    assert "builtins.object" in tape.ended
    assert tape.rows == []
