"""What recording each step costs the loop that plays: with steps, and with all that replay needs, nothing rendered.

``PYTHONPATH=tests python tests/bench/loops.py [--rounds 400] [--steps 100] [ENV ...]`` plays each env by the same
actions from the same seed, alone and recorded, in rounds that take turns, and prints a table, microseconds a step: of
the best round by the clock, and of the median one the CPU time of the loop's thread, which bears a busy machine; and
the ratios to the loop alone. There is no policy, which would make a ratio smaller. A daemon takes in what is recorded
meanwhile. An env that is not installed is left out.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
import warnings
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import gymnasium as gym

import offcam

ENVS = ("CartPole-v1", "LunarLander-v3", "ALE/Breakout-v5", "HalfCheetah-v5")

KINDS: dict[str, tuple[str | None, dict[str, Any]]] = {
    "alone": (None, {}),
    "replay": (None, {"source": "replay"}),
    "could render": ("rgb_array", {}),
    "steps": ("rgb_array", {"steps": True}),
}
"""The env's render mode, with which some are slower though nothing is rendered, and what `RecordVideo` is given. One
that is recorded is compared to the one before, which is not.
"""


class Loop:
    """An env that is played by the same actions in each round, from a seed of its own each time.

    Attributes:
        times: microseconds of a step, the mean of each round.
        cpu: likewise, of the thread's CPU time.
    """

    def __init__(self, env: gym.Env[Any, Any], actions: Sequence[Any]) -> None:
        self.env = env
        self.times: list[float] = []
        self.cpu: list[float] = []
        self._actions = actions

    def play(self, seed: int) -> None:
        """Play a round, of which the first reset is no part."""
        env, step = self.env, self.env.step
        env.reset(seed=seed)
        began, cpu = time.perf_counter_ns(), time.thread_time_ns()
        for action in self._actions:
            _, _, terminated, truncated, _ = step(action)
            if terminated or truncated:
                env.reset()
        self.cpu.append((time.thread_time_ns() - cpu) / 1e3 / len(self._actions))
        self.times.append((time.perf_counter_ns() - began) / 1e3 / len(self._actions))


def measured(env_id: str, rounds: int, steps: int) -> dict[str, tuple[float, float]]:
    """The best time of each kind of loop, and its median CPU time; empty where there is no such env."""
    loops: dict[str, Loop] = {}
    with tempfile.TemporaryDirectory() as folder:
        try:
            for kind, (render_mode, given) in KINDS.items():
                env = gym.make(env_id, render_mode=render_mode)
                env.action_space.seed(0)
                actions = [env.action_space.sample() for _ in range(steps)]
                if given:
                    env = offcam.RecordVideo(env, str(Path(folder) / kind), lambda _: False, **given)
                loops[kind] = Loop(env, actions)
        except gym.error.Error:
            return {}
        order = list(loops.values())
        for number in range(rounds + 1):
            for loop in order:
                loop.play(number)
            order = order[1:] + order[:1]  # whoever comes first may find another cache
        for loop in order:
            loop.env.close()
    # the first round warms up
    return {kind: (min(loop.times[1:]), statistics.median(loop.cpu[1:])) for kind, loop in loops.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("envs", nargs="*", default=ENVS)
    parser.add_argument("--rounds", type=int, default=400)
    parser.add_argument("--steps", type=int, default=100)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    with suppress(ImportError):
        gym.register_envs(import_module("ale_py"))
    print("env              loop          best us   added  ratio    CPU us   added  ratio")
    for env_id in arguments.envs:
        found = measured(env_id, arguments.rounds, arguments.steps)
        alone = cpu_alone = 1.0
        for kind, (best, cpu) in found.items():
            if not KINDS[kind][1]:
                alone, cpu_alone = best, cpu
            print(
                f"{env_id:<16} {kind:<12} {best:>8.2f} {best - alone:>7.2f} {best / alone:>6.3f} "
                f"{cpu:>9.2f} {cpu - cpu_alone:>7.2f} {cpu / cpu_alone:>6.3f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
