"""Whatever an env hands over, nothing raises in the loop: what can be read is recorded, else a warning says so."""

from __future__ import annotations

import math
import warnings
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
from envs import Barcode, Look, decode, encode, play
from offcam.recorder import readings
from triggers import always

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


class OnDevice:
    """Like a tensor on a GPU: to read it would wait for the device, so reading it fails the test."""

    shape = (3,)

    def __init__(self, values):
        del values

    def __dlpack_device__(self):
        return 2, 0

    def __array__(self, *_):
        raise SystemExit("the agent's thread waited for the device")

    __bool__ = __float__ = __getitem__ = __len__ = __iter__ = __array__


class Tensor:
    """Like a tensor of torch's on the CPU, which wants its gradient; the truth of several numbers is none."""

    def __init__(self, values):
        self._values = np.asarray(values)
        self.shape = self._values.shape

    def __dlpack_device__(self):
        return 1, 0

    def __bool__(self):
        if self._values.size != 1:
            raise RuntimeError("Boolean value of Tensor with more than one value is ambiguous")
        return bool(self._values.item())

    def detach(self):
        return self._values

    def __array__(self, dtype=None, copy=None):
        raise RuntimeError("Can't call numpy() on Tensor that requires grad.")

    def __radd__(self, other):
        return Tensor(self._values + other)

    __add__ = __radd__


def run(env, steps=12):
    """Step it, whatever it says; returns the messages of all warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        env.reset(seed=7)
        for _ in range(steps):
            env.step(np.zeros(getattr(env, "num_envs", 1), int))
        env.close()
    return [str(warning.message) for warning in caught]


# --- rewards and flags ------------------------------------------------------------------------------------


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


ODD = (
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


# --- what is rendered -------------------------------------------------------------------------------------


class Drawn(Barcode):
    """Renders its picture as something else."""

    def __init__(self, make, **options):
        super().__init__(LENGTH, **options)
        self._make = make

    def render(self):
        return self._make(super().render())


ONE = {
    "(1, H, W, C)": lambda frame: frame[None],
    "tuple of one": lambda frame: (frame,),
    "tensor": Tensor,
    "pillow": Image.fromarray,
    "palette": lambda frame: Image.fromarray(frame).convert("P"),
    "float 0..255": lambda frame: frame.astype(np.float32),
}


@pytest.mark.parametrize("make", ONE.values(), ids=ONE)
def test_one_frame_in_whatever_form(folder, make):
    env = offcam.RecordVideo(Drawn(make), str(folder), always)
    play(env)
    env.close()
    assert films.numbers(folder / "rl-video-episode-0.mp4") == list(range(LENGTH + 1))
    films.check(folder)


MANY = {
    "tuple of cameras": lambda frame: (frame, frame[::-1]),
    "dict of cameras": lambda frame: {"front": frame, "back": frame[::-1]},
    "picture and depth": lambda frame: (frame, frame[:, :, 0].astype(np.float32) / 255),
    "batch": lambda frame: np.stack([frame, frame]),
}


@pytest.mark.parametrize("make", MANY.values(), ids=MANY)
def test_several_frames_are_tiles(folder, make):
    env = offcam.RecordVideo(Drawn(make), str(folder), always)
    play(env)
    env.close()
    shots = list(films.shots(folder / "rl-video-episode-0.mp4"))
    assert [decode(shot.rgb, 84, 84) for shot in shots] == list(range(LENGTH + 1))
    assert shots[0].rgb.shape == (84, 168, 3)
    films.check(folder)


def test_floats_up_to_255_stay_so_in_a_dark_frame(folder):
    env = offcam.RecordVideo(
        Drawn(lambda frame: frame / 255 if env.step_id == 2 else frame.astype(float)), str(folder), always
    )
    play(env)
    env.close()
    levels = [shot.rgb.max() for shot in films.shots(folder / "rl-video-episode-0.mp4")]
    assert levels[1] > 200
    assert levels[3] < 30  # 1 of 255, not white


@pytest.mark.parametrize("vector", [False, True])
def test_a_frame_on_a_device_is_not_waited_for(folder, vector):
    if vector:
        envs = SyncVectorEnv([lambda: Barcode(LENGTH)] * 3)
        envs.render = lambda: OnDevice(None)
        env = offcam.vector.RecordVideo(envs, str(folder), episode_trigger=lambda episode: episode == 0)
    else:
        env = offcam.RecordVideo(Drawn(OnDevice), str(folder), lambda episode: episode == 0)
    (message,) = run(env)
    assert "frame.cpu().numpy()" in message
    assert films.videos(folder) == []


WHOLE = {
    "(H, W, C)": lambda frame: frame,
    "(1, H, W, C)": lambda frame: frame[None],
    "(H, W)": lambda frame: frame[:, :, 0],
    "list of one": lambda frame: [frame],
    "pillow": Image.fromarray,
}


@pytest.mark.parametrize("first_only", [False, True])
@pytest.mark.parametrize("make", WHOLE.values(), ids=WHOLE)
def test_a_vector_envs_one_picture_of_all(folder, make, first_only):
    class One(SyncVectorEnv):
        def render(self):
            return make(self.envs[0].render())

    envs = One([lambda: Barcode(LENGTH)] * 3)
    env = offcam.vector.RecordVideo(
        envs, str(folder), record_first_only=first_only, step_trigger=lambda step: step == 0, video_length=4
    )
    assert run(env, 4) == []
    assert films.numbers(folder / "rl-video-step-0.mp4") == [1, 2, 3, 4]


@pytest.mark.parametrize("rendered", [None, (), "text", np.zeros(3)], ids=repr)
def test_a_vector_env_that_renders_no_picture(folder, rendered):
    envs = SyncVectorEnv([lambda: Barcode(LENGTH)] * 3)
    envs.render = lambda: rendered
    (message,) = run(offcam.vector.RecordVideo(envs, str(folder), episode_trigger=lambda episode: episode == 0))
    assert "Recording stopped" in message


@pytest.mark.parametrize("first_only", [False, True])
def test_an_env_pool_is_asked_for_all_it_has(folder, first_only):
    class Pool(SyncVectorEnv):
        def render(self, env_ids=(0,)):
            return np.stack([self.envs[index].render() for index in env_ids])

    envs = Pool([lambda: Barcode(LENGTH)] * 4)
    env = offcam.vector.RecordVideo(
        envs, str(folder), record_first_only=first_only, step_trigger=lambda step: step == 0, video_length=2
    )
    assert run(env, 2) == []
    sides = [shot.rgb.shape[0] for shot in films.shots(folder / "rl-video-step-0.mp4")]
    assert sides == [84 if first_only else 168] * 2


# --- what the agent sees ----------------------------------------------------------------------------------

SEEN = {
    "picture": lambda grey: np.repeat(grey[:, :, None], 3, axis=2),
    "grey": lambda grey: grey,
    "channels first": lambda grey: np.stack([grey] * 3),
    "stack": lambda grey: np.stack([grey * 0, grey * 0, grey * 0, grey]),
    "stack behind": lambda grey: np.stack([grey * 0, grey * 0, grey * 0, grey], axis=2),
    "stack of pictures": lambda grey: np.stack([np.zeros((*grey.shape, 3), np.uint8), np.stack([grey] * 3, axis=2)]),
    "dict": lambda grey: {"joints": np.zeros(3), "camera": grey},
}


class Sees(Barcode):
    """Cannot render, and sees a picture."""

    def __init__(self, make):
        super().__init__(LENGTH, render_mode=None)
        self._make = make
        seen = make(encode(0, 84, 84))
        box = lambda value: gym.spaces.Box(0, 255, value.shape, value.dtype)  # noqa: E731
        space = gym.spaces.Dict({k: box(v) for k, v in seen.items()}) if isinstance(seen, dict) else box(seen)
        self.observation_space = space

    def _observe(self):
        return self._make(encode(self.number, 84, 84))


@pytest.mark.parametrize("make", SEEN.values(), ids=SEEN)
def test_what_the_agent_sees(folder, make):
    env = offcam.record(Sees(make), str(folder), every=1, source="obs")
    play(env)
    env.close()
    assert films.numbers(folder / "rl-video-episode-0.mp4") == list(range(LENGTH + 1))
    assert [episode.length for episode in films.episodes(folder)] == [LENGTH]


@pytest.mark.parametrize("make", SEEN.values(), ids=SEEN)
def test_what_the_agents_of_a_vector_env_see(folder, make):
    envs = SyncVectorEnv([lambda: Sees(make)] * 4)
    env = offcam.record(envs, str(folder), source="obs", step_trigger=lambda step: step == 0, video_length=3)
    assert run(env, 4) == []
    shots = list(films.shots(folder / "rl-video-step-0.mp4"))
    assert [decode(shot.rgb, 84, 84) for shot in shots] == [1, 2, 3]
    assert [decode(shot.rgb[84:, 84:], 84, 84) for shot in shots] == [1, 2, 3]


def test_what_is_seen_must_be_a_picture(folder):
    with pytest.raises(offcam.OffcamError, match=r"source='obs' needs an env whose observations are pictures"):
        offcam.RecordVideo(Barcode(), str(folder), source="obs")
    with pytest.raises(offcam.OffcamError, match="source must be 'render' or 'obs', got 'both'"):
        offcam.RecordVideo(Barcode(look=Look()), str(folder), source="both")
    assert not folder.exists()
