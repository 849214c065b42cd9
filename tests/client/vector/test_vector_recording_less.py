"""Each n-th frame of a vector env's videos, and smaller ones: as tiles, and each with files of its own."""

from __future__ import annotations

import numpy as np
import pytest
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv

import films
import offcam
from envs import Barcode, Look, decode
from offcam.vector import RecordVideo
from offcamd.video.probe import probe
from triggers import always

pytestmark = pytest.mark.usefixtures("daemon")

HEIGHT, WIDTH = 40, 60
MODES = [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP]
KINDS = [SyncVectorEnv, AsyncVectorEnv]


def vectorised(lengths, mode=AutoresetMode.NEXT_STEP, kind=SyncVectorEnv):
    """Sub-environments whose frames show their step, plus 100 for the second one, and so on."""
    makers = [lambda n=n, i=i: Barcode(n, Look(HEIGHT, WIDTH), offset=100 * i) for i, n in enumerate(lengths)]
    return kind(makers, autoreset_mode=mode)


def play(envs, count):
    for _ in range(count):
        envs.step(np.zeros(envs.num_envs, int))


def tiles(path, count=2, scale=1):
    """For each picture, the numbers that its tiles show, one below the other."""
    height, width = HEIGHT // scale, WIDTH // scale
    return [
        [decode(shot.rgb[height * place : height * (place + 1)], height, width) for place in range(count)]
        for shot in films.shots(path)
    ]


def times(path):
    return [shot.time * 30 for shot in films.shots(path)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.filterwarnings("ignore:.*Recorded episodes will not contain the last frame")
def test_each_nth_picture_of_all_and_the_last(folder, mode, kind):
    envs = RecordVideo(
        vectorised([7, 20], mode, kind), folder, (1, 9), episode_trigger=always, every_nth_frame=3, max_size=(30, 40)
    )
    envs.reset()
    play(envs, 16)
    envs.close()
    films.check(folder)
    reached = not (mode is AutoresetMode.SAME_STEP and kind is AsyncVectorEnv)
    later = mode is AutoresetMode.NEXT_STEP
    paths = [folder / f"rl-video-episode-{number}.mp4" for number in (0, 1, 2)]
    assert tiles(paths[0], scale=2) == [[0, 100], [3, 103], [6, 106], *[[7, 107]] * reached]
    assert tiles(paths[1], scale=2)[1:] == [
        [3, 111 - (not later)],
        [6, 114 - (not later)],
        *[[7, 115 - (not later)]] * reached,
    ]
    assert times(paths[0]) == times(paths[1]) == [0, 3, 6, 7][: 3 + reached]
    assert times(paths[2])[-1] == (0 if later else 2)
    assert probe(paths[0]).width == 30


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.filterwarnings("ignore:.*Recorded episodes will not contain the last frame")
def test_each_nth_picture_of_each_and_the_last(folder, mode, kind):
    envs = offcam.record(
        vectorised([9, 5, 3, 9], mode, kind), folder, every=1, record_envs=[1, 2], per_env=True, every_nth_frame=2
    )
    envs.reset()
    play(envs, 7)
    envs.close()
    films.check(folder)
    found = {name: films.numbers(folder / name, HEIGHT, WIDTH) for name in films.videos(folder)}
    later, reached = mode is AutoresetMode.NEXT_STEP, mode is AutoresetMode.NEXT_STEP or kind is SyncVectorEnv
    assert found == {
        "rl-video-env-1-episode-0.mp4": [100, 102, 104, *[105] * reached],
        "rl-video-env-1-episode-1.mp4": [100, 101] if later else [100, 102],
        "rl-video-env-2-episode-0.mp4": [200, 202, *[203] * reached],
        "rl-video-env-2-episode-1.mp4": [200, 202, *[203] * reached],
        **({} if later else {"rl-video-env-2-episode-2.mp4": [200, 201]}),
    }


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("per_env", [False, True])
def test_what_is_left_out_is_not_rendered(folder, mode, per_env):
    made = vectorised([9] * 3, mode)
    sub_envs = list(made.envs)
    envs = RecordVideo(made, folder, episode_trigger=always, record_envs=[0, 2], per_env=per_env, every_nth_frame=4)
    envs.reset()
    play(envs, 9)
    envs.close()
    begins = mode is AutoresetMode.SAME_STEP  # a next video, whose first picture waits for a step
    assert [env.renders for env in sub_envs] == [4 + begins, 0, 4 + begins]


@pytest.mark.parametrize("per_env", [False, True])
@pytest.mark.parametrize("mode", MODES)
def test_a_video_that_another_replaces_ends_before_it_does(folder, mode, per_env):
    asked: list[int] = []

    def at_step(step):
        asked.append(step)
        return step in (0, 6)

    envs = RecordVideo(
        vectorised([20] * 2, mode), folder, step_trigger=at_step, record_envs=[1], per_env=per_env, every_nth_frame=4
    )
    envs.reset()
    play(envs, 9)
    envs.close()
    suffix = "-env-1" * per_env
    step = "{}-step-{}.mp4".format
    prefix = f"rl-video{suffix}"
    assert films.numbers(folder / step(prefix, 0), HEIGHT, WIDTH) == [101, 105, 106]
    assert films.numbers(folder / step(prefix, 6), HEIGHT, WIDTH) == [107, 109]
    assert asked == list(range(9))


@pytest.mark.parametrize("mode", MODES)
def test_an_episode_s_video_replaces_one_that_spans_episodes(folder, mode):
    envs = RecordVideo(
        vectorised([6, 9], mode), folder, episode_trigger=always, video_length=100, record_envs=1, every_nth_frame=4
    )
    envs.reset()
    play(envs, 8)
    envs.close()
    assert films.numbers(folder / "rl-video-episode-0.mp4", HEIGHT, WIDTH) == [0, 4, 6]
    assert films.numbers(folder / "rl-video-episode-1.mp4", HEIGHT, WIDTH) == [0, 1 + (mode is MODES[1])]


def test_a_reset_of_the_first_ends_its_video_with_what_it_shows(folder):
    envs = RecordVideo(
        vectorised([20, 20], AutoresetMode.DISABLED), folder, (1, 9), episode_trigger=always, every_nth_frame=4
    )
    envs.reset()
    play(envs, 3)
    envs.reset(options={"reset_mask": np.array([False, True])})
    play(envs, 3)
    envs.reset(options={"reset_mask": np.array([True, False])})
    play(envs, 1)
    envs.close()
    assert tiles(folder / "rl-video-episode-0.mp4") == [[0, 100], [3, 100], [6, 103]]
    assert tiles(folder / "rl-video-episode-1.mp4") == [[0, 103], [1, 104]]
