"""Minari: its DataCollector lies around whatever env it is given, and keeps that env's spec as JSON."""

from __future__ import annotations

import gc

import gymnasium as gym
import minari
import pytest

import films
import offcam
from envs import play

pytestmark = [pytest.mark.integrations, pytest.mark.usefixtures("daemon")]

COLLECTED = "offcam/cartpole-v0"


@pytest.fixture(autouse=True)
def _datasets(tmp_path, monkeypatch):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "datasets"))
    yield
    gc.collect()  # Minari's temporary folders, of which Python says that nobody has cleaned them up


@pytest.mark.filterwarnings(
    "ignore:.*eval_env. is set to None", "ignore:.*Overwriting existing videos", "ignore:Implicitly cleaning up"
)
def test_a_dataset_has_the_spec_of_the_recorded_env_and_its_episodes(folder):
    env = offcam.record(gym.make("CartPole-v1", render_mode="rgb_array"), str(folder), every=2, on_video=print)
    collector = minari.DataCollector(env)
    play(collector, 3)
    told = collector.create_dataset(
        COLLECTED, algorithm_name="random", code_permalink="", author="", author_email="", description=""
    )
    collector.close()
    found = minari.load_dataset(COLLECTED)
    assert found.env_spec == told.env_spec == env.spec
    theirs = [(episode.rewards.sum(), len(episode)) for episode in found.iterate_episodes()]
    assert [(episode.return_, episode.length) for episode in films.episodes(folder)] == theirs
    films.check(folder)
    again = found.recover_environment()
    assert str(again) == str(env)
    again.close()
