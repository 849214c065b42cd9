"""What a caller may give the wrappers: a mistake is told when they are made, with its fix; nothing is left behind."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

import films
import offcam
from envs import Barcode, play
from offcam_proto.limits import MAX_NAME_BYTES


def single(wrapper, *arguments, **given):
    return wrapper(Barcode(3), *arguments, **given)


def vector(wrapper, *arguments, **given):
    return wrapper(SyncVectorEnv([partial(Barcode, 3)] * 2), *arguments, **given)


MAKERS = {
    "single": partial(single, offcam.RecordVideo),
    "vector": partial(vector, offcam.vector.RecordVideo),
    "record": partial(single, offcam.record),
    "record-vector": partial(vector, offcam.record),
}
on_all = pytest.mark.parametrize("make", MAKERS.values(), ids=list(MAKERS))


# --- mistakes ---------------------------------------------------------------------------------------------

MISTAKES = [
    ({"episode_trigger": 100}, ["episode_trigger", "100", "lambda episode: episode % 100 == 0", "every=100"]),
    ({"episode_trigger": True}, ["episode_trigger", "True", "lambda episode: True", "every=1)"]),
    ({"episode_trigger": "always"}, ["episode_trigger", "'always'", "lambda episode"]),
    ({"step_trigger": 5000}, ["step_trigger", "5000", "lambda step: step % 5000 == 0"]),
    ({"gc_trigger": 3}, ["gc_trigger", "3", "lambda episode"]),
    ({"video_length": None}, ["video_length", "None", "video_length=300", "leave it out"]),
    ({"video_length": "3"}, ["video_length", "'3'"]),
    ({"video_length": -1}, ["video_length", "-1"]),
    ({"video_length": math.nan}, ["video_length", "nan"]),
    ({"name_prefix": None}, ["name_prefix", "None", "name_prefix='eval'"]),
    ({"name_prefix": ""}, ["name_prefix", "''", "name_prefix='eval'"]),
    ({"name_prefix": "a/b"}, ["name_prefix", "'a/b'", "video_folder"]),
    ({"name_prefix": "x" * MAX_NAME_BYTES}, ["name_prefix", "at most"]),
    ({"fps": 0}, ["fps", "got 0", "fps=30"]),
    ({"fps": -30}, ["fps", "-30"]),
    ({"fps": math.nan}, ["fps", "nan"]),
    ({"fps": "30"}, ["fps", "'30'"]),
    ({"every_nth_frame": 0}, ["every_nth_frame", "got 0", "every_nth_frame=3", "leave it out"]),
    ({"every_nth_frame": True}, ["every_nth_frame", "True"]),
    ({"every_nth_frame": 2.0}, ["every_nth_frame", "2.0"]),
    ({"max_size": 320}, ["max_size", "320", "max_size=(320, 240)"]),
    ({"max_size": (320, 1)}, ["max_size", "(320, 1)"]),
    ({"max_size": (320, 20000)}, ["max_size", "20000", "16384"]),
    ({"max_size": (320, 240, 3)}, ["max_size", "(320, 240, 3)"]),
    ({"max_size": "320x240"}, ["max_size", "'320x240'"]),
    ({"crf": 52}, ["crf", "52", "0 (lossless) to 51", "crf=28"]),
    ({"crf": 23.0}, ["crf", "23.0"]),
    ({"preset": "quick"}, ["preset", "'quick'", "veryslow", "preset='medium'"]),
    ({"encode": "fast"}, ["encode", "'idle' or 'now'", "'fast'", "encode='now'", "leave it out"]),
    ({"encode": True}, ["encode", "True"]),
    ({"encode": ["now"]}, ["encode", "['now']"]),
    ({"steps": "no"}, ["steps", "'no'", "True or False"]),
    ({"strict": "no"}, ["strict", "'no'", "strict=True", "leave it out"]),
    ({"resume": 3}, ["resume", "got 3", "True or False"]),
    ({"overflow": "wait"}, ["overflow", "'wait'", "'drop' or 'block'"]),
]


@on_all
@pytest.mark.parametrize(("given", "said"), MISTAKES, ids=[repr(given)[:40] for given, _ in MISTAKES])
def test_a_mistake_is_told_with_its_fix(make, given, said, tmp_path):
    with pytest.raises(offcam.ConfigError) as told:
        make(tmp_path / "run", **given)
    assert [words for words in said if words not in str(told.value)] == []
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("folder", [5, 1.5, "run\0", ["run"]])
@pytest.mark.parametrize("statistics", [False, True])
def test_a_folder_that_is_no_path(folder, statistics):
    kinds = (offcam.RecordEpisodeStatistics, offcam.vector.RecordEpisodeStatistics)
    alone = [partial(single, kinds[0]), partial(vector, kinds[1])]
    error = offcam.ConfigError if isinstance(folder, str) else TypeError  # as Gymnasium's
    for make in [partial(each, folder=folder) for each in alone] if statistics else MAKERS.values():
        with pytest.raises(error, match=r"a run's folder must be a path, got .*'runs/cartpole'"):
            make() if statistics else make(folder)


@pytest.mark.parametrize("given", [{"strict": "no"}, {"resume": 1}], ids=str)
@pytest.mark.parametrize("wrap", [offcam.RecordEpisodeStatistics, offcam.vector.RecordEpisodeStatistics])
def test_a_flag_of_statistics_alone_is_so_or_not(wrap, given):
    make = single if wrap is offcam.RecordEpisodeStatistics else vector
    with pytest.raises(offcam.ConfigError, match="must be True or False"):
        make(wrap, **given)


@pytest.mark.parametrize("ratio", [1, (1,), (0, 1), (1, 2, 3), ("16", "9")])
@pytest.mark.parametrize("wrapper", [offcam.vector.RecordVideo, offcam.record])
def test_an_aspect_ratio_is_two_numbers(wrapper, ratio, tmp_path):
    with pytest.raises(offcam.ConfigError, match=r"\(width, height\)"):
        vector(wrapper, tmp_path, video_aspect_ratio=ratio)


def test_a_construction_that_fails_leaves_the_env_as_it_was(tmp_path):
    envs = SyncVectorEnv([Barcode] * 2, autoreset_mode=AutoresetMode.SAME_STEP)
    before = [dict(vars(env)) for env in envs.envs]
    with pytest.raises(offcam.ConfigError):
        offcam.vector.RecordVideo(envs, tmp_path, name_prefix="")
    assert [vars(env) for env in envs.envs] == before


@pytest.mark.parametrize("length", [-1, 2.5, "100"])
@pytest.mark.parametrize(
    "make",
    [
        partial(single, offcam.RecordEpisodeStatistics),
        partial(vector, offcam.vector.RecordEpisodeStatistics),
        partial(single, offcam.record, folder="never"),
    ],
    ids=["single", "vector", "record"],
)
def test_a_length_that_no_queue_has(make, length, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(offcam.ConfigError, match="buffer_length=100"):
        make(buffer_length=length)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("every", [0, -3, 1.5, True, "100", np.int64(0)])
def test_every_is_a_positive_integer(every, tmp_path):
    with pytest.raises(offcam.ConfigError, match="every=100"):
        single(offcam.record, tmp_path, every=every)


@pytest.mark.parametrize("given", [{"video_aspect_ratio": (2, 1)}, {"record_first_only": True}, {"per_env": False}])
def test_what_only_a_vector_env_has(given, tmp_path):
    with pytest.raises(offcam.ConfigError, match="for vector envs alone"):
        single(offcam.record, tmp_path / "run", **given)
    assert not (tmp_path / "run").exists()


def test_an_unknown_argument_is_named(tmp_path):
    with pytest.raises(TypeError, match="'evry'"):
        single(offcam.record, tmp_path, evry=10)


def test_a_name_for_a_recording_by_hand(tmp_path, monkeypatch):
    monkeypatch.setenv("OFFCAM", "off")
    env = single(offcam.RecordVideo, tmp_path / "run")
    for name in (None, "", "a/b"):
        with pytest.raises(offcam.ConfigError, match="video_name"):
            env.start_recording(name)
    env.close()


# --- what is no env, or one of another kind -----------------------------------------------------------------


class VecEnv:
    """What Stable-Baselines3's have."""

    num_envs = 2

    def step_async(self, actions):
        raise NotImplementedError

    def step_wait(self):
        raise NotImplementedError


OldEnv = type("OldEnv", (), {"__module__": "gym.core"})
STRANGERS = {
    "nothing": (None, "gymnasium.make("),
    "id": ("CartPole-v1", "gymnasium.make('CartPole-v1', render_mode=\"rgb_array\")"),
    "class": (Barcode, 'Barcode(render_mode="rgb_array")'),
    "vecenv": (VecEnv(), "use `offcam.integrations.stable_baselines3.record(env, folder)`"),
    "pettingzoo": (
        SimpleNamespace(possible_agents=["a", "b"]),
        "use `offcam.integrations.pettingzoo.record(env, folder)`",
    ),
    "gym": (OldEnv(), "GymV26Environment-v0"),
}
SINGLES = [partial(offcam.RecordVideo, video_folder="never"), offcam.RecordEpisodeStatistics]
VECTORS = [partial(offcam.vector.RecordVideo, video_folder="never"), offcam.vector.RecordEpisodeStatistics]


@pytest.mark.parametrize(("stranger", "fix"), STRANGERS.values(), ids=list(STRANGERS))
def test_what_is_no_env_is_told_what_to_do(stranger, fix):
    for wrapper in (*SINGLES, *VECTORS):
        with pytest.raises(TypeError) as told:
            wrapper(stranger)
        assert fix in str(told.value)
        assert str(type(stranger)) in str(told.value)
    with pytest.raises(offcam.ConfigError) as told:
        offcam.record(stranger)
    assert fix in str(told.value)
    assert not Path("never").exists()


@pytest.mark.parametrize(
    ("wrapper", "name"),
    list(zip(SINGLES, ["RecordVideo", "RecordEpisodeStatistics"], strict=True)),
    ids=["video", "sums"],
)
def test_a_vector_env_in_a_single_wrapper_and_the_reverse(wrapper, name):
    with pytest.raises(TypeError, match=f"use `offcam.vector.{name}`"):
        wrapper(SyncVectorEnv([Barcode]))
    twin = VECTORS[SINGLES.index(wrapper)]
    with pytest.raises(TypeError, match=f"use `offcam.{name}`"):
        twin(Barcode())


def test_an_env_that_renders_no_images(tmp_path):
    env = Barcode(render_mode=None)
    envs = SyncVectorEnv([partial(Barcode, render_mode=None)])
    for wrapper, blind in ((offcam.RecordVideo, env), (offcam.vector.RecordVideo, envs)):
        for make in (wrapper, offcam.record):
            with pytest.raises(ValueError, match=r'gym.make\(\.\.\., render_mode="rgb_array"\)'):
                make(blind, tmp_path / "run")
    assert not (tmp_path / "run").exists()


# --- what passes --------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("daemon")
def test_folders_are_paths_and_integers_may_be_numpys(tmp_path):
    env = offcam.record(
        Barcode(3),
        tmp_path / "one",
        every=np.int64(2),
        video_length=np.int32(2),
        fps=np.uint8(25),
        buffer_length=np.int16(2),
    )
    play(env, 3)
    videos = env.env
    assert (videos.video_folder, env.run_folder) == (str(tmp_path / "one"),) * 2
    assert (videos.video_length, videos.frames_per_sec, env.return_queue.maxlen) == (2, 25, 2)
    saved = {**videos._saved_kwargs, **env._saved_kwargs}  # where Gymnasium keeps them; a spec's are written as JSON
    assert [type(saved[name]) for name in ("video_folder", "video_length", "fps", "buffer_length")] == [str, *[int] * 3]
    env.close()
    assert films.videos(tmp_path / "one") == ["rl-video-episode-0.mp4", "rl-video-episode-2.mp4"]
    assert films.numbers(tmp_path / "one" / "rl-video-episode-2.mp4") == [0, 1]
    assert offcam.load(tmp_path / "one").episodes.length.tolist() == [3, 3, 3]
    assert len(offcam.load([tmp_path / "one"])) == 1


@pytest.mark.usefixtures("daemon")
def test_a_vector_envs_too(tmp_path):
    envs = offcam.record(
        SyncVectorEnv([partial(Barcode, 3)] * 2),
        tmp_path,
        every=np.int64(1),
        video_length=np.int64(2),
        fps=np.float32(5),
    )
    envs.reset()
    envs.step(np.zeros(2, int))
    envs.step(np.zeros(2, int))
    assert (envs.run_folder, envs.env.frames_per_sec) == (str(tmp_path), 5.0)
    envs.close()
    assert films.videos(tmp_path) == ["rl-video-episode-0.mp4"]


@pytest.mark.usefixtures("daemon")
def test_without_a_folder_the_run_is_in_offcam_dir_and_says_where(tmp_path, monkeypatch):
    monkeypatch.setenv("OFFCAM_DIR", str(tmp_path / "all"))
    env = offcam.record(gym.make("CartPole-v1", render_mode="rgb_array"), every=1)
    play(env)
    env.close()
    (run,) = (tmp_path / "all").iterdir()
    assert "CartPole-v1" in run.name
    assert env.run_folder == env.env.video_folder == str(run)
    assert films.videos(run) == ["rl-video-episode-0.mp4"]


@pytest.mark.parametrize("length", [0, 0.0, math.inf, True, 2.5, 10**30])
def test_video_lengths_that_gymnasium_takes(length, tmp_path, monkeypatch):
    monkeypatch.setenv("OFFCAM", "off")
    for kind in ("single", "vector"):
        env = MAKERS[kind](tmp_path / kind, video_length=length)
        assert env.video_length == (length or math.inf)
        env.close()


@pytest.mark.parametrize(("length", "kept"), [(0, 0), (None, 3), (2, 2)])
def test_buffer_lengths_that_gymnasium_takes(length, kept, monkeypatch):
    monkeypatch.setenv("OFFCAM", "off")
    ours = offcam.RecordEpisodeStatistics(Barcode(2), length)
    theirs = gym.wrappers.RecordEpisodeStatistics(Barcode(2), length)
    for env in (ours, theirs):
        play(env, 3)
    assert len(ours.return_queue) == len(theirs.return_queue) == kept
    assert ours.return_queue.maxlen == theirs.return_queue.maxlen


def test_a_trigger_that_is_false_never_records_as_in_gymnasium(tmp_path, monkeypatch):
    monkeypatch.setenv("OFFCAM", "off")
    env = single(offcam.RecordVideo, tmp_path / "run", episode_trigger=False)
    play(env, 2)
    assert not env.recording


def test_a_folder_may_be_bytes_as_in_python(tmp_path, monkeypatch):
    monkeypatch.setenv("OFFCAM", "off")
    folder = str(tmp_path / "run")
    assert single(offcam.RecordVideo, folder.encode()).video_folder == folder


# --- what a caller may catch --------------------------------------------------------------------------------


def test_each_exported_error_is_described_in_the_package():
    errors = [
        name
        for name in offcam.__all__
        if isinstance(getattr(offcam, name), type) and issubclass(getattr(offcam, name), Exception)
    ]
    assert "FolderNotWritable" in errors
    assert all(issubclass(getattr(offcam, name), offcam.OffcamError) for name in errors)
    assert [name for name in errors if name not in offcam.__doc__] == []


def test_each_error_that_a_docstring_of_the_client_names_is_exported():
    import offcam_proto.errors as tree  # noqa: PLC0415 - only here

    named = {
        name
        for what in (offcam.record, offcam.load, offcam.RecordVideo, offcam.RecordEpisodeStatistics,
                     offcam.vector.RecordVideo, offcam.vector.RecordEpisodeStatistics)
        for name in vars(tree)
        if isinstance(getattr(tree, name), type) and f"{name}:" in what.__doc__
    }  # fmt: skip
    assert "KeyRefused" in named
    assert [name for name in named if not hasattr(offcam, name)] == []
