"""Minari: its DataCollector lies around whatever env it is given, and keeps that env's spec as JSON."""

from __future__ import annotations

import gc

import gymnasium as gym
import minari
import numpy as np
import pytest

import films
import offcam
from envs import play
from offcam.integrations.minari import create_dataset
from offcam_proto.errors import OffcamError

pytestmark = [pytest.mark.integrations, pytest.mark.usefixtures("daemon")]

OF_MINARI = pytest.mark.filterwarnings(
    "ignore:.*eval_env. is set to None", "ignore:.*Overwriting existing videos", "ignore:Implicitly cleaning up"
)
COLLECTED = "offcam/cartpole-v0"


@pytest.fixture(autouse=True)
def _datasets(tmp_path, monkeypatch):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "datasets"))
    yield
    gc.collect()  # Minari's temporary folders, of which Python says that nobody has cleaned them up


@OF_MINARI
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


@OF_MINARI
def test_a_dataset_of_episodes_that_happen_again(folder, monkeypatch, tmp_path):
    """It has the observations, which were recorded nowhere, and the same as Minari's own collector has."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    env = gym.make("CartPole-v1", max_episode_steps=15)
    collector = minari.DataCollector(offcam.record(env, folder, source="replay", episode_trigger=lambda _: False))
    collector.action_space.seed(2)
    play(collector, 6, seed=5)
    told = {"algorithm_name": "random", "code_permalink": "", "author": "", "author_email": "", "description": ""}
    theirs = collector.create_dataset("offcam/collected-v0", eval_env=env.spec, **told)
    collector.close()
    ours = create_dataset(folder, "offcam/replayed-v0", eval_env=env.spec, **told)
    assert ours.total_episodes == theirs.total_episodes == 6
    for mine, other in zip(ours.iterate_episodes(), theirs.iterate_episodes(), strict=True):
        for name in ("observations", "actions", "rewards", "terminations", "truncations"):
            np.testing.assert_array_equal(getattr(mine, name), getattr(other, name))
    assert any(episode.truncations[-1] for episode in ours.iterate_episodes())
    some = create_dataset(folder, "offcam/some-v0", episodes=[4, 1], eval_env=env.spec, **told)
    assert [len(episode) for episode in some.iterate_episodes()] == [len(ours[1]), len(ours[4])]
    with pytest.raises(offcam.ConfigError, match="no such episodes"):
        create_dataset(folder, "offcam/none-v0", episodes=[6])


def test_a_dataset_of_what_was_not_recorded_for_it(folder):
    env = offcam.record(gym.make("CartPole-v1", render_mode="rgb_array"), folder, every=1)
    play(env)
    env.close()
    with pytest.raises(OffcamError, match="source='replay'"):
        create_dataset(folder, "offcam/none-v0")
