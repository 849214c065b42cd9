"""Which run an env's statistics are recorded into: the one that its process, or its whole training, records already."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv

import films
import offcam
from envs import Barcode, play
from offcam import RecordEpisodeStatistics

pytestmark = pytest.mark.usefixtures("daemon")


@pytest.mark.parametrize("above", [True, False])
def test_statistics_join_the_video_above_or_beneath(tmp_path, above):
    folder = str(tmp_path / "run")
    env = Barcode(3)
    if above:
        env = RecordEpisodeStatistics(offcam.RecordVideo(env, folder))
    else:
        env = offcam.RecordVideo(RecordEpisodeStatistics(env), folder)
    play(env, 2)
    env.close()
    assert [episode.length for episode in films.episodes(tmp_path / "run")] == [3, 3]
    assert len({episode.stream for episode in films.episodes(tmp_path / "run")}) == 1
    assert not (tmp_path / "offcam-runs").exists()
    clip = films.clips(tmp_path / "run")["rl-video-episode-0.mp4"]
    assert (clip.return_, clip.length, clip.episode) == (3.0, 3, 0)


def test_other_wrappers_in_between_do_not_matter(tmp_path):
    env = gym.wrappers.TimeLimit(offcam.RecordVideo(Barcode(9), str(tmp_path / "run")), 4)
    env = RecordEpisodeStatistics(gym.wrappers.TransformReward(env, lambda reward: 2 * reward))
    play(env)
    env.close()
    (episode,) = films.episodes(tmp_path / "run")
    assert (episode.return_, episode.length, episode.truncated) == (8.0, 4, True)


def test_statistics_alone_get_a_folder_of_their_own(tmp_path, monkeypatch):
    monkeypatch.setenv("OFFCAM_DIR", str(tmp_path / "elsewhere"))
    env = RecordEpisodeStatistics(gym.make("CartPole-v1"))
    play(env)
    env.close()
    (folder,) = (tmp_path / "elsewhere").iterdir()
    assert re.fullmatch(r"\d{8}T\d{6}Z-CartPole-v1-[0-9a-f]{6}", folder.name)
    assert len(films.episodes(folder)) == 1


def one_with_videos(tmp_path, count=3):
    """Sub-envs as training scripts make them: all have statistics, the first one has videos, too."""

    def make(index):
        env = Barcode(2 + index)
        return RecordEpisodeStatistics(offcam.RecordVideo(env, str(tmp_path / "videos")) if index == 0 else env)

    return SyncVectorEnv([lambda index=index: make(index) for index in range(count)])


def test_statistics_alone_join_the_one_run_that_has_videos(tmp_path, monkeypatch):
    monkeypatch.setenv("OFFCAM_DIR", str(tmp_path / "elsewhere"))
    envs = one_with_videos(tmp_path)
    envs.reset()
    for _ in range(12):
        envs.step(np.zeros(3, int))
    envs.close()
    assert not (tmp_path / "elsewhere").exists()
    found = films.episodes(tmp_path / "videos")
    assert sorted({episode.length for episode in found}) == [2, 3, 4]
    assert len({episode.stream for episode in found}) == 3


def test_statistics_alone_join_each_other(tmp_path, monkeypatch):
    monkeypatch.setenv("OFFCAM_DIR", str(tmp_path / "all"))
    envs = [RecordEpisodeStatistics(Barcode(2)) for _ in range(3)]
    for env in envs:
        play(env)
    evaluation = offcam.RecordVideo(Barcode(2), str(tmp_path / "evaluation"))
    late = RecordEpisodeStatistics(Barcode(2))
    play(late)
    for env in (*envs, evaluation, late):
        env.close()
    (run,) = (tmp_path / "all").iterdir()
    assert len(films.episodes(run)) == 4


@pytest.mark.parametrize("vector", [False, True])
def test_statistics_have_the_folder_that_they_are_given(tmp_path, monkeypatch, vector):
    monkeypatch.setenv("OFFCAM_RUN", str(tmp_path / "elsewhere"))
    videos = offcam.record(Barcode(2), tmp_path / "videos")
    if vector:
        env = offcam.vector.RecordEpisodeStatistics(SyncVectorEnv([lambda: Barcode(2)]), folder=tmp_path / "mine")
        env.reset()
        for _ in range(2):
            env.step(np.zeros(1, int))
    else:
        env = RecordEpisodeStatistics(Barcode(2), folder=tmp_path / "mine")
        play(env)
    assert env.run_folder == str(tmp_path / "mine")
    beside = RecordEpisodeStatistics(offcam.RecordVideo(Barcode(2), str(tmp_path / "seen")), folder=tmp_path / "mine")
    play(beside)
    for each in (env, beside, videos):
        each.close()
    assert len(films.episodes(tmp_path / "mine")) == 2
    assert len(films.episodes(tmp_path / "seen")) == 0


def test_an_env_for_evaluation_alone_takes_no_statistics_with_it(tmp_path, monkeypatch):
    monkeypatch.setenv("OFFCAM_DIR", str(tmp_path / "all"))
    evaluation = offcam.RecordVideo(Barcode(2), str(tmp_path / "evaluation"))  # made first, and Monitor has its returns
    env = RecordEpisodeStatistics(Barcode(2))
    play(env)
    for each in (evaluation, env):
        each.close()
    (run,) = (tmp_path / "all").iterdir()
    assert len(films.episodes(run)) == 1


def test_of_two_runs_with_videos_none_is_joined(tmp_path, monkeypatch):
    monkeypatch.setenv("OFFCAM_DIR", str(tmp_path / "all"))
    videos = [offcam.RecordVideo(Barcode(2), str(tmp_path / name)) for name in ("training", "evaluation")]
    env = RecordEpisodeStatistics(Barcode(2))
    play(env)
    for each in (*videos, env):
        each.close()
    (run,) = (tmp_path / "all").iterdir()
    assert len(films.episodes(run)) == 1


def test_a_run_that_was_left_is_not_joined(tmp_path, monkeypatch):
    monkeypatch.setenv("OFFCAM_DIR", str(tmp_path / "all"))
    for _ in range(2):
        env = RecordEpisodeStatistics(Barcode(2))
        play(env)
        env.close()
    assert [len(films.episodes(run)) for run in (tmp_path / "all").iterdir()] == [1, 1]


def test_the_variable_names_the_run_of_all_that_have_no_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("OFFCAM_DIR", str(tmp_path / "all"))
    monkeypatch.setenv("OFFCAM_RUN", "ours")
    videos = offcam.RecordVideo(Barcode(2), str(tmp_path / "videos"))
    env = RecordEpisodeStatistics(Barcode(2))
    play(env)
    both = offcam.record(Barcode(2))
    play(both)
    for each in (videos, env, both):
        each.close()
    assert [run.name for run in (tmp_path / "all").iterdir()] == ["ours"]
    assert len(films.episodes(tmp_path / "all" / "ours")) == 2


def test_processes_that_have_the_variable_record_into_one_run(tmp_path, monkeypatch):
    monkeypatch.setenv("OFFCAM_RUN", str(tmp_path / "ours"))
    envs = AsyncVectorEnv([lambda: RecordEpisodeStatistics(Barcode(2))] * 2, context="spawn")
    envs.reset()
    for _ in range(5):
        envs.step(np.zeros(2, int))
    envs.close()
    assert len({episode.stream for episode in films.episodes(tmp_path / "ours")}) == 2


SCRIPT = """
import sys
import gymnasium as gym
from gymnasium.vector import AsyncVectorEnv
import offcam

def make():
    env = gym.make("CartPole-v1", render_mode="rgb_array")
    return offcam.RecordEpisodeStatistics(offcam.RecordVideo(env, sys.argv[1]))

if __name__ == "__main__":
    env = make()
    for context in ("spawn", "fork"):
        envs = AsyncVectorEnv([make, make], context=context)
        envs.reset()
        envs.step(envs.action_space.sample())
        envs.close()
    env.reset()
    env.close()
"""


def test_a_script_run_twice_is_two_sessions_each_with_its_children(tmp_path):
    script = tmp_path / "training.py"
    script.write_text(SCRIPT)
    environ = {name: value for name, value in os.environ.items() if name != "OFFCAM_SESSION"}
    for _ in range(2):
        subprocess.run([sys.executable, script, tmp_path / "run"], env=environ, check=True, capture_output=True)
    sessions = [stream.session for stream in offcam.load(tmp_path / "run", session="all").streams]
    assert sessions == [1] * 7 + [2] * 7  # a vector env makes one more env in the parent
