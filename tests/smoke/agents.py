"""``agents.py WHICH FOLDER``: what a user's script does. What it has rendered is in ``FOLDER.npz``, to compare with."""

from __future__ import annotations

import sys
import time
from typing import Any

import gymnasium as gym
import numpy as np

import offcam


class Rendered(gym.Wrapper):
    """Keeps what was rendered."""

    def __init__(self, env: Any) -> None:
        super().__init__(env)
        self.pictures: list[Any] = []

    def render(self) -> Any:
        self.pictures.append(self.env.render())
        return self.pictures[-1]


class VectorRendered(gym.vector.VectorWrapper):
    """The same for a vector env."""

    def __init__(self, env: Any) -> None:
        super().__init__(env)
        self.pictures: list[Any] = []

    def render(self) -> Any:
        self.pictures.append(self.env.render())
        return self.pictures[-1]


def play(env: Any, episodes: int, pause: float = 0.0) -> list[dict[str, Any]]:
    """Random episodes; the last info of each."""
    env.action_space.seed(0)
    infos = []
    for episode in range(episodes):
        env.reset(seed=episode)
        over = False
        while not over:
            *_, terminated, truncated, info = env.step(env.action_space.sample())
            over = terminated or truncated
            time.sleep(pause)
        infos.append(info)
    return infos


def single(folder: str) -> None:
    """Three episodes, of which the default schedule records the first two."""
    seen = Rendered(gym.make("CartPole-v1", render_mode="rgb_array"))
    env = offcam.record(seen, folder, overflow="block")
    infos = play(env, 3)
    env.close()
    returns = [float(np.squeeze(info["episode"]["r"])) for info in infos]
    np.savez(f"{folder}.npz", pictures=np.array(seen.pictures)[:, None], returns=returns)


def vector(folder: str) -> None:
    """Three sub-environments, until each has ended an episode and the first one two."""
    envs = gym.make_vec("CartPole-v1", num_envs=3, vectorization_mode="sync", render_mode="rgb_array")
    seen = VectorRendered(envs)
    env = offcam.record(seen, folder, overflow="block")
    env.action_space.seed(0)
    env.reset(seed=0)
    ended = np.zeros(3, int)
    returns: list[float] = []
    while ended[0] < 2 or not ended.all():
        _, _, terminations, truncations, info = env.step(env.action_space.sample())
        over = terminations | truncations
        ended += over
        returns += [float(each) for each in info["episode"]["r"][over]] if over.any() else []
    env.close()
    np.savez(f"{folder}.npz", pictures=np.array(seen.pictures), returns=returns)


def box2d(folder: str) -> None:
    """The first frames of an env of the ``demo`` extra."""
    seen = Rendered(gym.make("LunarLander-v3", render_mode="rgb_array"))
    env = offcam.RecordVideo(seen, folder, video_length=5, overflow="block")
    play(env, 1)
    env.close()
    np.savez(f"{folder}.npz", pictures=np.array(seen.pictures)[:, None])


def endless(folder: str) -> None:
    """One episode that goes on until it is killed."""
    env = gym.make("Pendulum-v1", render_mode="rgb_array", max_episode_steps=10**6)
    play(offcam.record(env, folder, every=1), 1, pause=0.02)


if __name__ == "__main__":
    {each.__name__: each for each in (single, vector, box2d, endless)}[sys.argv[1]](sys.argv[2])
