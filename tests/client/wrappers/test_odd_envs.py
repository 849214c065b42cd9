"""Whatever an env hands over, nothing raises in the loop: what can be read is recorded, else a warning says so."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction
from typing import ClassVar

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from PIL import Image

import films
import offcam
import offcam.vector
from envs import Barcode, play
from odd_envs import OnDevice, Tensor, run
from offcam.recorder import readings

pytestmark = pytest.mark.usefixtures("daemon")

LENGTH = 5
COUNT = 3


class Batched(Barcode):
    """A simulator's env: ``COUNT`` at once, of which env i ends every ``LENGTH + i`` steps and begins anew."""

    num_envs: int | None = COUNT

    def __init__(self, as_rewards=np.asarray, as_flags=np.asarray, mode=None):
        super().__init__()
        self.metadata = {**self.metadata, "autoreset_mode": mode}
        self._as_rewards, self._as_flags = as_rewards, as_flags
        self._cycle = LENGTH + np.arange(COUNT) + (mode is AutoresetMode.NEXT_STEP)

    def step(self, action):
        self.number += 1
        place = self.number % self._cycle
        last = LENGTH + np.arange(COUNT)
        over = (place == last % self._cycle) & (self.number >= last)
        rewards = np.arange(1.0, 1 + COUNT)
        return self._observe(), self._as_rewards(rewards), self._as_flags(over), self._as_flags(over & False), {}


@pytest.mark.parametrize(
    "kind", [np.asarray, Tensor, list, lambda values: values[:, None]], ids=["numpy", "tensor", "list", "column"]
)
def test_statistics_of_each_env_of_a_batch(folder, kind):
    env = offcam.record(Batched(kind, kind), str(folder), step_trigger=lambda step: step == 0, video_length=6)
    assert run(env, 2 * LENGTH) == []
    ends = [(e.env_index, e.episode, e.length, e.return_, e.terminated, e.seed) for e in films.episodes(folder)]
    assert ends == [
        (0, 0, 5, 5.0, True, 7), (1, 0, 6, 12.0, True, 7), (2, 0, 7, 21.0, True, 7), (0, 1, 5, 5.0, True, None),
    ]  # fmt: skip
    assert list(env.return_queue) == [5.0, 12.0, 21.0, 5.0]
    assert [clip.frames for clip in films.clips(folder).values()] == [6]


def test_a_batch_that_resets_in_the_next_step(folder):
    env = offcam.record(Batched(mode=AutoresetMode.NEXT_STEP), str(folder), every=10)
    assert run(env, 2 * LENGTH + 1) == []
    assert [(e.env_index, e.length, e.return_) for e in films.episodes(folder)] == [
        (0, 5, 5.0), (1, 6, 12.0), (2, 7, 21.0), (0, 5, 5.0),
    ]  # fmt: skip


@pytest.mark.parametrize("by", ["reset_mask", "env_idx"])
@pytest.mark.parametrize("as_array", [np.asarray, Tensor, list])
def test_a_reset_of_some_envs_of_a_batch(folder, by, as_array):
    """As ManiSkill's vector env does with those that ended, and a training with one that it gives up."""
    env = offcam.record(Batched(), str(folder), every=1)

    def reset(*which):
        mask = np.isin(np.arange(COUNT), which)
        env.reset(options={by: as_array(mask if by == "reset_mask" else np.flatnonzero(mask))})

    env.reset(seed=7)
    for step in range(1, 13):
        env.step(0)
        number = env.unwrapped.number
        if step in (5, 6, 10):
            reset(*((0,), (1,), (0, 2))[(5, 6, 10).index(step)])
        else:
            reset()
        env.unwrapped.number = number  # the stand-in's cycles go on
    env.close()
    assert [(e.env_index, e.episode, e.length, e.return_, e.seed) for e in films.episodes(folder)] == [
        (0, 0, 5, 5.0, 7), (1, 0, 6, 12.0, 7), (2, 0, 7, 21.0, 7), (0, 1, 5, 5.0, None), (1, 1, 6, 12.0, None),
    ]  # fmt: skip
    assert [clip.episode for clip in films.clips(folder).values()] == [0, 1, 2]
    assert env.episode_lengths.tolist() == [2, 0, 2]


class Pool(VectorEnv):
    """As EnvPool, it has two of three envs ready at a time and says which; env i ends every ``2 + i`` steps."""

    num_envs = COUNT
    metadata: ClassVar = {"autoreset_mode": AutoresetMode.NEXT_STEP}
    single_observation_space = observation_space = gym.spaces.Discrete(2)

    def __init__(self, as_rewards=np.asarray, as_flags=np.asarray):
        self._as_rewards, self._as_flags = as_rewards, as_flags
        self.ends = []

    def reset(self, *, seed=None, options=None):
        self._taken = np.full(COUNT, -1)
        self._turn = 0
        *_, info = self.step(None)
        return 0, info

    def step(self, actions):
        ids = np.array([[0, 1], [2, 0], [1, 2]][self._turn % 3])
        self._turn += 1
        self._taken[ids] += 1
        over = self._taken[ids] == 2 + ids
        self.ends += [(int(index), int(2 + index)) for index in ids[over]]
        self._taken[ids[over]] = -1
        return 0, self._as_rewards(ids + 1.0), self._as_flags(over), self._as_flags(over & False), {"env_id": ids}


@pytest.mark.parametrize("kind", [np.asarray, Tensor, list])
def test_statistics_of_a_pool_that_has_some_envs_ready_at_a_time(tmp_path, kind):
    env = offcam.vector.RecordEpisodeStatistics(Pool(kind, kind))
    env.reset()
    told = []
    for _ in range(40):
        *_, info = env.step(None)
        if "episode" in info:
            over = info["_episode"]
            told += zip(info["env_id"][over].tolist(), info["episode"]["l"][over].tolist(), strict=True)
    env.close()
    played = env.unwrapped.ends
    assert told == played
    episodes = films.episodes(next((tmp_path / "offcam-runs").iterdir()))
    assert len(episodes) > 10
    assert sorted((e.env_index, e.length) for e in episodes) == sorted(played)
    assert [e.return_ for e in episodes] == [e.length * (e.env_index + 1.0) for e in episodes]
    for index in range(COUNT):
        numbers = [e.episode for e in episodes if e.env_index == index]
        assert numbers == list(range(played.count((index, 2 + index))))


@pytest.mark.parametrize(
    ("rewards", "flags", "warned"),
    [(str, np.asarray, False), (OnDevice, np.asarray, False), (np.asarray, OnDevice, True)],
)
def test_a_pool_of_which_something_cannot_be_read(rewards, flags, warned):
    env = offcam.vector.RecordEpisodeStatistics(Pool(rewards, flags))
    told = run(env)
    assert [("no episode of" in text) for text in told] == [True] * warned
    assert env.episode_count == 0 if warned else all(map(math.isnan, env.return_queue))


def test_infos_of_a_batch_are_a_vector_envs():
    env = offcam.RecordEpisodeStatistics(Batched())
    env.reset()
    for step in range(LENGTH):
        *_, info = env.step(0)
        assert ("episode" in info) == (step == LENGTH - 1)
    assert info["episode"]["r"].tolist() == [5.0, 0.0, 0.0]
    assert info["episode"]["l"].tolist() == [5, 0, 0]
    assert info["_episode"].tolist() == [True, False, False]
    assert env.episode_lengths.tolist() == [0, 5, 5]
    env.close()


def by_agent(values):
    return {"a": values[0], "b": values[1]}


@pytest.mark.parametrize(
    ("kind", "why"),
    [(OnDevice, "a device's memory"), (by_agent, "a dict"), (str, "a str")],
    ids=["device", "dict", "str"],
)
@pytest.mark.parametrize("num_envs", [3, None])
def test_flags_that_nobody_can_read_are_said_once_and_the_video_is_made(folder, kind, why, num_envs):
    bare = Batched(kind, kind)
    bare.num_envs = num_envs
    env = offcam.record(bare, str(folder), every=1)
    (message,) = run(env)
    assert "no episode of" in message
    assert why in message
    assert films.episodes(folder) == []
    assert films.numbers(folder / "rl-video-episode-0.mp4") == list(range(13))


def test_a_vector_envs_flags_on_a_device(folder):
    class Device(SyncVectorEnv):
        def step(self, actions):
            obs, rewards, terminations, truncations, infos = super().step(actions)
            return obs, OnDevice(rewards), OnDevice(terminations), OnDevice(truncations), infos

    envs = offcam.vector.RecordEpisodeStatistics(Device([lambda: Barcode(LENGTH)] * 3))
    (message,) = run(envs)
    assert "a device's memory" in message
    assert not envs.return_queue


@pytest.mark.parametrize("info", [None, [], [{}, {}], 3], ids=repr)
def test_infos_that_are_no_dicts_are_left(folder, info):
    class Odd(Barcode):
        def step(self, action):
            return *super().step(action)[:4], info

    env = offcam.record(Odd(LENGTH), str(folder))
    assert play(env) == [info]
    env.close()
    assert [episode.length for episode in films.episodes(folder)] == [LENGTH]


@pytest.mark.parametrize(
    ("value", "expected"),
    [(True, True), (np.False_, False), (1, True), (np.array([True]), True), (np.array([[0]]), False),
     (Tensor([True]), True), (np.array([True, False]), None), (Tensor([1, 0]), None), (np.array([]), None),
     ({}, None), ({"a": True}, None), ([True], None), ("no", None), (None, None), (OnDevice(1), None)],
)  # fmt: skip
def test_a_flag_is_set_or_not_or_unknown(value, expected):
    assert readings.flag(value) is expected


class Hostile:
    """Says no to whatever it is asked."""

    shape = (2, 2)

    def __getattr__(self, name):
        raise ValueError(f"no {name} here")

    def __array__(self, *_, **__):
        raise TypeError("no array, either")

    def __bool__(self):
        raise ArithmeticError("neither true nor false")

    __float__ = __len__ = __iter__ = __index__ = __bool__

    def __add__(self, other):
        raise OverflowError("too much")

    __radd__ = __add__


class OddError(Exception):
    """Of no kind of Python's, as the errors of TensorFlow."""


class OfItsOwn(Hostile):
    """Says no in its own words."""

    def __getattr__(self, name):
        raise OddError(name)

    def __array__(self, *_, **__):
        raise OddError

    __bool__ = __float__ = __len__ = __iter__ = __index__ = __array__

    def __add__(self, other):
        raise OddError

    __radd__ = __add__


ODD = (
    OfItsOwn(), [OfItsOwn()] * 3,
    None, "text", b"bytes", 3, -1.5, 2**70, 10**400, 1j, math.nan, Fraction(1, 3), Decimal("0.5"), np.float16(2),
    np.datetime64("2026-01-01"), np.array(5), np.array([]), np.zeros(3), np.zeros((3, 1), bool), np.zeros((3, 4, 5,
    6, 7)), np.array([None] * 3), np.array(["a", "b", "c"]), np.zeros(3, [("x", int)]), np.ma.masked_all(3), [], [1,
    2, 3], [[1], [2, 3], []], (), (1, None, "x"), {}, {"a": 1.0}, {"__all__": True}, {1, 2, 3}, iter([1, 2, 3]),
    range(3), int, NotImplemented, ..., lambda: None, Hostile(), [Hostile()] * 3, OnDevice(0), [OnDevice(0)] * 3,
    {"a": OnDevice(0)}, Tensor(np.zeros((84, 84, 3), np.uint8)), Image.new("CMYK", (8, 8)), [np.zeros((8, 8))] * 3,
    (np.zeros((8, 8)), None, np.zeros((4, 4))), np.zeros((3, 8, 8, 3), np.float32),
)  # fmt: skip
NAMES = ("observation", "reward", "terminated", "truncated", "info")


class Gives:
    """Beside an env: gives something odd in one role, from the second step of an episode on."""

    role = ""
    value: object = None
    steps = 0

    def reset(self, **options):
        self.steps = 0
        return super().reset(**options)

    def step(self, action):
        self.steps += 1
        given = dict(zip(NAMES, super().step(action), strict=True))
        return tuple((given | ({self.role: self.value} if self.steps > 1 else {})).values())[:5]

    def render(self):
        return self.value if self.role == "picture" and self.steps > 1 else super().render()


class Single(Gives, Barcode):
    pass


class Vector(Gives, SyncVectorEnv):
    pass


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("role", [*NAMES, "picture"])
@pytest.mark.parametrize("kind", ["single", "batch", "vector"])
def test_nothing_raises_whatever_an_env_gives(folder, kind, role):
    """And each step returns the very object that the env gave."""
    bare = Vector([lambda: Barcode(4)] * 3) if kind == "vector" else Single(4)
    if kind == "batch":
        bare.num_envs = 3
    source = "obs" if role == "observation" else "render"
    if source == "obs":
        bare.observation_space = bare.single_observation_space = gym.spaces.Box(0, 255, (84, 84), np.uint8)
    env = offcam.record(bare, str(folder), every=1, source=source)
    bare.role = role
    for value in ODD:
        bare.value = value
        env.reset()
        for step in range(5):
            given = dict(zip(NAMES, env.step(np.zeros(3, int)), strict=True))
            assert step == 0 or role == "picture" or given[role] is value
    env.close()
    films.check(folder)
