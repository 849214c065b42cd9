"""`RecordVideo` for a single env: which videos there are, what they are called, what is in them."""

from __future__ import annotations

import warnings

import pytest

import films
import offcam
from envs import Barcode, Look, play
from offcam import RecordVideo
from offcam.wrappers.triggers import capped_cubic_video_schedule
from triggers import always, every_second

pytestmark = pytest.mark.usefixtures("daemon")


# --- triggers ---------------------------------------------------------------------------------------------


def test_the_default_schedule_is_gymnasiums(folder):
    env = RecordVideo(Barcode(1), str(folder))
    assert env.episode_trigger is capped_cubic_video_schedule
    play(env, 10)
    env.close()
    assert films.videos(folder) == [f"rl-video-episode-{n}.mp4" for n in (0, 1, 8)]
    films.check(folder)


def test_the_episode_trigger_chooses_episodes(folder):
    env = RecordVideo(Barcode(3), str(folder), every_second, name_prefix="mine")
    play(env, 5)
    env.close()
    assert films.videos(folder) == [f"mine-episode-{n}.mp4" for n in (0, 2, 4)]
    for name in films.videos(folder):
        assert films.numbers(folder / name) == [0, 1, 2, 3]


def test_the_step_trigger_counts_steps_over_all_episodes(folder):
    env = RecordVideo(Barcode(10), str(folder), step_trigger=lambda step: step in (4, 13))
    play(env, 3)
    env.close()
    assert films.videos(folder) == ["rl-video-step-13.mp4", "rl-video-step-4.mp4"]
    assert films.numbers(folder / "rl-video-step-4.mp4") == [5, 6, 7, 8, 9, 10]
    assert films.numbers(folder / "rl-video-step-13.mp4") == [4, 5, 6, 7, 8, 9, 10]


def test_both_triggers_at_once(folder):
    env = RecordVideo(Barcode(10), str(folder), lambda episode: episode == 1, lambda step: step == 13)
    play(env, 2)
    env.close()
    assert films.numbers(folder / "rl-video-episode-1.mp4") == [0, 1, 2, 3]
    assert films.numbers(folder / "rl-video-step-13.mp4") == [4, 5, 6, 7, 8, 9, 10]


def test_a_step_trigger_that_fires_while_recording_begins_a_new_video(folder):
    env = RecordVideo(Barcode(9), str(folder), step_trigger=lambda step: step % 3 == 0)
    play(env)
    env.close()
    shown = {name: films.numbers(folder / name) for name in films.videos(folder)}
    assert shown == {
        "rl-video-step-0.mp4": [1, 2, 3],
        "rl-video-step-3.mp4": [4, 5, 6],
        "rl-video-step-6.mp4": [7, 8, 9],
    }


def test_a_trigger_that_raises_raises_in_the_loop_and_loses_nothing(folder):
    def fails_at_one(episode: int) -> bool:
        return 1 / (1 - episode) > 0

    env = RecordVideo(Barcode(2), str(folder), fails_at_one)
    play(env)
    with pytest.raises(ZeroDivisionError):
        env.reset()
    env.close()
    assert films.numbers(folder / "rl-video-episode-0.mp4") == [0, 1, 2]


# --- video_length -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [1, 2, 5])
def test_video_length_is_the_number_of_frames(folder, length):
    env = RecordVideo(Barcode(20), str(folder), lambda episode: episode == 0, video_length=length)
    play(env, 2)
    env.close()
    assert films.videos(folder) == ["rl-video-episode-0.mp4"]
    assert films.numbers(folder / "rl-video-episode-0.mp4") == list(range(length))


def test_video_length_spans_episodes(folder):
    env = RecordVideo(Barcode(3), str(folder), step_trigger=lambda step: step == 1, video_length=6)
    play(env, 3)
    env.close()
    assert films.numbers(folder / "rl-video-step-1.mp4") == [2, 3, 0, 1, 2, 3]


def test_a_video_cut_short_by_close_is_kept(folder):
    env = RecordVideo(Barcode(20), str(folder), video_length=1000)
    env.reset()
    for _ in range(4):
        env.step(0)
    env.close()
    assert films.numbers(folder / "rl-video-episode-0.mp4") == [0, 1, 2, 3, 4]
    films.check(folder)


# --- by hand ----------------------------------------------------------------------------------------------


def test_recording_by_hand(folder):
    env = RecordVideo(Barcode(20), str(folder), lambda _: False)
    env.reset()
    env.start_recording("my own name")
    assert env.recording
    for _ in range(3):
        env.step(0)
    env.stop_recording()
    assert not env.recording
    assert env.flush()
    assert films.numbers(folder / "my own name.mp4") == [1, 2, 3]
    env.close()


def test_flush_returns_when_the_files_are_final(folder):
    env = RecordVideo(Barcode(5), str(folder), always)
    for episode in range(4):
        play(env)
        env.stop_recording()
        assert env.flush()
        assert films.numbers(folder / f"rl-video-episode-{episode}.mp4") == [0, 1, 2, 3, 4, 5]
    env.close()


def test_stopping_what_was_not_started(folder):
    env = RecordVideo(Barcode(), str(folder))
    with pytest.raises(AssertionError, match="stop_recording was called, but no recording was started"):
        env.stop_recording()
    with pytest.raises(AssertionError, match="Cannot capture a frame, recording wasn't started"):
        env._capture_frame()  # as Gymnasium's tests do
    env.close()


def test_a_video_without_frames_is_no_video(folder):
    env = RecordVideo(Barcode(), str(folder))
    env.start_recording("nothing")
    with pytest.warns(UserWarning, match="Ignored saving a video as there were zero frames to save"):
        env.close()
    assert films.videos(folder) == []


def test_names_again_leave_the_older_file(folder):
    for length in (3, 5):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that their names carry a suffix
            env = RecordVideo(Barcode(length), str(folder))
        play(env)
        env.close()
    assert films.videos(folder) == ["rl-video-episode-0-s2.mp4", "rl-video-episode-0.mp4"]
    assert films.numbers(folder / "rl-video-episode-0.mp4") == [0, 1, 2, 3]
    assert films.numbers(folder / "rl-video-episode-0-s2.mp4") == [0, 1, 2, 3, 4, 5]
    films.check(folder)


def test_the_same_name_twice_in_one_recording_keeps_the_later(folder):
    env = RecordVideo(Barcode(20), str(folder), lambda _: False)
    env.reset()
    for length in (2, 4):
        env.start_recording("again")
        for _ in range(length):
            env.step(0)
        env.stop_recording()
        env.flush()
    env.close()
    assert films.numbers(folder / "again.mp4") == [3, 4, 5, 6]
    films.check(folder)


def test_the_same_name_twice_at_once_loses_nothing(folder):
    """Not flushed in between, so that the first may still be encoded when the second begins."""
    env = RecordVideo(Barcode(40, Look(400, 600)), str(folder), lambda _: False)
    env.reset()
    for _ in range(2):
        env.start_recording("again")
        for _ in range(20):
            env.step(0)
        env.stop_recording()
    env.close()
    shown = [films.numbers(folder / name, 400, 600) for name in films.videos(folder)]
    assert list(range(21, 41)) in shown
    films.check(folder)


# --- names ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a b", "ünï-日本", "per%cent", "'quote\"", "-dash", "tee:x", "%d", "x" * 200, ".hid"])
def test_names_that_are_fine(folder, name):
    env = RecordVideo(Barcode(2), str(folder), lambda _: False)
    env.reset()
    env.start_recording(name)
    env.step(0)
    env.close()
    assert films.videos(folder) == [f"{name}.mp4"] if not name.startswith(".") else True
    assert films.numbers(folder / f"{name}.mp4") == [1]


@pytest.mark.parametrize("name", ["", "a/b", "../up", "/abs", "a\0b", ".", "..", "x" * 201, "a\\b", "\ud800"])
def test_names_that_are_refused(folder, name):
    with pytest.raises(offcam.OffcamError, match="name_prefix must be"):
        RecordVideo(Barcode(2), str(folder), name_prefix=name)
    env = RecordVideo(Barcode(2), str(folder))
    env.reset()
    with pytest.raises(offcam.OffcamError, match="video_name must be"):
        env.start_recording(name)
    assert env.recording  # the video of before goes on
    env.step(0)
    env.close()
    assert films.numbers(folder / "rl-video-episode-0.mp4") == [0, 1]


def test_a_prefix_leaves_room_for_every_number(folder):
    """A name that is too long is said at construction, not in the millionth episode."""
    with pytest.raises(offcam.OffcamError, match=r"name_prefix must be .* at most 172 bytes"):
        RecordVideo(Barcode(2), str(folder), name_prefix="p" * 173)
    env = RecordVideo(Barcode(2), str(folder), always, always, name_prefix="p" * 172)
    env.episode_id, env.step_id = 10**18, 10**18
    play(env)
    env.close()
    assert len(films.videos(folder)) == 3
    films.check(folder)


# --- fps --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("render_fps", "fps", "expected"),
    [(50, None, 50), (50, 20, 20), (None, None, 30), (12.5, None, 12.5), (30, 0.5, 0.5)],
)
def test_frames_per_second(folder, render_fps, fps, expected):
    env = RecordVideo(Barcode(5, fps=render_fps), str(folder), fps=fps)
    assert env.frames_per_sec == expected
    play(env)
    env.close()
    times = [float(shot.time) for shot in films.shots(folder / "rl-video-episode-0.mp4")]
    assert times == pytest.approx([number / expected for number in range(6)], abs=1e-4)


@pytest.mark.parametrize("fps", [0, -1, 1e-4, 1001, float("nan"), "30", None])
def test_fps_that_is_none(folder, fps):
    env = Barcode()
    env.metadata["render_fps"] = fps
    with pytest.raises(offcam.OffcamError, match="fps must be a number"):
        RecordVideo(env, str(folder))
