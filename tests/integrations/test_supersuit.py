"""SuperSuit makes a vector env of PettingZoo's agents, with one picture of them all."""

from __future__ import annotations

import numpy as np
import pytest
import supersuit
from pettingzoo.butterfly import pistonball_v6

import films
import offcam

pytestmark = [pytest.mark.integrations, pytest.mark.usefixtures("daemon")]


@pytest.mark.filterwarnings("error:.*autoreset_mode", "error:.*autoreset mode,")
@pytest.mark.parametrize("copies", [None, 2])
def test_agents_as_a_vector_env(folder, copies):
    team = pistonball_v6.parallel_env(render_mode="rgb_array", n_pistons=4, max_cycles=5)
    envs = supersuit.pettingzoo_env_to_vec_env_v1(team)
    if copies:
        envs = supersuit.concat_vec_envs_v1(envs, copies, num_cpus=0, base_class="gymnasium")
    with pytest.warns(UserWarning, match="not contain the last frame"):
        env = offcam.record(envs, str(folder), episode_trigger=lambda episode: episode == 1)
    env.reset(seed=2)
    sums, lengths, ended = np.zeros(env.num_envs), np.zeros(env.num_envs, int), []
    for _ in range(20):
        _, rewards, terminations, truncations, _ = env.step(np.ones((env.num_envs, 1), np.float32))
        sums += rewards
        lengths += 1
        over = (terminations | truncations).astype(bool)  # which begin anew in that step
        ended += [(index, sums[index], lengths[index]) for index in np.flatnonzero(over)]
        sums[over] = lengths[over] = 0
    env.close()
    episodes = films.episodes(folder)
    assert [(episode.env_index, episode.return_, episode.length) for episode in episodes] == ended
    assert len(ended) >= 3 * env.num_envs
    (clip,) = films.clips(folder).values()
    assert (clip.episode, clip.frames) == (1, [length for index, _, length in ended if index == 0][1])
    films.check(folder)
