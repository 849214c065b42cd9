"""EnvPool: its render shows one sub-environment unless it is told which."""

from __future__ import annotations

import envpool
import numpy as np
import pytest

import films
import offcam

pytestmark = [pytest.mark.integrations, pytest.mark.usefixtures("daemon")]


@pytest.mark.parametrize("first_only", [False, True])
def test_statistics_and_a_video_of_all(folder, first_only):
    envs = envpool.make_gymnasium("CartPole-v1", num_envs=4, render_mode="rgb_array", seed=5)
    height, width = envs.render().shape[1:3]
    env = offcam.record(
        envs, str(folder), step_trigger=lambda step: step == 0, video_length=20, record_first_only=first_only
    )
    env.reset()
    ends = []
    for _ in range(200):
        _, _, terminated, truncated, info = env.step(np.zeros(4, int))
        ends += info["elapsed_step"][terminated | truncated].tolist()
    env.close()
    episodes = films.episodes(folder)
    assert len(episodes) > 20
    assert [episode.length for episode in episodes] == [episode.return_ for episode in episodes] == ends
    (clip,) = films.clips(folder).values()
    tiles = 1 if first_only else 2
    assert (clip.frames, clip.height, clip.width) == (20, tiles * height, tiles * width)
    films.check(folder)


def in_order(indices, lengths):
    """Those of one step by their env's index: they are ready in any order, on a busy machine."""
    return sorted(zip(indices.tolist(), lengths.tolist(), strict=True))


def test_where_some_of_all_are_ready_at_a_time_each_has_its_episodes_and_its_videos(folder):
    envs = envpool.make_gymnasium("CartPole-v1", num_envs=4, batch_size=2, render_mode="rgb_array", seed=5)
    env = offcam.record(envs, str(folder), every=1, record_envs=[2, 3], per_env=True, overflow="block")
    _, info = env.reset()
    ends, told = [], []
    seen = {2: [], 3: []}
    for _ in range(100):
        ids = info["env_id"]
        for index in set(ids.tolist()) & seen.keys():
            seen[index].append((info["elapsed_step"][ids == index][0], envs.render(np.array([index]))[0]))
        _, _, terminated, truncated, info = env.step({"action": np.zeros(2, np.int32), "env_id": ids})
        over = terminated | truncated
        ends += in_order(info["env_id"][over], info["elapsed_step"][over])
        if over.any():
            assert info["_episode"].tolist() == over.tolist()
            told += [length for _, length in in_order(info["env_id"][over], info["episode"]["l"][over])]
    env.close()
    episodes = films.episodes(folder)
    assert len(episodes) > 10
    assert [(episode.env_index, episode.length) for episode in episodes] == ends
    assert [episode.return_ for episode in episodes] == told == [length for _, length in ends]
    first = {episode.env_index: episode.episode for episode in reversed(episodes)}
    assert first == dict.fromkeys(range(4), 0)
    for index, results in seen.items():
        begin, lengths = 0, [episode.length for episode in episodes if episode.env_index == index]
        assert lengths
        for number, length in enumerate(lengths):
            shots = list(films.shots(folder / f"rl-video-env-{index}-episode-{number}.mp4"))
            played = results[begin : begin + length + 1]
            begin += length + 1
            assert [step for step, _ in played] == list(range(length + 1))
            assert len(shots) == length + 1
            assert all(films.close(shot.rgb, frame) for shot, (_, frame) in zip(shots, played, strict=True))
    films.check(folder)
