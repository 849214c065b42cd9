"""Trainings that are sent to a tracker, and what was recorded of them to compare with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import gymnasium as gym

import offcam
from offcam_runs.sync.state import SyncState, read_all
from waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

EPISODES, EVERY = 100, 25


def train(folder: Path, sync: str, log: Callable[[int, float], object] = lambda episode, return_: None) -> list[float]:
    """Train an agent that learns nothing, and send it; returns each episode's return.

    Args:
        folder: of the run.
        sync: where it is sent.
        log: called after each episode: the user's own.
    """
    env = offcam.record(gym.make("CartPole-v1", render_mode="rgb_array"), folder, every=EVERY)
    offcam.sync(env, sync)
    returns = play_logged(env, EPISODES, log)
    env.close()
    return returns


def play_logged(env: gym.Env, episodes: int, log: Callable[[int, float], object]) -> list[float]:
    """Play episodes, and call the user's own logging after each; returns each episode's return."""
    returns = []
    for episode in range(episodes):
        env.reset(seed=episode)
        over = False
        while not over:
            _, _, terminated, truncated, info = env.step(env.action_space.sample())
            over = terminated or truncated
        returns.append(float(info["episode"]["r"]))
        log(episode, returns[-1])
    return returns


def state(folder: Path) -> SyncState:
    """How far a run was sent, to its one place."""
    (found,) = read_all(folder)
    return found.state


def wait_sent(folder: Path) -> SyncState:
    """Wait until all is sent and its process is gone."""
    return wait_until(
        lambda: (found := read_all(folder)) and found[0].state.over and not found[0].working and found[0].state,
        "all is sent",
        lambda: read_all(folder),
    )


def send_again(folder: Path) -> None:
    """Send it once more as if nobody had noted that it was: as a process that was killed in a bad moment leaves it."""
    (found,) = read_all(folder)
    found.file.unlink()
    options = {name: value for name, value in found.state.options.items() if value}
    assert offcam.sync(folder, found.state.tracker, **options).wait()
