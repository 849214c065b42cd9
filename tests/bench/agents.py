"""The loop that is timed: an env with a clock around it, and an agent that acts at random by a seed."""

from __future__ import annotations

import importlib
import time
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

SEED = 7


class Clocked(gym.Wrapper[Any, Any, Any, Any]):
    """Counts the time that the env itself takes, so that what a recorder adds to a step can be told apart.

    Attributes:
        ns: nanoseconds spent in ``reset``, ``step`` and ``render``.
    """

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        super().__init__(env)
        self.ns = 0

    def reset(self, **options: Any) -> tuple[Any, dict[str, Any]]:
        begin = time.perf_counter_ns()
        result = self.env.reset(**options)
        self.ns += time.perf_counter_ns() - begin
        return result

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        begin = time.perf_counter_ns()
        result = self.env.step(action)
        self.ns += time.perf_counter_ns() - begin
        return result

    def render(self) -> Any:
        begin = time.perf_counter_ns()
        result = self.env.render()
        self.ns += time.perf_counter_ns() - begin
        return result


class Times:
    """What a loop measured, a value for each step.

    Attributes:
        loop_seconds: the whole loop, resets included.
        step_ms: each step with the reset that followed it.
        beyond_us: of the steps that no reset followed, what was spent outside of the env.
        frames: pictures that a recorder had to take: one for each reset and each step.
    """

    def __init__(self, loop_ns: int, step_ns: list[int], beyond_ns: list[int], frames: int) -> None:
        self.loop_seconds = loop_ns / 1e9
        self.step_ms = np.array(step_ns) / 1e6
        self.beyond_us = np.array(beyond_ns) / 1e3
        self.frames = frames


def make(env_id: str) -> gym.Env[Any, Any]:
    """An env that renders arrays."""
    if env_id.startswith("ALE/"):
        gym.register_envs(importlib.import_module("ale_py"))
    env: gym.Env[Any, Any] = gym.make(env_id, render_mode="rgb_array")
    return env


def actions(env: gym.Env[Any, Any], steps: int) -> list[Any]:
    """The same actions for every recorder, drawn before the clock runs."""
    env.action_space.seed(SEED)
    return [env.action_space.sample() for _ in range(steps)]


def run(env: gym.Env[Any, Any], clock: Clocked, plan: list[Any]) -> Times:
    """Act, and reset when an episode is over. ``env`` records; ``clock`` is within it."""
    step_ns: list[int] = []
    beyond_ns: list[int] = []
    now = time.perf_counter_ns
    start = now()
    env.reset(seed=SEED)
    frames = 1
    for action in plan:
        inside, begin = clock.ns, now()
        _, _, terminated, truncated, _ = env.step(action)
        frames += 1
        if terminated or truncated:
            env.reset()
            frames += 1
            step_ns.append(now() - begin)
        else:
            took = now() - begin
            step_ns.append(took)
            beyond_ns.append(took - (clock.ns - inside))
    return Times(now() - start, step_ns, beyond_ns, frames)


def replay(env_id: str, steps: int) -> Iterator[list[np.ndarray]]:
    """What `run` rendered, an episode at a time."""
    env = make(env_id)
    plan = actions(env, steps)
    env.reset(seed=SEED)
    episode: list[Any] = [env.render()]
    for action in plan:
        _, _, terminated, truncated, _ = env.step(action)
        episode.append(env.render())
        if terminated or truncated:
            yield episode
            env.reset()
            episode = [env.render()]
    yield episode
    env.close()
