"""TorchRL: envs that are recorded within its own, and what its VideoRecorder hands to a logger."""

from __future__ import annotations

import re
from functools import partial

import gymnasium as gym
import pytest
import torch
from torchrl.envs import GymWrapper, ParallelEnv, TransformedEnv
from torchrl.record import CSVLogger, VideoRecorder

import examples
import films
import offcam
from envs import Barcode
from offcam.integrations.torchrl import OffcamLogger

pytestmark = [pytest.mark.integrations, pytest.mark.usefixtures("daemon")]

EXAMPLE = "torchrl_training.py"


def made(folder, index=0):
    env = gym.make("CartPole-v1", render_mode="rgb_array", max_episode_steps=7)
    return GymWrapper(offcam.record(env, folder, every=1, name_prefix=f"env-{index}"))


def test_a_recorded_env_in_gym_wrapper(folder):
    env = made(folder)
    rolls = [env.rollout(20) for _ in range(2)]
    env.close()
    episodes = films.episodes(folder)
    assert [(episode.return_, episode.length) for episode in episodes] == [
        (roll["next", "reward"].sum().item(), len(roll)) for roll in rolls
    ]
    assert films.videos(folder) == [f"env-0-episode-{number}.mp4" for number in (0, 1)]
    films.check(folder)


def test_in_processes_of_its_own(folder):
    env = ParallelEnv(2, [partial(made, str(folder), index) for index in range(2)])
    roll = env.rollout(7, break_when_any_done=False)
    env.close()
    episodes = films.episodes(folder)
    assert sum(episode.length for episode in episodes) <= 14
    assert len(episodes) == int(roll["next", "done"].sum())
    assert films.videos(folder)[:1] == ["env-0-episode-0.mp4"]
    films.check(folder)


class Pixels(gym.Wrapper):
    """Its observation is its picture."""

    def __init__(self, env):
        super().__init__(env)
        env.reset()
        self.observation_space = gym.spaces.Dict(
            {"pixels": gym.spaces.Box(0, 255, env.render().shape, "uint8")},
        )

    def reset(self, **options):
        return {"pixels": self.env.reset(**options)[0] is not None and self.env.render()}, {}

    def step(self, action):
        _, *rest = self.env.step(action)
        return {"pixels": self.env.render()}, *rest


def test_what_a_video_recorder_dumps(folder, tmp_path):
    kept = CSVLogger("kept", str(tmp_path / "csv"))
    logger = OffcamLogger("run", folder.parent, fps=12, others=kept)
    env = TransformedEnv(GymWrapper(Pixels(Barcode(5))), VideoRecorder(logger, tag="eval/short", skip=1))
    for _ in range(2):
        env.rollout(5)
        env.transform.dump()
    logger.log_video("grey", torch.full((2, 1, 3, 1, 64, 64), 7, dtype=torch.uint8), fps=5)
    logger.log_scalar("loss", 0.5, step=3)
    logger.close()
    assert films.videos(folder) == ["run-eval-short-0.mp4", "run-eval-short-1.mp4", "run-grey-0.mp4"]
    assert [films.numbers(folder / f"run-eval-short-{number}.mp4") for number in (0, 1)] == [list(range(6))] * 2
    assert {name: (clip.fps, clip.frames) for name, clip in films.clips(folder).items()} == {
        "run-eval-short-0.mp4": (12, 6),
        "run-eval-short-1.mp4": (12, 6),
        "run-grey-0.mp4": (5, 6),
    }
    assert "0.5" in (tmp_path / "csv" / "kept" / "scalars" / "loss.csv").read_text()
    films.check(folder)


def test_the_example_has_the_videos_of_its_training_and_of_its_evaluations(daemon, tmp_path):
    said = examples.printed(EXAMPLE, daemon, tmp_path)
    training, evaluation = tmp_path / "runs" / "torchrl", tmp_path / "runs" / "torchrl-evaluation"
    returns = [episode.return_ for episode in films.episodes(training)]
    count, first, last = map(int, re.findall(r"\d+", said))
    assert (count, first, last) == (40, round(sum(returns[:10]) / 10), round(sum(returns[-10:]) / 10))
    assert films.videos(training) == [f"rl-video-episode-{number}.mp4" for number in range(0, 40, 10)]
    assert films.videos(evaluation) == [f"torchrl-evaluation-policy-{number}.mp4" for number in range(2)]
    films.check(training)
    films.check(evaluation)
