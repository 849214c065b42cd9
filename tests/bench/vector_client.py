"""Statistics of thousands of sub-environments, and of one env, for `reach_client`: their cost, and what is stored."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from gymnasium.wrappers import RecordEpisodeStatistics as GymnasiumsSingleStatistics
from gymnasium.wrappers.vector import RecordEpisodeStatistics as GymnasiumsStatistics

from offcam import RecordEpisodeStatistics as SingleStatistics
from offcam import load
from offcam.vector import RecordEpisodeStatistics

if TYPE_CHECKING:
    from collections.abc import Callable

SUB_ENVS = 4096
REPETITIONS = 5
STEPS_OF_ONE = 20_000
PACE = 1_000_000
"""Steps a second of all sub-environments together."""


class Many(VectorEnv[Any, Any, Any]):
    """Sub-environments whose steps cost next to nothing, and whose episodes end after so many, spread evenly."""

    metadata = {"autoreset_mode": AutoresetMode.SAME_STEP}  # noqa: RUF012 - as Gymnasium declares it
    num_envs = SUB_ENVS
    single_observation_space = gym.spaces.Box(0, 1, (4,), np.float32)
    single_action_space = gym.spaces.Discrete(2)

    def __init__(self, length: int) -> None:
        self.observation_space = batch_space(self.single_observation_space, SUB_ENVS)
        self.action_space = batch_space(self.single_action_space, SUB_ENVS)
        self._length = length
        self._seen = np.zeros((SUB_ENVS, 4), np.float32)
        self._rewards, self._never = np.ones(SUB_ENVS), np.zeros(SUB_ENVS, bool)

    def reset(self, *, seed: Any = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        self._steps = np.arange(SUB_ENVS) % self._length
        return self._seen, {}

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        self._steps += 1
        over = self._steps >= self._length
        self._steps[over] = 0
        return self._seen, self._rewards, over, self._never, {}


def statistics(length: int, folder: str, ready: Callable[[], float]) -> dict[str, float]:
    os.environ["OFFCAM_DIR"] = folder
    ready()
    wraps: dict[str, Callable[[Any], Any]] = {
        "none": lambda env: env, "gymnasium": GymnasiumsStatistics, "offcam": RecordEpisodeStatistics,
    }  # fmt: skip
    costs = {name: [_cost(wrap(Many(length))) for _ in range(REPETITIONS)] for name, wrap in wraps.items()}
    mean = {name: min(each for each, _ in found) for name, found in costs.items()}
    longest = {f"{name}'s longest": min(each for _, each in found) for name, found in costs.items() if name != "none"}
    ratio = (mean["offcam"] - mean["none"]) / (mean["gymnasium"] - mean["none"])
    return {"episodes of": length, **mean, "offcam/gymnasium": ratio, **longest}


def _cost(env: Any) -> tuple[float, float]:
    """Microseconds of this thread's CPU that a step takes, in the mean and at most."""
    env.reset()
    actions = np.zeros(SUB_ENVS, int)
    spent = []
    for _ in range(1000):
        begun = time.thread_time_ns()
        env.step(actions)
        spent.append(time.thread_time_ns() - begun)
    env.close()
    return sum(spent) / len(spent) / 1000, max(spent) / 1000


class One(gym.Env[int, int]):
    """An env whose steps cost next to nothing, and whose episodes end after so many."""

    observation_space = gym.spaces.Discrete(1)
    action_space = gym.spaces.Discrete(1)

    def __init__(self, length: int, **info: float) -> None:
        self._length, self._info = length, info

    def reset(self, *, seed: Any = None, options: Any = None) -> tuple[int, dict[str, Any]]:
        self._steps = 0
        return 0, {}

    def step(self, action: int) -> tuple[int, float, bool, bool, dict[str, Any]]:
        self._steps += 1
        return 0, 1.0, self._steps >= self._length, False, dict(self._info)


def single(length: int, folder: str, ready: Callable[[], float]) -> dict[str, float]:
    os.environ["OFFCAM_DIR"] = folder
    ready()
    wraps: dict[str, Callable[[], gym.Env[int, int]]] = {
        "none": lambda: One(length),
        "gymnasium": lambda: GymnasiumsSingleStatistics(One(length)),
        "offcam": lambda: SingleStatistics(One(length)),
        "offcam with is_success": lambda: SingleStatistics(One(length, is_success=1.0)),
    }
    costs = {name: min(_cost_of_one(wrap()) for _ in range(REPETITIONS)) for name, wrap in wraps.items()}
    return {"episodes of": length, **costs, "offcam - gymnasium": costs["offcam"] - costs["gymnasium"]}


def _cost_of_one(env: gym.Env[int, int]) -> float:
    env.reset()
    begun = time.thread_time()
    for _ in range(STEPS_OF_ONE):
        if env.step(0)[2]:
            env.reset()
    spent = time.thread_time() - begun
    env.close()
    return spent / STEPS_OF_ONE * 1e6


def million(seconds: int, folder: str, ready: Callable[[], float]) -> dict[str, float]:
    os.environ["OFFCAM_DIR"] = folder
    env = RecordEpisodeStatistics(cast("Any", Many(20)))
    env.reset()
    actions, steps, begun = np.zeros(SUB_ENVS, int), 0, ready()
    cpu = time.thread_time()
    while (passed := time.perf_counter() - begun) < seconds:
        while steps * SUB_ENVS < passed * PACE:
            env.step(actions)
            steps += 1
        time.sleep(0.0005)
    cpu = time.thread_time() - cpu
    env.close()
    passed = time.perf_counter() - begun
    stored = sum(len(load(run).episodes) for run in Path(folder).iterdir())
    return {
        "steps a second": steps * SUB_ENVS / passed,
        "episodes a second": env.episode_count / passed,
        "stored": stored,
        "of": env.episode_count,
        "thread": cpu / passed,
    }
