"""What recording each step costs the loop that plays: with steps, and with all that replay needs, nothing rendered.

``PYTHONPATH=tests python tests/bench/loops.py [--rounds 400] [--steps 100] [ENV ...]`` plays each env by the same
actions from the same seed, alone and recorded, in rounds that take turns, and prints a table: the best and the median
round of each, microseconds a step, and the ratios to the loop alone. There is no policy, which would make a ratio
smaller. A daemon takes in what is recorded meanwhile. An env that is not installed is left out.
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

KINDS: dict[str, dict[str, Any]] = {"alone": {}, "steps": {"steps": True}, "replay": {"source": "replay"}}
"""How an env is recorded: what `RecordVideo` is given; nothing for the loop alone."""


class Loop:
    """An env that is played by the same actions in each round, from a seed of its own each time.

    Attributes:
        times: seconds of a step, the mean of each round.
    """

    def __init__(self, env: gym.Env[Any, Any], actions: Sequence[Any]) -> None:
        self.env = env
        self.times: list[float] = []
        self._actions = actions

    def play(self, seed: int) -> None:
        """Play a round, of which the first reset is no part."""
        env, step = self.env, self.env.step
        env.reset(seed=seed)
        began = time.perf_counter_ns()
        for action in self._actions:
            _, _, terminated, truncated, _ = step(action)
            if terminated or truncated:
                env.reset()
        self.times.append((time.perf_counter_ns() - began) / 1e9 / len(self._actions))


def measured(env_id: str, rounds: int, steps: int) -> dict[str, list[float]] | None:
    """The times of each kind of loop; None where there is no such env."""
    loops: dict[str, Loop] = {}
    with tempfile.TemporaryDirectory() as folder:
        try:
            for kind, given in KINDS.items():
                env = gym.make(env_id, render_mode="rgb_array" if "steps" in given else None)  # which it never does
                env.action_space.seed(0)
                actions = [env.action_space.sample() for _ in range(steps)]
                if given:
                    env = offcam.RecordVideo(env, str(Path(folder) / kind), lambda _: False, **given)
                loops[kind] = Loop(env, actions)
        except gym.error.Error:
            return None
        order = list(loops.values())
        for number in range(rounds + 1):
            for loop in order:
                loop.play(number)
            order = order[1:] + order[:1]  # whoever comes first may find another cache
        for loop in order:
            loop.env.close()
    return {kind: loop.times[1:] for kind, loop in loops.items()}  # the first round warms up


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("envs", nargs="*", default=ENVS)
    parser.add_argument("--rounds", type=int, default=400)
    parser.add_argument("--steps", type=int, default=100)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    with suppress(ImportError):
        gym.register_envs(import_module("ale_py"))
    print("env              loop     best us  median us  added us  best ratio  median ratio")
    for env_id in arguments.envs:
        found = measured(env_id, arguments.rounds, arguments.steps) or {}
        for kind, times in found.items():
            best, median = min(times), statistics.median(times)
            alone_best, alone_median = min(found["alone"]), statistics.median(found["alone"])
            print(
                f"{env_id:<16} {kind:<7} {best * 1e6:>8.2f} {median * 1e6:>10.2f} {(best - alone_best) * 1e6:>9.2f} "
                f"{best / alone_best:>11.3f} {median / alone_median:>13.3f}"
            )


if __name__ == "__main__":
    main()
