"""`offcam.save_video`: frames that are there already become videos with Gymnasium's names."""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path

import pytest

import films
import offcam
from envs import Barcode, decode

pytestmark = pytest.mark.usefixtures("daemon")


@pytest.fixture
def frames():
    env = Barcode(9)
    env.reset()
    return [env.render().copy(), *[env.step(0) and env.render().copy() for _ in range(9)]]


def test_an_episode_and_those_from_some_steps_on(folder, frames):
    """Gymnasium's of the step k begins with the frame after that step."""
    offcam.save_video(frames, folder, episode_trigger=lambda episode: episode == 3, episode_index=3, fps=10)
    assert films.numbers(folder / "rl-video-episode-3.mp4") == list(range(10))
    offcam.save_video(
        frames,
        folder,
        lambda episode: episode == 3,
        lambda step: step % 5 == 0,
        4,
        episode_index=4,
        step_starting_index=100,
    )
    assert films.videos(folder) == ["rl-video-episode-3.mp4", "rl-video-step-100.mp4", "rl-video-step-105.mp4"]
    assert films.numbers(folder / "rl-video-step-100.mp4") == [1, 2, 3, 4]
    assert films.numbers(folder / "rl-video-step-105.mp4") == [6, 7, 8, 9]
    assert {(clip.name[9:], clip.fps, clip.episode) for clip in films.clips(folder).values()} == {
        ("episode-3", 10, 3),
        ("step-100", 30, 4),
        ("step-105", 30, 4),
    }
    films.check(folder)


def shown_by(save, frames, folder, monkeypatch, **arguments):
    """What Gymnasium's own function would write: by name, which frames."""
    written = {}

    class Clip:
        def __init__(self, sequence, fps):
            self.numbers = [decode(frame, 84, 84) for frame in sequence]

        def write_videofile(self, path, logger):
            written[Path(path).name] = self.numbers

    monkeypatch.setattr(save, "ImageSequenceClip", Clip)
    save.save_video(frames, str(folder), fps=30, **arguments)
    return written


@pytest.mark.parametrize(
    "arguments",
    [
        {"episode_index": 8},
        {"episode_index": 2},
        {"episode_trigger": lambda episode: episode % 2 == 0, "video_length": 4, "name_prefix": "even"},
        {"step_trigger": lambda step: step % 4 == 0, "step_starting_index": 3},
        {"step_trigger": lambda step: step in (8, 11), "step_starting_index": 3, "video_length": 1},
        {"episode_trigger": lambda _: True, "step_trigger": lambda step: step == 0, "video_length": 100},
    ],
)
def test_names_and_frames_are_gymnasiums(folder, frames, monkeypatch, arguments):
    pytest.importorskip("moviepy")
    save = importlib.import_module("gymnasium.utils.save_video")
    theirs = shown_by(save, frames, folder.with_name("theirs"), monkeypatch, **arguments)
    offcam.save_video(frames, folder, fps=30, **arguments)
    assert {name: films.numbers(folder / name) for name in films.videos(folder)} == theirs
    positions = list(inspect.signature(save.save_video).parameters)[:-1]  # without kwargs, for its encoder
    assert list(inspect.signature(offcam.save_video).parameters)[: len(positions)] == positions


def test_the_schedule_is_gymnasiums_and_one_frame_is_a_video(folder, frames):
    for episode in range(9):
        offcam.save_video(frames[:1], folder, episode_index=episode, name_prefix="one", wait=False)
    offcam.save_video([], folder, episode_index=0, name_prefix="one")
    assert films.videos(folder) == [f"one-episode-{episode}.mp4" for episode in (0, 1, 8)]
    assert {clip.frames for clip in films.clips(folder).values()} == {1}
    films.check(folder)


def test_what_is_wrong_is_said_with_the_fix(folder, frames):
    with pytest.raises(offcam.ConfigError, match="rgb_array_list"):
        offcam.save_video(frames[0], folder)
    with pytest.raises(offcam.ConfigError, match="step_trigger=lambda step: step % 50 == 0"):
        offcam.save_video(frames, folder, step_trigger=50)
    with pytest.raises(offcam.ConfigError, match="name_prefix"):
        offcam.save_video(frames, folder, name_prefix="a/b")
    with pytest.raises(offcam.ConfigError, match="fps"):
        offcam.save_video(frames, folder, fps=0)
    assert not films.videos(folder)
