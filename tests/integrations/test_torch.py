"""PyTorch: envs whose rewards, flags and pictures are tensors, as those of simulators."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv

import examples
import films
import offcam
from envs import Barcode

pytestmark = [pytest.mark.integrations, pytest.mark.usefixtures("daemon")]

EXAMPLE = "cleanrl_ppo.py"


class Tensors(Barcode):
    """Two at once, of which each ends every 5 steps and begins anew by itself."""

    num_envs = 2

    def step(self, action):
        self.number += 1
        over = torch.full((2,), self.number % 5 == 0)
        return torch.zeros(2, 3), torch.tensor([0.5, 1.5], requires_grad=True), over, torch.zeros_like(over), {}

    def render(self):
        return torch.from_numpy(super().render())


def steps(env):
    for _ in range(10):
        env.step(None)


@pytest.mark.filterwarnings("error:Converting a tensor")
def test_a_batch_of_tensors(folder):
    env = offcam.record(Tensors(), str(folder), every=1)
    env.reset()
    steps(env)
    env.close()
    assert [(e.env_index, e.return_, e.length) for e in films.episodes(folder)] == [(0, 2.5, 5), (1, 7.5, 5)] * 2
    assert films.numbers(folder / "rl-video-episode-0.mp4") == list(range(11))
    assert np.isnan(next(iter(films.clips(folder).values())).return_)  # two envs' rewards are not one
    films.check(folder)


class Masked(SyncVectorEnv):
    """Is told by a tensor which to reset, as simulators' vector envs are."""

    def reset(self, *, seed=None, options=None):
        options = options and {"reset_mask": np.isin(range(2), 0 if options["reset_mask"].is_meta else 1)}
        return super().reset(seed=seed, options=options)


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_a_tensor_says_which_of_a_vector_envs_are_reset(folder, device):
    """One of PyTorch's device without memory tells nothing."""
    env = offcam.record(Masked([Barcode] * 2, autoreset_mode=AutoresetMode.DISABLED), str(folder), every=1)
    env.reset()
    env.step([0, 0])
    env.reset(options={"reset_mask": torch.tensor([False, True], device=device)})
    env.step([0, 0])
    assert env.episode_lengths.tolist() == ([2, 1] if device == "cpu" else [1, 1])
    env.close()
    assert films.videos(folder) == ["rl-video-episode-0.mp4"]


def test_a_tensor_on_a_device_is_left_there(folder):
    """PyTorch's device without memory: whoever reads it raises."""

    class Meta(Tensors):
        def step(self, action):
            obs, reward, *flags, info = super().step(action)
            return obs, reward.to("meta"), *(flag.to("meta") for flag in flags), info

    env = offcam.record(Meta(), str(folder), every=1)
    env.reset()
    with pytest.warns(UserWarning, match="no episode of"):
        steps(env)
    env.close()
    assert films.episodes(folder) == []
    assert films.numbers(folder / "rl-video-episode-0.mp4") == list(range(11))


def test_a_ppo_as_cleanrl_s_learns_and_has_the_videos_of_its_first_env(daemon, tmp_path):
    said = examples.printed(EXAMPLE, daemon, tmp_path)
    folder = tmp_path / "runs" / "cleanrl"
    episodes = films.episodes(folder)
    count, first, last = map(int, re.findall(r"\d+", said))
    assert count == len(episodes)
    assert last > 2 * first
    of_the_first = max(episode.episode for episode in episodes if episode.stream == 0) + 1
    assert len(films.videos(folder)) == len(range(0, of_the_first + 1, 20))
    assert {clip.stream for clip in films.clips(folder).values()} == {0}
    films.check(folder)
