"""ALE's own vector env, which cannot render: the video is of what the agents see."""

from __future__ import annotations

import numpy as np
import pytest
from ale_py.vector_env import AtariVectorEnv

import films
import offcam

pytestmark = [pytest.mark.integrations, pytest.mark.usefixtures("daemon")]


def test_the_last_plane_of_each_stack(folder):
    env = offcam.record(
        AtariVectorEnv("pong", num_envs=4),
        str(folder),
        source="obs",
        step_trigger=lambda step: step == 0,
        video_length=20,
    )
    env.reset(seed=1)
    seen = [env.step(np.full(4, 2 + step % 2))[0][:, -1].copy() for step in range(20)]
    env.close()
    shots = list(films.shots(folder / "rl-video-step-0.mp4"))
    assert len(shots) == len(seen)
    for shot, planes in zip(shots, seen, strict=True):
        expected = np.vstack([np.hstack(planes[:2]), np.hstack(planes[2:])])
        assert np.abs(shot.rgb.mean(axis=2) - expected).mean() < 4
    films.check(folder)


def test_without_source_it_is_told(folder):
    with pytest.raises(ValueError, match='source="obs"'):
        offcam.record(AtariVectorEnv("pong", num_envs=2), str(folder))
