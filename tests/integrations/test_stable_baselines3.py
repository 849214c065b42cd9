"""Stable-Baselines3: its Monitor lies beneath whatever `make_vec_env` is given."""

from __future__ import annotations

import csv
import re

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import EvalCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from syncing import wait_sent
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import examples
import films
import offcam

pytestmark = [pytest.mark.integrations, pytest.mark.usefixtures("daemon")]

EXAMPLE = "sb3_ppo.py"


def logged(file):
    """Return and length of each episode in a log of Monitor's."""
    with file.open() as text:
        next(text)  # its header
        return [(float(row["r"]), int(row["l"])) for row in csv.DictReader(text)]


def recorded(folder):
    return [(episode.return_, episode.length) for episode in films.episodes(folder)]


def test_a_training_has_the_episodes_of_its_monitors(folder, tmp_path):
    envs = make_vec_env(
        "CartPole-v1",
        n_envs=2,
        seed=3,
        monitor_dir=str(tmp_path / "monitor"),
        env_kwargs={"render_mode": "rgb_array"},
        wrapper_class=offcam.record,
        wrapper_kwargs={"folder": str(folder), "every": 10},
    )
    PPO("MlpPolicy", envs, n_steps=128, device="cpu", seed=3).learn(1024)
    envs.close()
    theirs = [episode for file in (tmp_path / "monitor").glob("*.csv") for episode in logged(file)]
    assert len(theirs) > 10
    assert sorted(recorded(folder)) == sorted(theirs)
    films.check(folder)


def test_an_evaluation_is_what_evaluate_policy_says(folder):
    env = offcam.record(Monitor(gym.make("CartPole-v1", render_mode="rgb_array")), str(folder), every=1)
    model = PPO("MlpPolicy", env, device="cpu")
    returns, lengths = evaluate_policy(model, env, n_eval_episodes=3, return_episode_rewards=True)
    env.close()
    assert recorded(folder) == list(zip(returns, lengths, strict=True))
    films.check(folder)


def test_an_eval_callback_has_a_video_of_each_episode_and_hears_of_it(folder, tmp_path):
    """It resets once more after each evaluation: of that nothing was played, so there is no video."""
    told = []
    env = offcam.record(gym.make("CartPole-v1", render_mode="rgb_array"), str(folder), every=1, on_video=told.append)
    evaluation = EvalCallback(Monitor(env), n_eval_episodes=2, eval_freq=128, log_path=str(tmp_path), verbose=0)
    PPO("MlpPolicy", "CartPole-v1", n_steps=128, device="cpu", seed=3).learn(512, callback=evaluation)
    env.close()
    theirs = np.load(tmp_path / "evaluations.npz")
    played = list(zip(theirs["results"].ravel(), theirs["ep_lengths"].ravel(), strict=True))
    assert len(played) == 8
    assert recorded(folder) == played
    clips = sorted(films.clips(folder).values(), key=lambda clip: clip.episode)
    assert [clip.frames for clip in clips] == [length + 1 for _, length in played]
    assert sorted(told) == sorted(str(folder / name) for name in films.videos(folder))
    films.check(folder)


def test_the_example_learns_and_in_tensorboard_both_logs_are_whole(daemon, tmp_path):
    said = examples.printed(EXAMPLE, daemon, tmp_path)
    training, evaluation = tmp_path / "runs" / "sb3", tmp_path / "runs" / "sb3-evaluations"
    wait_sent(training)
    returns = [return_ for return_, _ in recorded(training)]
    count, first, last, *evaluated = map(int, re.findall(r"\d+", said))
    assert (count, first, last) == (len(returns), round(np.mean(returns[:20])), round(np.mean(returns[-20:])))
    assert last > 2 * first
    means = np.reshape([return_ for return_, _ in recorded(evaluation)], (2, 3)).mean(axis=1)
    assert evaluated == [4096, round(means[0]), 8192, round(means[1])]
    assert len(films.videos(training)) > 1
    assert len(films.videos(evaluation)) == 6
    for folder in (training, evaluation):
        films.check(folder)
    ours, theirs = (
        EventAccumulator(str(tmp_path / "logs" / name), {"scalars": 0}).Reload() for name in ("offcam", "PPO_1")
    )
    assert [each.value for each in ours.Scalars("offcam/return")] == returns
    assert len(ours.Images("offcam/video")) == len(films.videos(training))
    assert [each.step for each in theirs.Scalars("rollout/ep_rew_mean")] == list(range(1024, 8193, 1024))
    told = [(each.step, each.value) for each in theirs.Scalars("eval/mean_reward")]
    assert told == [(4096, pytest.approx(means[0])), (8192, pytest.approx(means[1]))]
