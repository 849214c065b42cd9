"""Videos that show and cost less: each n-th frame and the last, smaller pictures, another quality, by env."""

from __future__ import annotations

import json
from fractions import Fraction
from functools import partial

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.wrappers import Autoreset, TimeLimit

import films
import offcam
from envs import Barcode, Look, decode, play
from offcam import RecordVideo
from offcamd.video.probe import probe
from triggers import always

pytestmark = pytest.mark.usefixtures("daemon")


def numbers(folder, name="rl-video-episode-0"):
    return films.numbers(folder / f"{name}.mp4")


def times(folder, name="rl-video-episode-0"):
    """When each picture is shown, in frames."""
    return [shot.time * 30 for shot in films.shots(folder / f"{name}.mp4")]


def steps(env, count):
    for _ in range(count):
        env.step(0)


# --- each n-th frame --------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [1, 2, 3, 4, 9, 10, 11, 12])
@pytest.mark.parametrize("every", [2, 3, 7, 100])
def test_each_nth_frame_is_there_and_the_last_at_their_times(folder, length, every):
    env = RecordVideo(Barcode(length), folder, always, every_nth_frame=every)
    play(env)
    env.close()
    taken = [*range(0, length, every), length]
    assert numbers(folder) == taken
    assert times(folder) == taken
    assert probe(folder / "rl-video-episode-0.mp4").duration_seconds == pytest.approx((length + 1) / 30)
    films.check(folder)
    (clip,) = films.clips(folder).values()
    assert (clip.offered, clip.frames, clip.dropped, clip.length) == (len(taken), len(taken), {}, length)


def test_what_is_left_out_is_not_rendered(folder):
    env = RecordVideo(Barcode(9), folder, always, every_nth_frame=4)
    play(env, 2)
    env.close()
    assert env.unwrapped.renders == 2 * len([0, 4, 8, 9])
    assert numbers(folder, "rl-video-episode-1") == [0, 4, 8, 9]


@pytest.mark.parametrize("length", [1, 2, 3, 4, 5, 6, 7])
def test_video_length_counts_all_frames_over_episodes(folder, length):
    env = RecordVideo(Barcode(3), folder, lambda episode: episode == 0, video_length=length, every_nth_frame=3)
    play(env, 3)
    env.close()
    played = [0, 1, 2, 3, 0, 1, 2, 3]
    taken = sorted({*range(0, length, 3), length - 1})
    assert numbers(folder) == [played[index] for index in taken]
    assert times(folder) == taken
    assert env.unwrapped.renders == len(taken)


def test_a_video_that_is_cut_short_ends_with_the_picture_that_is_there(folder):
    env = RecordVideo(Barcode(20), folder, lambda _: False, every_nth_frame=3)
    env.reset()
    env.start_recording("by hand")
    steps(env, 6)
    env.stop_recording()
    steps(env, 2)
    env.recording = True  # a pause between two videos
    steps(env, 5)
    env.recording = False
    env.close()
    assert numbers(folder, "by hand") == [1, 4, 6]
    assert numbers(folder, "rl-video-step-8") == [9, 12, 13]
    films.check(folder)


@pytest.mark.parametrize("end", ["close", "reset", "flush"])
def test_an_episode_that_is_left_ends_with_its_last_picture(folder, end):
    env = RecordVideo(Barcode(20), folder, always, every_nth_frame=5)
    env.reset()
    steps(env, 7)
    getattr(env, end)()
    if end == "flush":  # ends nothing
        steps(env, 1)
    env.close()
    assert numbers(folder) == [0, 5, 8 if end == "flush" else 7]
    films.check(folder)


def test_an_episode_that_is_cut_by_a_limit_outside_ends_with_its_last_picture(folder):
    env = TimeLimit(RecordVideo(Barcode(20), folder, always, every_nth_frame=5), 7)
    play(env, 2)
    env.close()
    assert numbers(folder) == numbers(folder, "rl-video-episode-1") == [0, 5, 7]


@pytest.mark.parametrize("length", [0, 100])
def test_a_video_that_another_replaces_ends_before_it_does(folder, length):
    asked: list[int] = []

    def trigger(step):
        asked.append(step)
        return step in (0, 6, 11)

    env = RecordVideo(Barcode(40), folder, step_trigger=trigger, video_length=length, every_nth_frame=4)
    env.reset()
    steps(env, 14)
    env.close()
    shown = {name: numbers(folder, name.removesuffix(".mp4")) for name in films.videos(folder)}
    assert shown == {
        "rl-video-step-0.mp4": [1, 5, 6],
        "rl-video-step-6.mp4": [7, 11],
        "rl-video-step-11.mp4": [12, 14],
    }
    assert asked == list(range(14))


def test_an_episode_s_video_replaces_one_that_spans_episodes(folder):
    asked: list[int] = []

    def trigger(episode):
        asked.append(episode)
        return True

    for name, wrapped in {"reset": Barcode(6), "autoreset": Autoreset(Barcode(6))}.items():
        asked.clear()
        env = RecordVideo(wrapped, folder / name, trigger, video_length=100, every_nth_frame=4)
        if name == "reset":
            play(env, 2)
        else:
            env.reset()
            steps(env, 13)
        env.close()
        assert numbers(folder / name) == numbers(folder / name, "rl-video-episode-1") == [0, 4, 6]
        assert asked == [0, 1]


def test_a_step_that_raises_takes_no_picture_and_is_asked_for_once(folder):
    asked: list[int] = []

    class Fails(Barcode):
        def step(self, action):
            if action:
                raise ArithmeticError
            return super().step(action)

        def render(self):
            assert self.number < 3
            return super().render()

    env = RecordVideo(Fails(9), folder, always, lambda step: bool(asked.append(step)), every_nth_frame=2)
    env.reset()
    env.step(0)
    with pytest.raises(ArithmeticError):
        env.step(1)
    env.step(0)
    steps(env, 1)
    with pytest.warns(UserWarning, match="does not have its last picture"):
        env.close()
    assert numbers(folder) == [0, 2]
    assert asked == [0, 1, 2]
    films.check(folder)


def test_a_list_of_frames_is_returned_whole_to_whoever_renders(folder):
    env = gym.wrappers.RenderCollection(Barcode(7))
    env = RecordVideo(env, folder, always, every_nth_frame=3)
    play(env)
    assert [decode(frame, 84, 84) for frame in env.render()] == list(range(8))
    env.close()
    assert numbers(folder) == [0, 3, 6, 7]


class Seen(Barcode):
    """What the agent sees is the picture; one array that is used again and again."""

    observation_space = gym.spaces.Box(0, 255, (84, 84, 3), np.uint8)

    def __init__(self, length: int) -> None:
        super().__init__(length, Look(memory="reused"))

    def _observe(self):
        return self.render()


@pytest.mark.parametrize("stop", [False, True])
def test_of_what_the_agent_sees(folder, stop):
    env = RecordVideo(Seen(20), folder, always, every_nth_frame=6, source="obs")
    if stop:
        env.reset()
        steps(env, 15)
    else:
        play(env)
    env.close()
    assert numbers(folder) == ([0, 6, 12, 15] if stop else [0, 6, 12, 18, 20])
    films.check(folder)


def test_a_change_of_size_begins_a_part_at_a_frame_that_is_taken(folder):
    env = RecordVideo(Barcode(10, sizes={4: (40, 60)}), folder, always, every_nth_frame=3)
    play(env)
    env.close()
    assert numbers(folder) == [0, 3]
    assert films.numbers(folder / "rl-video-episode-0-part2.mp4", 40, 60) == [6, 9, 10]
    assert times(folder, "rl-video-episode-0-part2") == [0, 3, 4]
    films.check(folder)


# --- size, rate and quality -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("frame", "most", "size"),
    [
        ((400, 600), (300, 300), (300, 200)),
        ((400, 600), (900, 100), (150, 100)),
        ((400, 600), (601, 401), (600, 400)),
        ((84, 84), (640, 480), (84, 84)),
        ((210, 160), (101, 101), (76, 100)),
        ((99, 101), (51, 51), (50, 50)),
    ],
)
def test_a_video_fits_and_keeps_its_ratio(folder, frame, most, size):
    env = RecordVideo(Barcode(4, Look(*frame, memory="transposed")), folder, always, max_size=most)
    play(env)
    env.close()
    info = probe(folder / "rl-video-episode-0.mp4")
    assert (info.width, info.height) == size
    assert films.numbers(folder / "rl-video-episode-0.mp4", size[1], size[0]) == [0, 1, 2, 3, 4]
    films.check(folder)
    (clip,) = films.clips(folder).values()
    assert (clip.width, clip.height) == size


def test_the_rate_is_the_video_s_whatever_it_leaves_out(folder):
    env = RecordVideo(Barcode(10, fps=30), folder, always, fps=12, every_nth_frame=4)
    play(env)
    env.close()
    assert [shot.time for shot in films.shots(folder / "rl-video-episode-0.mp4")] == [
        Fraction(index, 12) for index in (0, 4, 8, 10)
    ]
    assert probe(folder / "rl-video-episode-0.mp4").fps == 12


class Noise(Barcode):
    """Frames that a worse quality makes smaller."""

    def render(self):
        noise = np.random.default_rng(self.number).integers(0, 255, (10, 10, 3))
        return np.kron(noise, np.ones((12, 12, 1))).astype(np.uint8)


def test_two_envs_have_each_their_own_quality(folder):
    wanted = {"daemon": {}, "good": {"crf": 5}, "bad": {"crf": 45}, "slow": {"preset": "veryslow"}}
    envs = [RecordVideo(Noise(10), folder, always, name_prefix=name, **how) for name, how in wanted.items()]
    for env in envs:
        play(env)
    for env in envs:
        env.close()
    size = {name: (folder / f"{name}-episode-0.mp4").stat().st_size for name in wanted}
    assert size["good"] > 1.2 * size["daemon"] > 1.2 * 1.2 * size["bad"]
    assert len(set(size.values())) == 4
    films.check(folder)


# --- arguments --------------------------------------------------------------------------------------------

LESS = {"every_nth_frame": np.int64(3), "max_size": (42, 42), "crf": np.int64(40), "preset": "ultrafast", "fps": 10}


@pytest.mark.parametrize("make", [offcam.record, partial(RecordVideo, episode_trigger=None)], ids=["record", "wrapper"])
def test_a_spec_has_it_all_and_makes_the_same_env(folder, make):
    gym.register("Barcode-v0", "envs:Barcode")
    try:
        env = make(gym.make("Barcode-v0", length=5), folder, **LESS)
        text = env.spec.to_json()
        env.close()
        again = EnvSpec.from_json(text)
        assert again == env.spec
        assert json.loads(text) == json.loads(again.to_json())
        env = gym.make(again)
        play(env)
        env.close()
    finally:
        gym.registry.pop("Barcode-v0")
    path = folder / films.videos(folder)[0]
    assert films.numbers(path, 42, 42) == [0, 3, 5]
    assert [shot.time for shot in films.shots(path)] == [0, Fraction(3, 10), Fraction(1, 2)]
