"""Stable-Baselines3's VecEnvs, recorded by the adapter: in this process and in processes of their own."""

from __future__ import annotations

import sys
from functools import partial
from inspect import signature
from types import ModuleType

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor, load_results
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecNormalize, VecVideoRecorder
from syncing import wait_sent

import films
import offcam
from envs import Barcode
from offcam.integrations import stable_baselines3 as recording

pytestmark = [pytest.mark.integrations, pytest.mark.usefixtures("daemon")]

BOTH = pytest.mark.parametrize("kind", [DummyVecEnv, SubprocVecEnv])
PENDULUM = {"render_mode": "rgb_array", "max_episode_steps": 20}


def played(envs, steps):
    """Step envs so often with one action; all infos of episodes that ended."""
    envs.reset()
    action = np.zeros(envs.num_envs, int)
    return [info for _ in range(steps) for info, done in zip(*envs.step(action)[:1:-1], strict=True) if done]


def by_env(folder):
    return [(episode.env_index, episode.return_, episode.length) for episode in films.episodes(folder)]


@BOTH
def test_videos_of_so_many_steps_have_terminal_frames_and_their_names(folder, kind):
    """The second one would begin at step 12, where the first one ends: VecVideoRecorder is not asked there."""
    envs = kind([partial(Barcode, 5), partial(Barcode, 4)])
    asked = []
    begins = lambda step: asked.append(step) or step in (0, 12, 14)  # noqa: E731
    envs = recording.VecRecordVideo(envs, folder, begins, video_length=12, name_prefix="ppo", record_envs=[0])
    played(envs, 20)
    assert envs.recording
    envs.close()
    assert asked == [0, 13, 14]
    assert films.videos(folder) == ["ppo-step-0-to-step-12.mp4", "ppo-step-14-to-step-26.mp4"]
    assert films.numbers(folder / "ppo-step-0-to-step-12.mp4") == [0, 1, 2, 3, 4, 5, 0, 1, 2, 3, 4, 5, 0, 1, 2]
    assert films.numbers(folder / "ppo-step-14-to-step-26.mp4") == [4, 5, 0, 1, 2, 3, 4, 5, 0]
    films.check(folder)


class Theirs(VecVideoRecorder):
    """Stable-Baselines3's own, which notes the names of its videos and writes none."""

    def _stop_recording(self):
        self.env.names.append(self.video_name)
        self.recording, self.recorded_frames = False, []


@pytest.mark.parametrize(
    ("length", "begins"), [(4, {0, 1, 9, 10, 11}), (1, {3, 4, 5, 6}), (200, {2, 30}), (7, {0, 8, 16, 24})]
)
def test_names_are_those_of_vec_video_recorder(folder, tmp_path, monkeypatch, length, begins):
    monkeypatch.setitem(sys.modules, "moviepy", ModuleType("moviepy"))  # without which it cannot be made
    envs = DummyVecEnv([partial(Barcode, 5), partial(Barcode, 4)])
    envs.names = []
    theirs = Theirs(envs, str(tmp_path / "theirs"), begins.__contains__, length, "ppo")
    played(theirs, 32)
    theirs.close()
    ours = recording.VecRecordVideo(
        DummyVecEnv([partial(Barcode, 5), partial(Barcode, 4)]), folder, begins.__contains__, length, "ppo"
    )
    played(ours, 32)
    ours.close()
    assert films.videos(folder) == sorted(envs.names)
    arguments, mine = (
        [(each.name, each.default) for each in signature(kind).parameters.values()]
        for kind in (VecVideoRecorder, recording.VecRecordVideo)
    )
    assert mine[: len(arguments)] == arguments


@pytest.mark.parametrize("kind", ["record", "VecRecordVideo"])
def test_it_is_sent_to_a_tracker(folder, kind):
    envs = DummyVecEnv([partial(Barcode, 5)])
    if kind == "record":
        envs = recording.record(envs, folder, every=1, sync="tensorboard")
    else:
        envs = recording.VecRecordVideo(envs, folder, lambda step: step == 0, video_length=10, sync="tensorboard")
    played(envs, 10)
    envs.close()
    state = wait_sent(folder)
    assert (state.tracker, state.sent_episodes) == ("tensorboard", 2)
    assert state.sent_clips == (2 if kind == "record" else 1)


@BOTH
def test_each_one_has_its_episodes_and_its_videos(folder, kind):
    envs = recording.record(kind([partial(Barcode, 5), partial(Barcode, 3)]), folder, every=1, per_env=True)
    ended = played(envs, 10)
    assert [info["episode"]["r"] for info in ended] == [3, 5, 3, 3, 5]  # there is no Monitor that would say so
    envs.close()
    assert by_env(folder) == [(1, 3, 3), (0, 5, 5), (1, 3, 3), (1, 3, 3), (0, 5, 5)]
    for index, length, episodes in ((0, 5, 2), (1, 3, 3)):
        for episode in range(episodes):
            file = folder / f"rl-video-env-{index}-episode-{episode}.mp4"
            assert films.numbers(file) == list(range(length + 1))
    films.check(folder)


@BOTH
def test_returns_are_those_of_load_results(folder, tmp_path, kind):
    envs = make_vec_env(
        "Pendulum-v1", 2, seed=3, monitor_dir=str(tmp_path / "monitor"), env_kwargs=PENDULUM, vec_env_cls=kind
    )
    envs = VecNormalize(recording.record(envs, folder, every=10, info_keywords=["TimeLimit.truncated"]))
    PPO("MlpPolicy", envs, n_steps=128, device="cpu", seed=3).learn(512)
    envs.close()
    theirs = load_results(str(tmp_path / "monitor"))
    assert len(theirs) == 24
    ours = films.episodes(folder)
    assert sorted((episode.return_, episode.length) for episode in ours) == sorted(
        zip(theirs["r"], theirs["l"], strict=True)
    )
    assert {(episode.truncated, episode.terminated) for episode in ours} == {(True, False)}
    assert {episode.info["TimeLimit.truncated"] for episode in ours} == {1.0}
    assert [episode.seed for episode in ours[:2]] == [3, 4]
    clips = films.clips(folder)
    assert {clip.frames for clip in clips.values() if clip.episode == 0} == {21}
    assert offcam.load(folder).streams[0].env_id == "Pendulum-v1"
    films.check(folder)


class Lives(gym.Wrapper):
    """Is done at each second step, as one that ends an episode with each life, above the Monitor."""

    def step(self, action):
        obs, reward, terminated, truncated, info = super().step(action)
        return obs, reward, terminated or self.unwrapped.number % 2 == 0, truncated, info

    def reset(self, **options):
        if 0 < self.unwrapped.number < self.unwrapped.length:
            return self.unwrapped._observe(), {}
        return super().reset(**options)


def test_an_episode_ends_where_monitor_says_so(folder):
    envs = recording.record(DummyVecEnv([lambda: Lives(Monitor(Barcode(6)))]), folder, every=1)
    played(envs, 12)
    envs.close()
    assert by_env(folder) == [(0, 6, 6)] * 2
    assert [films.numbers(folder / f"rl-video-episode-{episode}.mp4") for episode in (0, 1)] == [list(range(7))] * 2
    films.check(folder)


def test_rules_and_steps(folder):
    """Of the first one, whose episodes are judged; rows are of both."""
    envs = recording.record(
        DummyVecEnv([partial(Barcode, 5), partial(Barcode, 3)]), folder, keep="best(1)", record_envs=[0], steps=True
    )
    envs.reset()
    for step in range(11):
        offcam.trace(envs, value=float(step))
        envs.step(np.ones(2, int))
    envs.close()
    assert len(films.videos(folder)) == 1
    rows = offcam.load(folder).steps(1, env_index=1)
    assert rows["step"].tolist() == [1, 2, 3]
    assert rows["reward"].tolist() == [1, 1, 1]
    assert rows["action"].tolist() == [1, 1, 1]
    assert rows["value"].tolist() == [3, 4, 5]


@pytest.mark.filterwarnings("error:Training and eval env")
@pytest.mark.parametrize(
    ("normalized", "recorded"), [(False, False), (True, False), (False, True)], ids=["plain", "normalized", "both"]
)
def test_evaluations(folder, tmp_path, normalized, recorded):
    """They have the numbers of evaluations.npz, and say after how many steps of the training they were played."""

    def made(n_envs):
        envs = make_vec_env("Pendulum-v1", n_envs, seed=3, env_kwargs=PENDULUM)
        return VecNormalize(envs) if normalized else envs

    train = recording.record(made(2), tmp_path / "training", every=10) if recorded else made(2)
    callback = recording.RecordEvaluations(
        made(1), folder, n_eval_episodes=2, eval_freq=64, log_path=str(tmp_path), verbose=0
    )
    PPO("MlpPolicy", train, n_steps=64, device="cpu", seed=3).learn(256, callback=callback)
    assert len(films.videos(folder)) == 4  # at the training's end
    callback.close()
    train.close()
    theirs = np.load(tmp_path / "evaluations.npz")
    episodes = films.episodes(folder)
    assert [episode.return_ for episode in episodes] == theirs["results"].ravel().tolist()
    assert [episode.info["timesteps"] for episode in episodes] == np.repeat(theirs["timesteps"], 2).tolist()
    assert theirs["timesteps"].tolist() == [128, 256]
    assert all(name.startswith("eval-episode-") for name in films.videos(folder))
    assert {clip.frames for clip in films.clips(folder).values()} == {21}
    films.check(folder)


def test_evaluate_policy(folder):
    envs = recording.record(make_vec_env("Pendulum-v1", 2, env_kwargs=PENDULUM), folder, every=1)
    model = PPO("MlpPolicy", envs, device="cpu")
    returns, lengths = evaluate_policy(model, envs, n_eval_episodes=4, return_episode_rewards=True)
    envs.close()
    assert [(episode.return_, episode.length) for episode in films.episodes(folder)] == list(
        zip(returns, lengths, strict=True)
    )
    films.check(folder)


def test_what_is_wrong_is_said_with_the_fix(folder):
    envs = DummyVecEnv([Barcode])
    with pytest.raises(offcam.ConfigError, match=r"offcam\.integrations\.stable_baselines3\.record\(env, folder\)"):
        offcam.record(envs, folder)
    with pytest.raises(offcam.ConfigError, match="make_vec_env"):
        recording.record(Barcode(), folder)
    with pytest.raises(offcam.ConfigError, match=r"record_video_trigger=lambda step: step % 500 == 0"):
        recording.VecRecordVideo(envs, folder, 500)
    with pytest.raises(offcam.ConfigError, match=r"record\(venv, folder, keep="):
        recording.VecRecordVideo(envs, folder, lambda step: True, keep="best(1)")
    with pytest.raises(ValueError, match="render_mode"):
        recording.record(DummyVecEnv([partial(Barcode, render_mode=None)]), folder)
    assert not folder.exists()
