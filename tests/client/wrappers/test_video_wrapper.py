"""`RecordVideo` as a wrapper: its attributes, its spec, how it ends."""

from __future__ import annotations

import gc
import inspect

import gymnasium as gym
import pytest

import films
from envs import Barcode, play
from offcam import RecordVideo, load
from offcam.wrappers.video_base import nothing_to_collect
from offcam_runs.run import read_run
from triggers import always, every_second
from waiting import wait_until

pytestmark = pytest.mark.usefixtures("daemon")


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
        "source": "render", "if_exists": "new", "strict": True, "every_nth_frame": 2, "max_size": [64, 64], "crf": 30,
        "preset": "ultrafast", "encode": "now", "steps": True, "steps_limit": 10**9,
    }  # fmt: skip
    names = list(inspect.signature(RecordVideo).parameters)[1:]
    # a rule has no part in such videos: see `tests/e2e/test_kept.py`, and `test_black_box.py` for the last seconds
    elsewhere = ["on_video", "keep", "keep_bytes", "last_seconds", "seconds_after"]
    assert [*arguments] == [name for name in names if name not in {"resume", *elsewhere}]  # the one is `if_exists`
    env = RecordVideo(gym.make("CartPole-v1", render_mode="rgb_array"), **arguments, on_video=print)
    spec = env.spec
    assert spec is not None
    assert spec.additional_wrappers[-1].kwargs == arguments
    env.close()
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


def test_a_folder_with_videos_is_warned_about_and_an_empty_one_is_not(folder, recwarn):
    folder.mkdir()
    RecordVideo(Barcode(), str(folder)).close()
    assert not recwarn.list
    (folder / "offcam.sqlite3").unlink()
    (folder / "rl-video-episode-0.mp4").touch()
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


def test_a_wrapper_dropped_without_close_keeps_its_videos(folder):
    """As in a notebook whose cell is run again."""
    env = RecordVideo(Barcode(4), str(folder))
    play(env)
    del env
    gc.collect()
    wait_until(lambda: [stream.state for stream in read_run(folder).streams] == ["closed"], "its video is final")
    with pytest.warns(UserWarning, match="which stay: this one's file names carry the suffix -s2.*resume=True"):
        again = RecordVideo(Barcode(6), str(folder))
    play(again)
    again.close()
    assert films.videos(folder) == ["rl-video-episode-0-s2.mp4", "rl-video-episode-0.mp4"]
    assert films.numbers(folder / "rl-video-episode-0.mp4") == list(range(5))
    assert films.numbers(folder / "rl-video-episode-0-s2.mp4") == list(range(7))
    assert [load(folder, session=number).clips[0].frames for number in (1, 2)] == [5, 7]


def test_garbage_is_collected_only_when_asked_for(folder):
    assert nothing_to_collect(0) is False
    asked = []
    env = RecordVideo(Barcode(2), str(folder), always, gc_trigger=lambda episode: asked.append(episode) or True)
    collections = gc.get_stats()[2]["collections"]
    play(env, 2)
    env.close()
    assert asked == [1, 1]  # the first video ends in the second episode's reset
    assert gc.get_stats()[2]["collections"] >= collections + 2
