"""What the info of an episode's last step says of it: recorded as Stable-Baselines3's Monitor has it."""

from __future__ import annotations

import math
from typing import ClassVar

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

import offcam
from envs import Barcode, play
from offcam_proto.errors import ConfigError

pytestmark = pytest.mark.usefixtures("daemon")

KEYWORDS = ("distance", "lives")


class Told(Barcode):
    """Says of its episodes what it is given; infos of other steps and of resets say something else."""

    def __init__(self, episodes, length=3):
        super().__init__(length)
        self._episodes = iter(episodes)

    def reset(self, **options):
        obs, info = super().reset(**options)
        return obs, {**info, "is_success": True, "distance": -1.0}

    def step(self, action):
        obs, reward, terminated, truncated, info = super().step(action)
        last = terminated or truncated
        return obs, reward, terminated, truncated, {**info, **(next(self._episodes) if last else {"distance": -2.0})}


class Monitor(gym.Wrapper):
    """What Stable-Baselines3's Monitor puts into ``info["episode"]`` of the keywords, as of version 2.7."""

    def __init__(self, env, info_keywords):
        super().__init__(env)
        self.info_keywords, self.rows = info_keywords, []

    def step(self, action):
        obs, reward, terminated, truncated, info = self.env.step(action)
        if terminated or truncated:
            self.rows.append({key: info[key] for key in self.info_keywords})  # KeyError where one is missing
        return obs, reward, terminated, truncated, info


EPISODES = [
    {"is_success": np.bool_(True), "distance": 0.25, "lives": 3},
    {"is_success": False, "distance": np.float32(0.5), "lives": np.array([2])},
    {"is_success": np.True_, "distance": math.inf, "lives": 0},
]


def infos(folder):
    return [episode.info for episode in offcam.load(folder).episodes]


def test_the_values_are_monitors(tmp_path):
    monitor = Monitor(Told(EPISODES), ("is_success", *KEYWORDS))
    env = offcam.RecordEpisodeStatistics(monitor, folder=tmp_path / "run", info_keywords=KEYWORDS)
    play(env, 3)
    env.close()
    found = [{name: float(np.asarray(value).item()) for name, value in row.items()} for row in monitor.rows]
    assert infos(tmp_path / "run") == found
    episodes = offcam.load(tmp_path / "run").episodes
    assert episodes.info["distance"].tolist() == [0.25, 0.5, math.inf]
    assert episodes.success_rate().as_dict() | {"interval": None} == {
        "rule": "is_success", "successes": 2, "count": 3, "rate": 2 / 3, "interval": None, "confidence": 0.95,
    }  # fmt: skip
    assert episodes.success_rate("distance < 0.4").successes == 1
    assert list(episodes[1:2].info["lives"]) == [2.0]


@pytest.mark.parametrize("odd", ["0.5", None, {"a": 1}, [1, 2], np.zeros(2), float("nan"), object()])
def test_what_is_missing_or_no_number_is_unknown_and_raises_nothing(tmp_path, odd):
    env = offcam.RecordEpisodeStatistics(
        Told([{"distance": odd}, {"distance": 1.0}, {}]), folder=tmp_path / "run", info_keywords=KEYWORDS
    )
    play(env, 3)
    env.close()
    assert infos(tmp_path / "run") == [{}, {"distance": 1.0}, {}]
    episodes = offcam.load(tmp_path / "run").episodes
    np.testing.assert_equal(episodes.info["distance"], [math.nan, 1.0, math.nan])
    assert episodes.success_rule is None
    with pytest.raises(ConfigError, match="nobody said what success is"):
        episodes.success_rate()


def test_success_is_taken_without_being_asked_for(tmp_path):
    env = offcam.RecordEpisodeStatistics(Told([{"success": True, "distance": 1.0}] * 2), folder=tmp_path / "run")
    play(env, 2)
    env.close()
    assert infos(tmp_path / "run") == [{"success": 1.0}] * 2
    assert offcam.load(tmp_path / "run").episodes.success_rate().rate == 1.0


@pytest.mark.parametrize("mode", AutoresetMode)
def test_of_a_vector_env(tmp_path, mode):
    said = [
        [{"distance": 0.5, "is_success": True}, {"distance": 1.5, "is_success": False}],
        [{"lives": 7}, {"distance": 3.0}],
    ]
    envs = SyncVectorEnv(
        [lambda each=each, length=length: Told(iter(each), length) for each, length in zip(said, (2, 3), strict=True)],
        autoreset_mode=mode,
    )
    env = offcam.vector.RecordEpisodeStatistics(envs, folder=tmp_path / "run", info_keywords=list(KEYWORDS))
    env.reset()
    ends = np.zeros(2, int)
    while ends.min() < 1 or ends[0] < 2:
        *_, terminated, truncated, _ = env.step(np.zeros(2, int))
        over = terminated | truncated
        ends += over
        if mode is AutoresetMode.DISABLED and over.any():
            env.reset(options={"reset_mask": over})
    env.close()
    found = [
        [each.info for each in offcam.load(tmp_path / "run").episodes if each.env_index == index] for index in range(2)
    ]
    assert found[0] == [{"distance": 0.5, "is_success": 1.0}, {"distance": 1.5, "is_success": 0.0}]
    assert found[1] == [{"lives": 7.0}, {"distance": 3.0}][: len(found[1])]
    assert found[1]


class Simulator(gym.Env):
    """One env that steps three at once, as simulators do."""

    num_envs = 3
    observation_space = gym.spaces.Box(0, 1, (3, 1))
    action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros((3, 1), np.float32), {}

    def step(self, _action):
        over = np.array([True, False, True])
        info = {"success": np.array([[True], [True], [False]]), "distance": np.float32(3.0), "lives": np.arange(3)}
        return np.zeros((3, 1), np.float32), np.ones(3), over, np.zeros(3, bool), info


def test_of_a_single_env_that_steps_many_at_once(tmp_path):
    env = offcam.RecordEpisodeStatistics(Simulator(), folder=tmp_path / "run", info_keywords=KEYWORDS)
    env.reset()
    env.step(0)
    env.close()
    assert infos(tmp_path / "run") == [{"success": 1.0, "lives": 0.0}, {"success": 0.0, "lives": 2.0}]


def test_most_of_them_in_many_sub_environments_at_once(tmp_path):
    names = [f"value-{number}-" + "x" * 50 for number in range(16)]

    class Many(gym.vector.VectorEnv):
        num_envs = 2000
        single_observation_space = observation_space = gym.spaces.Box(0, 1, (1,))
        single_action_space = action_space = gym.spaces.Discrete(2)
        metadata: ClassVar = {"autoreset_mode": AutoresetMode.SAME_STEP}

        def reset(self, *, seed=None, options=None):
            return np.zeros((2000, 1)), {}

        def step(self, _actions):
            over = np.ones(2000, bool)
            final = {name: np.arange(2000) * (number + 1.0) for number, name in enumerate(names)}
            return np.zeros((2000, 1)), np.ones(2000), over, ~over, {"final_info": final, names[0]: np.full(2000, -1.0)}

    env = offcam.vector.RecordEpisodeStatistics(Many(), folder=tmp_path / "run", info_keywords=names)
    env.reset()
    env.step(np.zeros(2000, int))
    env.close()
    run = offcam.load(tmp_path / "run")
    assert (len(run.episodes), run.quarantined) == (2000, 0)
    for number, name in enumerate(names):
        assert np.array_equal(run.episodes.info[name], np.arange(2000) * (number + 1.0))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("is_success", r"info_keywords=\('is_success',\)"),
        (3, "must be keys of info"),
        (iter(["score"]), "must be keys of info"),
        ([1], "must be text"),
        ([["score"]], "must be text"),
        ([""], "must be text"),
        (["a\0"], "must be text"),
        (["ä" * 33], "of at most 64 bytes"),
        ([str(number) for number in range(17)], "at most 16 keys of info, got 17"),
    ],
)
def test_what_are_no_keywords_is_said_at_construction(tmp_path, given, message):
    for wrap in (
        lambda: offcam.RecordEpisodeStatistics(Barcode(2), info_keywords=given),
        lambda: offcam.vector.RecordEpisodeStatistics(SyncVectorEnv([lambda: Barcode(2)]), info_keywords=given),
        lambda: offcam.record(Barcode(2), tmp_path / "never", info_keywords=given),
    ):
        with pytest.raises(ConfigError, match=message):
            wrap()
    assert not (tmp_path / "never").exists()
