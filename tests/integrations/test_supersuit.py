"""SuperSuit makes a vector env of PettingZoo's agents, with one picture of them all."""

from __future__ import annotations

import numpy as np
import pytest
import supersuit
from pettingzoo.butterfly import pistonball_v6

import films
import offcam

pytestmark = [pytest.mark.integrations, pytest.mark.usefixtures("daemon")]


@pytest.mark.filterwarnings("ignore:.*autoreset")
@pytest.mark.parametrize("copies", [None, 2])
def test_agents_as_a_vector_env(folder, copies):
    team = pistonball_v6.parallel_env(render_mode="rgb_array", n_pistons=4, max_cycles=10)
    envs = supersuit.pettingzoo_env_to_vec_env_v1(team)
    if copies:
        envs = supersuit.concat_vec_envs_v1(envs, copies, num_cpus=0, base_class="gymnasium")
    env = offcam.record(envs, str(folder), step_trigger=lambda step: step == 0, video_length=5)
    env.reset(seed=2)
    totals = np.zeros(env.num_envs)
    for _ in range(10):
        _, rewards, _, truncations, _ = env.step(np.zeros((env.num_envs, 1), np.float32))
        totals += rewards
    assert truncations.all()
    env.close()
    episodes = films.episodes(folder)
    assert [episode.env_index for episode in episodes] == list(range(env.num_envs))
    assert [episode.return_ for episode in episodes] == totals.tolist()
    (clip,) = films.clips(folder).values()
    assert clip.frames == 5
    films.check(folder)
