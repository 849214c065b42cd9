"""``python -m offcam.demo FOLDER``: records two small agents with both wrappers. ``offcam demo`` runs it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import gymnasium as gym

from offcam import RecordEpisodeStatistics, RecordVideo

EPISODES = 3


def balance(_env: Any, obs: Any) -> int:  # noqa: ANN401 - an agent's view of any env
    """CartPole: push towards the side the pole is falling to."""
    return int(obs[2] + 0.4 * obs[3] + 0.05 * obs[1] > 0)


def land(env: Any, obs: Any) -> Any:  # noqa: ANN401 - as above
    """LunarLander: the heuristic that Gymnasium ships with it."""
    from gymnasium.envs.box2d.lunar_lander import heuristic  # noqa: PLC0415 - needs Box2D

    return heuristic(env.unwrapped, obs)  # type: ignore[no-untyped-call]  # as Gymnasium has it


def record(env_id: str, agent: Callable[[Any, Any], Any], folder: str) -> None:
    """Record all of `EPISODES` episodes of an agent."""
    env: Any = gym.make(env_id, render_mode="rgb_array")
    env = RecordVideo(env, folder, name_prefix=env_id, episode_trigger=lambda _: True, overflow="block")
    env = RecordEpisodeStatistics(env, buffer_length=EPISODES)
    print(f"{env_id}: recording {EPISODES} episodes", flush=True)  # noqa: T201 - for the person at the terminal
    for episode in range(EPISODES):
        obs, _ = env.reset(seed=episode)
        over = False
        while not over:
            obs, _, terminated, truncated, _ = env.step(agent(env, obs))
            over = terminated or truncated
        print(f"  episode {episode}: return {env.return_queue[-1]:.1f}", flush=True)  # noqa: T201 - as above
    env.close()


def main(folder: str) -> None:
    """Record CartPole, and LunarLander where Box2D is installed."""
    record("CartPole-v1", balance, os.path.join(folder, "cartpole"))
    if find_spec("Box2D") is None:
        print('LunarLander is left out, as Box2D is not installed: pip install "offcam[demo]"')  # noqa: T201 - as above
        return
    record("LunarLander-v3", land, os.path.join(folder, "lunarlander"))


if __name__ == "__main__":
    main(sys.argv[1])
