"""Stable-Baselines3: its Monitor lies beneath whatever `make_vec_env` is given."""

from __future__ import annotations

import csv

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import EvalCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor

import films
import offcam

pytestmark = [pytest.mark.integrations, pytest.mark.usefixtures("daemon")]


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
