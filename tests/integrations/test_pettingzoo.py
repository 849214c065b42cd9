"""PettingZoo: envs of many agents, which step all at once or in turns."""

from __future__ import annotations

from collections import Counter
from typing import ClassVar

import numpy as np
import pytest
from pettingzoo import ParallelEnv
from pettingzoo.butterfly import pistonball_v6
from pettingzoo.classic import connect_four_v3, tictactoe_v3
from pettingzoo.utils.conversions import parallel_to_aec
from syncing import wait_sent

import examples
import films
import offcam
from envs import Barcode
from offcam.integrations import pettingzoo as recording

pytestmark = [pytest.mark.integrations, pytest.mark.usefixtures("daemon")]

EXAMPLE = "pettingzoo_agents.py"


class Race(ParallelEnv):
    """Two agents, of which ``slow`` ends a step after ``fast``; their frames show how many steps there were."""

    metadata: ClassVar = {"name": "race_v0", "render_modes": ["rgb_array"], "render_fps": 10, "is_parallelizable": True}
    possible_agents: ClassVar = ["fast", "slow"]
    render_mode = "rgb_array"

    def __init__(self, length=5):
        self.length = length
        self.inner = Barcode(length)

    def observation_space(self, agent):
        return self.inner.observation_space

    def action_space(self, agent):
        return self.inner.action_space

    def reset(self, seed=None, options=None):
        self.inner.reset()
        self.agents = list(self.possible_agents)
        return dict.fromkeys(self.agents, 0), {agent: {} for agent in self.agents}

    def step(self, actions):
        assert set(actions) == set(self.agents)
        self.inner.step(0)
        rewards = {agent: 0.25 if agent == "fast" else -1 for agent in self.agents}
        truncated = {"fast": False, "slow": self.inner.number == self.length}
        terminated = {"fast": self.inner.number == self.length - 1, "slow": False}
        acted = self.agents
        self.agents = [agent for agent in acted if not (terminated[agent] or truncated[agent])]
        flags = [{agent: each[agent] for agent in acted} for each in (terminated, truncated)]
        return dict.fromkeys(acted, 0), rewards, *flags, {agent: {} for agent in acted}

    def render(self):
        return self.inner.render()


def finish(env, episodes=1):
    """Play episodes of an AEC env; the cumulative rewards of each as its agents see them."""
    played = []
    for _ in range(episodes):
        env.reset(seed=3)
        sums = Counter()
        for agent in env.agent_iter():
            observation, reward, terminated, truncated, _ = env.last()
            sums[agent] += reward
            mask = observation.get("action_mask") if isinstance(observation, dict) else None
            env.step(None if terminated or truncated else env.action_space(agent).sample(mask))
        played.append(sums)
    return played


def by_agent(episode):
    return {name.removeprefix("return/"): value for name, value in episode.info.items()}


def test_a_parallel_env(folder):
    env = recording.record(Race(), folder, every=2)
    for _ in range(3):
        observations, infos = env.reset(seed=4)
        assert (observations, infos) == ({"fast": 0, "slow": 0}, {"fast": {}, "slow": {}})
        while env.agents:
            *_, infos = env.step(dict.fromkeys(env.agents, 0))
    assert infos == {"slow": {}}
    env.close()
    episodes = films.episodes(folder)
    assert [(episode.return_, episode.length, episode.seed) for episode in episodes] == [(-4, 5, 4)] * 3
    assert [by_agent(episode) for episode in episodes] == [{"fast": 1, "slow": -5}] * 3
    assert {(episode.terminated, episode.truncated) for episode in episodes} == {(False, True)}
    assert films.videos(folder) == ["rl-video-episode-0.mp4", "rl-video-episode-2.mp4"]
    assert films.numbers(folder / "rl-video-episode-2.mp4") == list(range(6))
    assert {clip.fps for clip in films.clips(folder).values()} == {10}
    assert env.episode_count == 3
    assert list(env.return_queue) == [-4] * 3
    assert env.run_folder == str(folder)
    films.check(folder)


def test_agents_in_turns(folder):
    """A step is one agent's; those in which agents that have ended are taken leave of are none."""
    env = recording.record(parallel_to_aec(Race()), folder, every=1)
    played = finish(env, 2)
    env.close()
    episodes = films.episodes(folder)
    assert [by_agent(episode) for episode in episodes] == [dict(sums) for sums in played]
    assert [(episode.return_, episode.length) for episode in episodes] == [(-4, 9)] * 2
    assert films.numbers(folder / "rl-video-episode-1.mp4") == [0, 0, 1, 1, 2, 2, 3, 3, 4, 5]
    films.check(folder)


@pytest.mark.parametrize("module", [tictactoe_v3, connect_four_v3], ids=["tictactoe", "connect four"])
def test_games(folder, module):
    env = recording.record(module.env(render_mode="rgb_array"), folder, every=1)
    played = finish(env, 3)
    env.close()
    episodes = films.episodes(folder)
    assert [by_agent(episode) for episode in episodes] == [dict(sums) for sums in played]
    assert {clip.frames for clip in films.clips(folder).values()} == {episode.length + 1 for episode in episodes}
    films.check(folder)


def test_more_agents_than_an_episode_has_values(folder):
    team = pistonball_v6.parallel_env(render_mode="rgb_array", n_pistons=20, max_cycles=5)
    with pytest.warns(UserWarning, match="16 of the 20 agents"):
        env = recording.record(team, folder, every=1)
    env.reset(seed=2)
    total = 0.0
    while env.agents:
        total += sum(env.step({agent: np.ones(1, np.float32) for agent in env.agents})[1].values())
    env.close()
    (episode,) = films.episodes(folder)
    assert episode.return_ == pytest.approx(total)
    assert (episode.length, len(episode.info)) == (5, 16)
    films.check(folder)


@pytest.mark.parametrize("how", ["the option", "offcam.sync"])
def test_it_is_sent_to_a_tracker(folder, how):
    env = recording.record(Race(), folder, every=1, **({"sync": "tensorboard"} if how == "the option" else {}))
    if how == "offcam.sync":
        offcam.sync(env, "tensorboard")
    env.reset()
    while env.agents:
        env.step(dict.fromkeys(env.agents, 0))
    env.close()
    state = wait_sent(folder)
    assert (state.tracker, state.sent_episodes, state.sent_clips) == ("tensorboard", 1, 1)


def test_what_is_wrong_is_said_with_the_fix(folder):
    with pytest.raises(offcam.ConfigError, match="there is no tracker 'nothing'"):
        recording.record(Race(), folder, sync="nothing")
    with pytest.raises(offcam.ConfigError, match=r"offcam\.integrations\.pettingzoo\.record\(env, folder\)"):
        offcam.record(Race(), folder)
    with pytest.raises(offcam.ConfigError, match=r"Use `offcam\.record`"):
        recording.record(Barcode(), folder)
    with pytest.raises(offcam.ConfigError, match="steps and source: for envs with one agent"):
        recording.record(Race(), folder, steps=True, source="obs")
    with pytest.raises(TypeError, match="evry"):
        recording.record(Race(), folder, evry=3)
    assert not folder.exists()


def test_the_example_says_who_won(daemon, tmp_path):
    said = examples.printed(EXAMPLE, daemon, tmp_path)
    folder = tmp_path / "runs" / "tictactoe"
    played = [by_agent(episode) for episode in films.episodes(folder)]
    assert len(played) == 20
    won = {agent: sum(game[agent] > 0 for game in played) for agent in ("player_1", "player_2")}
    assert said == f"player_1 won {won['player_1']} of 20, player_2 won {won['player_2']} of 20\n"
    assert 0 < won["player_2"] < won["player_1"]
    assert films.videos(folder) == sorted(f"rl-video-episode-{game}.mp4" for game in range(0, 20, 5))
    films.check(folder)
