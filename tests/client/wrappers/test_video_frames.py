"""`RecordVideo` for a single env: every kind of frame, from an env or from a `RenderCollection`."""

from __future__ import annotations

import re
import warnings

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.wrappers import RenderCollection

import films
from envs import Barcode, decode, play
from offcam import RecordVideo
from triggers import always

pytestmark = pytest.mark.usefixtures("daemon")


# --- frames -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [None, "human", "ansi"])
def test_render_modes_without_images_are_refused(folder, mode):
    with pytest.raises(ValueError, match=rf"Render mode is {mode}, .*incompatible with RecordVideo.*rgb_array"):
        RecordVideo(Barcode(render_mode=mode), str(folder))
    assert not folder.exists()


class Draws(Barcode):
    """Draws what it is told to from the third frame on."""

    def __init__(self, frame, length=6):
        super().__init__(length)
        self._frame = frame

    def render(self):
        return super().render() if self.number < 2 else self._frame


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (None, "expected type of frame returned by render to be a numpy array, got instead <class 'NoneType'>"),
        ("text", "got instead <class 'str'>"),
        (np.zeros((3, 84, 84), np.uint8), r"channels come first.*np.moveaxis\(frame, 0, -1\)"),
        ((), "got instead <class 'tuple'>"),
        (np.zeros((0, 84, 84, 3), np.uint8), "batch is empty"),
        (np.zeros((2, 2, 84, 84, 3), np.uint8), r"must be \(height, width\)"),
        (np.zeros((84, 84, 2), np.uint8), r"must be \(height, width\), or \(height, width, 1, 3 or 4\)"),
        (np.zeros((84,), np.uint8), r"must be \(height, width\)"),
        (np.zeros((0, 84, 3), np.uint8), "is empty"),
        (np.full((84, 84, 3), 256.0), r"must be within 0..1 or 0..255, got 256..256: .*np.clip\(frame, 0, 255\)"),
        (np.full((84, 84, 3), np.nan), "must be within 0..1 or 0..255, got nan"),
        (np.full((84, 84, 3), 256), "must be within 0..255, got 256..256"),
        (np.full((84, 84, 3), -1), "must be within 0..255, got -1..-1"),
        (np.full((84, 84, 3), 1j), r"must hold numbers, got dtype complex128: return `frame.astype\(np.uint8\)`"),
        (np.full((84, 84, 3), "x"), "must hold numbers"),
        (np.full((84, 84, 3), None, object), "must hold numbers, got dtype object"),
        (np.zeros((1, 20_000, 3), np.uint8), "16384"),
    ],
    ids=lambda value: f"{value.dtype}-{value.shape}" if isinstance(value, np.ndarray) else str(value)[:12],
)
def test_what_is_no_picture_ends_the_video_with_a_warning_that_names_the_fix(folder, frame, message):
    env = RecordVideo(Draws(frame), str(folder), always)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        play(env)
        env.close()
    (warning,) = caught
    assert re.search(message, str(warning.message))
    assert not env.recording
    assert films.numbers(folder / "rl-video-episode-0.mp4") == [0, 1]  # what was drawn before is kept
    films.check(folder)


def test_a_change_of_size_begins_a_second_file(folder):
    env = RecordVideo(Barcode(9, sizes={3: (60, 80), 6: (84, 84)}), str(folder))
    play(env)
    env.close()
    assert films.numbers(folder / "rl-video-episode-0.mp4") == [0, 1, 2]
    assert films.numbers(folder / "rl-video-episode-0-part2.mp4", 60, 80) == [3, 4, 5]
    assert films.numbers(folder / "rl-video-episode-0-part3.mp4") == [6, 7, 8, 9]
    films.check(folder)
    clips = films.clips(folder)
    assert [(clip.part, clip.offered, clip.frames) for clip in clips.values()] == [(1, 3, 3), (2, 3, 3), (3, 4, 4)]
    assert sum(clip.length or 0 for clip in clips.values()) == 9


def test_alternating_sizes_are_one_part_each(folder):
    sizes = {number: (20 + 10 * (number % 2), 40) for number in range(7)}
    env = RecordVideo(Barcode(6, sizes=sizes), str(folder))
    play(env)
    env.close()
    assert len(films.videos(folder)) == 7
    films.check(folder)


def test_an_env_of_another_dtype_each_time_is_one_video(folder):
    class Moody(Barcode):
        def render(self):
            frame = super().render()
            return (frame, frame > 127, frame / 255, frame[::-1].copy()[::-1])[self.number % 4]

    env = RecordVideo(Moody(11), str(folder))
    play(env)
    env.close()
    assert films.numbers(folder / "rl-video-episode-0.mp4") == list(range(12))


# --- RenderCollection on either side ----------------------------------------------------------------------


@pytest.mark.parametrize("pop_frames", [True, False])
@pytest.mark.parametrize("reset_clean", [True, False])
@pytest.mark.parametrize("look_every", [0, 2])
def test_over_a_render_collection(folder, pop_frames, reset_clean, look_every):
    """The video has each frame once, whether or not its user takes frames meanwhile, who gets each once, too."""
    env = RecordVideo(RenderCollection(Barcode(6), pop_frames, reset_clean), str(folder), always)
    taken = []
    env.reset()
    for step in range(6):
        env.step(0)
        if look_every and step % look_every == 0:
            frames = env.render()
            assert isinstance(frames, list)
            taken += frames if pop_frames else []
    frames = env.render()
    taken = taken + frames if pop_frames else frames
    assert [decode(frame, 84, 84) for frame in taken] == list(range(7))
    env.close()
    assert films.numbers(folder / "rl-video-episode-0.mp4") == list(range(7))


@pytest.mark.parametrize("pop_frames", [True, False])
def test_under_a_render_collection(folder, pop_frames):
    env = RenderCollection(RecordVideo(Barcode(6), str(folder), always), pop_frames)
    play(env)
    assert len(env.render()) == 7
    assert len(env.render()) == (0 if pop_frames else 7)
    env.close()
    assert films.numbers(folder / "rl-video-episode-0.mp4") == list(range(7))


def test_a_collection_just_emptied_is_warned_about(folder):
    env = RecordVideo(RenderCollection(Barcode(6)), str(folder))
    env.reset()
    env.env.render()
    with pytest.warns(UserWarning, match=r"'env.render\(\)' has just been called"):
        env._capture_frame()  # as Gymnasium's tests do
    env.close()


def test_frames_taken_from_a_collection_do_not_pile_up(folder):
    env = RecordVideo(RenderCollection(Barcode(3)), str(folder), always)
    for _ in range(5):
        play(env)
        assert len(env.render_history) <= 4
    env.close()


def test_rgb_array_list_through_make(folder):
    env = RecordVideo(gym.make("CartPole-v1", render_mode="rgb_array_list"), str(folder), always)
    steps = play(env, seed=3)
    env.close()
    assert steps
    lengths = [len(list(films.shots(folder / name))) for name in films.videos(folder)]
    assert lengths == [env.step_id + 2]
