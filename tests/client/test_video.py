"""`RecordVideo` for a single env: which videos there are, what they are called, what is in them."""

from __future__ import annotations

import gc
import inspect
import re
import warnings

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.save_video import capped_cubic_video_schedule
from gymnasium.wrappers import RenderCollection

import films
import offcam
from envs import Barcode, Look, decode, play
from offcam import RecordVideo
from offcam.recording import nothing_to_collect

pytestmark = pytest.mark.usefixtures("daemon")


def always(number: int) -> bool:
    return True


def every_second(number: int) -> bool:
    return number % 2 == 0


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "run"


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


def test_names_again_replace_the_older_file(folder):
    for length in (3, 5):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # "Overwriting existing videos", see below
            env = RecordVideo(Barcode(length), str(folder))
        play(env)
        env.close()
    assert films.videos(folder) == ["rl-video-episode-0.mp4"]
    assert films.numbers(folder / "rl-video-episode-0.mp4") == [0, 1, 2, 3, 4, 5]
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


# --- attributes, spec, life -------------------------------------------------------------------------------


def test_attributes(folder):
    env = RecordVideo(Barcode(3, fps=25), str(folder), always, name_prefix="p")
    assert env.video_folder == str(folder)
    assert (env.frames_per_sec, env.name_prefix, env.video_length) == (25, "p", float("inf"))
    assert (env.episode_id, env.step_id, env.recording, env.render_history) == (-1, -1, False, [])
    env.reset()
    assert (env.episode_id, env.step_id, env.recording) == (0, -1, True)
    play(env)
    assert (env.episode_id, env.step_id, env.recording) == (1, 2, True)
    env.close()
    assert not env.recording


def test_every_constructor_argument_is_recorded_and_the_spec_rebuilds_the_env(folder):
    arguments = {
        "video_folder": str(folder), "episode_trigger": always, "step_trigger": every_second, "video_length": 7,
        "name_prefix": "spec", "fps": 12, "disable_logger": False, "gc_trigger": every_second, "overflow": "block",
    }  # fmt: skip
    assert list(arguments) == list(inspect.signature(RecordVideo).parameters)[1:]
    env = RecordVideo(gym.make("CartPole-v1", render_mode="rgb_array"), **arguments)
    spec = env.spec
    assert spec is not None
    assert spec.additional_wrappers[-1].kwargs == arguments
    env.close()
    with pytest.warns(UserWarning, match="Overwriting existing videos"):
        again = gym.make(spec)
    assert isinstance(again, RecordVideo)
    assert again._saved_kwargs == arguments  # where RecordConstructorArgs keeps them
    assert (again.video_length, again.frames_per_sec, again.name_prefix) == (7, 12, "spec")
    again.close()


def test_the_arguments_are_gymnasiums_in_its_order():
    ours = inspect.signature(RecordVideo).parameters
    theirs = inspect.signature(gym.wrappers.RecordVideo).parameters
    assert list(ours)[: len(theirs)] == list(theirs)
    for name, parameter in theirs.items():
        assert ours[name].kind == parameter.kind
        if name != "gc_trigger":
            assert ours[name].default == parameter.default


def test_the_folder_that_exists_is_warned_about(folder):
    folder.mkdir()
    with pytest.warns(UserWarning, match="Overwriting existing videos at"):
        env = RecordVideo(Barcode(), str(folder))
    env.close()


def test_a_relative_folder_is_where_it_was_when_it_was_given(tmp_path, monkeypatch):
    env = RecordVideo(Barcode(2), "here/run")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    play(env)
    env.close()
    assert films.videos(tmp_path / "here" / "run") == ["rl-video-episode-0.mp4"]


def test_closing_twice_and_going_on_after_close(folder):
    env = RecordVideo(Barcode(2), str(folder), always)
    play(env)
    env.close()
    env.close()
    play(env)  # Gymnasium's goes on, too
    env.close()
    assert [films.numbers(folder / name) for name in films.videos(folder)] == [[0, 1, 2]] * 2
    films.check(folder)


def test_a_half_built_wrapper_is_collected_in_silence(folder, recwarn):
    with pytest.raises(ValueError, match="incompatible with RecordVideo"):
        RecordVideo(Barcode(render_mode=None), str(folder))
    gc.collect()  # an error in __del__ would be unraisable, which pytest makes one
    bare = RecordVideo.__new__(RecordVideo)
    del bare
    gc.collect()
    assert not folder.exists()


def test_a_wrapper_that_is_dropped_without_close_loses_nothing(folder):
    env = RecordVideo(Barcode(4), str(folder))
    play(env)
    del env
    gc.collect()
    other = RecordVideo(Barcode(2), str(folder / "other"))
    play(other)
    other.close()  # waits for all of this process's files
    assert films.numbers(folder / "rl-video-episode-0.mp4") == [0, 1, 2, 3, 4]
    films.check(folder)


def test_a_wrapper_dropped_without_close_frees_its_names(folder, recwarn):
    """As in a notebook whose cell is run again."""
    env = RecordVideo(Barcode(4), str(folder))
    play(env)
    del env
    gc.collect()
    again = RecordVideo(Barcode(6), str(folder))
    play(again)
    again.close()
    assert not [str(warning.message) for warning in recwarn if "suffix" in str(warning.message)]
    assert films.videos(folder) == ["rl-video-episode-0.mp4"]
    assert films.numbers(folder / "rl-video-episode-0.mp4") == list(range(7))


def test_garbage_is_collected_only_when_asked_for(folder):
    assert nothing_to_collect(0) is False
    asked = []
    env = RecordVideo(Barcode(2), str(folder), always, gc_trigger=lambda episode: asked.append(episode) or True)
    collections = gc.get_stats()[2]["collections"]
    play(env, 2)
    env.close()
    assert asked == [1, 1]  # the first video ends in the second episode's reset
    assert gc.get_stats()[2]["collections"] >= collections + 2


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
        (np.zeros((4, 84, 84, 3), np.uint8), "looks like a batch: use `offcam.vector.RecordVideo`"),
        (np.zeros((84, 84, 2), np.uint8), r"must be \(height, width\), or \(height, width, 1, 3 or 4\)"),
        (np.zeros((84,), np.uint8), r"must be \(height, width\)"),
        (np.zeros((0, 84, 3), np.uint8), "is empty"),
        (np.full((84, 84, 3), 200.0), r"must be within 0..1, got 200..200: .*np.clip\(frame, 0, 255\)"),
        (np.full((84, 84, 3), np.nan), "must be within 0..1, got nan"),
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
