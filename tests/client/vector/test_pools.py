"""Vector envs that have the results of some sub-environments at a time, as EnvPool with a ``batch_size``."""

from __future__ import annotations

from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, VectorEnv

import films
import offcam
from envs import Barcode, Look, decode

pytestmark = pytest.mark.usefixtures("daemon")

SIDE = 40
LENGTHS = (3, 4, 5)


class Pool(VectorEnv):
    """Barcodes of which some are ready at a time, in an order that a seed tells; they begin with 100, 200 and 300."""

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"], "autoreset_mode": AutoresetMode.NEXT_STEP}
    render_mode = "rgb_array"
    single_observation_space = gym.spaces.Box(0, 255, (SIDE, SIDE, 3), np.uint8)
    single_action_space = gym.spaces.Discrete(2)

    def __init__(self, batch_size: int = 2) -> None:
        self.envs = [
            Barcode(length, Look(SIDE, SIDE), offset=100 * (index + 1)) for index, length in enumerate(LENGTHS)
        ]
        self.num_envs = len(self.envs)
        self.batch_size = batch_size
        self.order = np.random.default_rng(3)

    def reset(self, *, seed=None, options=None):
        for env in self.envs:
            env.reset()
        self.results = [(index, 0.0, False, False) for index in range(self.num_envs)]
        obs, *_, info = self.ready()
        return obs, info

    def step(self, actions):
        for index, over in zip(self.there, self.over, strict=True):
            env = self.envs[index]
            if over:
                env.reset()
            self.results.append((index, *((0.0, False, False) if over else env.step(0)[1:4])))
        return self.ready()

    def ready(self):
        self.order.shuffle(self.results)
        some, self.results = self.results[: self.batch_size], self.results[self.batch_size :]
        self.there, rewards, terminated, truncated = map(np.array, zip(*some, strict=True))
        self.over = terminated | truncated
        seen = np.stack([self.envs[index].render() for index in self.there])
        return seen, rewards, terminated, truncated, {"env_id": self.there}

    def render(self, env_ids=None):
        assert set(env_ids) <= set(self.there), "the others are being stepped by other threads"
        return np.stack([self.envs[index].render() for index in env_ids])


def played(env, steps):
    """Take steps; for each sub-environment the numbers that it had with its results, an episode each."""
    _, info = env.reset()
    pool = env.unwrapped
    shown = [[] for _ in pool.envs]
    for _ in range(steps):
        for index in info["env_id"]:
            number = pool.envs[index].number
            shown[index] += [[]] if number == 0 else []
            shown[index][-1].append(100 * (index + 1) + number)
        *_, info = env.step(None)
    return shown


def whole(index):
    return [100 * (index + 1) + number for number in range(LENGTHS[index] + 1)]


@pytest.mark.parametrize("batch_size", [1, 2, 3])
@pytest.mark.parametrize("source", ["render", "obs"])
def test_a_video_follows_one_and_the_index_has_its_episodes(folder, batch_size, source):
    env = offcam.record(Pool(batch_size), str(folder), every=1, record_first_only=True, source=source, overflow="block")
    shown = played(env, 60)[0]
    env.close()
    for number, expected in enumerate(shown[:-2]):
        assert films.numbers(folder / f"rl-video-episode-{number}.mp4", SIDE, SIDE) == expected == whole(0)
    mine = {episode.episode: episode for episode in films.episodes(folder) if episode.env_index == 0}
    assert {(episode.length, episode.return_) for episode in mine.values()} == {(3, 3.0)}
    clips = list(films.clips(folder).values())
    assert [clip.episode for clip in clips if clip.episode in mine] == list(mine)
    assert {clip.return_ for clip in clips if clip.episode in mine} == {3.0}
    films.check(folder)


def test_each_has_videos_of_its_own(folder):
    env = offcam.record(Pool(), str(folder), every=1, per_env=True, overflow="block")
    shown = played(env, 60)
    env.close()
    for index, episodes in enumerate(shown):
        assert len(episodes) > 3
        for number, expected in enumerate(episodes[:-2]):
            name = f"rl-video-env-{index}-episode-{number}.mp4"
            assert films.numbers(folder / name, SIDE, SIDE) == expected == whole(index)
    films.check(folder)


def test_a_picture_of_several_has_what_each_gave_last(folder):
    """There is a frame for each step of the first; those that have given nothing yet are black."""
    env = offcam.record(Pool(1), str(folder), every=1, record_envs=[1, 0], video_aspect_ratio=(2, 1), overflow="block")
    _, info = env.reset()
    pool, last, shown, is_open = env.unwrapped, 0, [[]], True
    for _ in range(80):
        (index,) = info["env_id"]
        number = pool.envs[index].number
        if index == 0:
            last = 100 + number if is_open else 0  # nobody has looked
        elif index == 1:
            shown += [[]] if number == 0 and shown != [[]] else []
            shown[-1].append((200 + number, last))
            is_open = number < LENGTHS[1]
        *_, info = env.step(None)
    env.close()
    assert len(shown) > 4
    for number, expected in enumerate(shown[:-2]):
        tiles = [(shot.rgb, shot.rgb[:, SIDE:]) for shot in films.shots(folder / f"rl-video-episode-{number}.mp4")]
        assert [tuple(decode(tile, SIDE, SIDE) for tile in each) for each in tiles] == expected
    films.check(folder)


def test_a_step_trigger_is_asked_at_each_step(folder):
    asked = []
    env = offcam.record(
        Pool(1),
        str(folder),
        step_trigger=lambda step: asked.append(step) or step == 10,
        video_length=7,
        record_first_only=True,
        overflow="block",
    )
    played(env, 60)
    env.close()
    assert asked == list(range(60))
    assert films.videos(folder) == ["rl-video-step-10.mp4"]
    numbers = films.numbers(folder / "rl-video-step-10.mp4", SIDE, SIDE)
    assert numbers == [100 + (numbers[0] + place) % 4 for place in range(7)]
    films.check(folder)
