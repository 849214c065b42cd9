"""Episodes that happen again in this process, with what their env gave: observations are recorded nowhere."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest

import offcam
from offcam.replay.observed import observed
from offcam_proto.errors import NotReplayable

pytestmark = pytest.mark.usefixtures("daemon")


def recorded(folder, episodes=3):
    """What its agent saw of each episode."""
    env = gym.make("CartPole-v1", max_episode_steps=12)
    env = offcam.record(env, folder, source="replay", episode_trigger=lambda _: False)
    env.action_space.seed(3)
    seen = []
    for episode in range(episodes):
        seen.append([env.reset(seed=9 if episode == 0 else None)[0]])
        over = False
        while not over:
            observation, _, terminated, truncated, _ = env.step(env.action_space.sample())
            seen[-1].append(observation)
            over = terminated or truncated
    env.close()
    return seen


def observations(episode):
    return [episode.first[0], *[result[0] for _, result in episode.steps]]


def test_all_of_them_and_some(folder):
    seen = recorded(folder)
    found = list(observed(folder))
    assert [(episode.episode, episode.seed, episode.spec.id) for episode in found] == [
        (0, 9, "CartPole-v1"),
        (1, None, "CartPole-v1"),
        (2, None, "CartPole-v1"),
    ]
    for episode, expected in zip(found, seen, strict=True):
        np.testing.assert_array_equal(observations(episode), expected)
    (last,) = observed(folder, episodes=[2])
    np.testing.assert_array_equal(observations(last), seen[2])
    rows = offcam.load(folder).steps(2)
    assert [action for action, _ in last.steps] == rows["action"][1:].tolist()
    assert [result[1] for _, result in last.steps] == rows["reward"][1:].tolist()
    with pytest.raises(offcam.ConfigError, match="no such episodes"):
        list(observed(folder, episodes=[3]))


def test_what_a_folder_of_somebody_elses_names_is_not_run(folder, tmp_path, monkeypatch):
    seen = recorded(folder, 1)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "anothers"))
    with pytest.raises(NotReplayable, match="pass `trust=True`"):
        list(observed(folder))
    (episode,) = observed(folder, trust=True)
    np.testing.assert_array_equal(observations(episode), seen[0])


def test_what_cannot_be_had_is_said(folder):
    env = offcam.record(gym.make("CartPole-v1", render_mode="rgb_array"), folder / "frames", every=1, steps=True)
    env.reset()
    while not any(env.step(0)[2:4]):
        pass
    env.close()
    with pytest.raises(NotReplayable, match="source='replay'"):
        list(observed(folder / "frames"))


class Restless(gym.Wrapper):
    """Resets its env in the midst of an episode, as one with several lives for each may."""

    def step(self, action):
        result = super().step(action)
        self.env.reset()
        return result[0], 1.0, False, self.taken(), {}

    def taken(self):
        self.steps = getattr(self, "steps", 0) + 1
        return self.steps == 3


def test_an_episode_of_several_of_its_env_is_none_of_a_dataset(folder):
    env = offcam.record(Restless(gym.make("CartPole-v1")), folder, source="replay", episode_trigger=lambda _: False)
    env.reset()
    for _ in range(3):
        env.step(0)
    env.close()
    with pytest.raises(NotReplayable, match="it was reset within"):
        list(observed(folder))
