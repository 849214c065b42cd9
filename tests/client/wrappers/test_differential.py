"""The same env, seed and calls under Gymnasium's wrapper and ours: what both show must be the same.

Where Gymnasium is wrong the difference is pinned here, too.
"""

from __future__ import annotations

import re
import warnings
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import RenderCollection

import films
import offcam
from envs import Barcode, Look, play

if tuple(map(int, gym.__version__.split(".")[:2])) < (1, 4):
    pytest.skip("compares with Gymnasium 1.4; older ones have more faults of their own", allow_module_level=True)

pytestmark = pytest.mark.usefixtures("daemon")

ATTRIBUTES = ("recording", "episode_id", "step_id", "video_folder", "frames_per_sec", "name_prefix", "video_length")
VECTOR_ATTRIBUTES = (*ATTRIBUTES, "video_aspect_ratio", "record_first_only", "has_autoreset", "autoreset_mode")
SUMS = ("episode_count", "episode_returns", "episode_lengths", "return_queue", "length_queue")


def counting(base: Any) -> Any:
    """Gymnasium's wrapper, which remembers how many frames it meant each video to have."""

    class Counting(base):
        def __init__(self, *args, **kwargs):
            self.intended: dict[str, int] = {}
            super().__init__(*args, **kwargs)

        def stop_recording(self):
            self.intended[f"{self._video_name}.mp4"] = len(self.recorded_frames)
            super().stop_recording()

    return Counting


Theirs = counting(gym.wrappers.RecordVideo)
VectorTheirs = counting(gym.wrappers.vector.RecordVideo)
Ours = partial(offcam.RecordVideo, overflow="block")  # so that a crowded machine makes no difference
VectorOurs = partial(offcam.vector.RecordVideo, overflow="block")


def said(work) -> tuple[Any, list[str]]:
    """What some work returned or raised, and what it warned of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            outcome = work()
        except Exception as error:  # noqa: BLE001 - whatever it is, the other wrapper must raise it, too
            outcome = error
    texts = [re.sub(r"\x1b\[[0-9;]*m", "", str(warning.message)) for warning in caught]
    return outcome, sorted(text for text in texts if "WARN" in text)


def attributes(env: Any, names: tuple[str, ...]) -> dict[str, Any]:
    values = {name: getattr(env, name) for name in names}
    return {name: bool(value) if isinstance(value, np.bool_) else value for name, value in values.items()}


def frames_in(folder) -> dict[str, int]:
    return {name: sum(1 for _ in films.shots(folder / name)) for name in films.videos(folder)}


TRIGGERS = {
    "default": {},
    "every": {"episode_trigger": lambda _: True},
    "second": {"episode_trigger": lambda episode: episode % 2 == 1},
    "step": {"step_trigger": lambda step: step in (2, 17)},
    "both": {"episode_trigger": lambda episode: episode == 1, "step_trigger": lambda step: step in (2, 17, 18)},
    "none": {"episode_trigger": lambda _: False},
}


# --- RecordVideo ------------------------------------------------------------------------------------------


def around_older_videos(wrapper, env, folder, options):
    """A RecordVideo of a folder with a video in it, of which both warn; ours does not of an empty one."""
    folder.mkdir(parents=True)
    older = folder / "older.mp4"
    older.touch()
    recorded = wrapper(env, str(folder), **options)
    older.unlink()
    return recorded


def session(wrapper, folder, options, *, seed):
    """A user's doings with a RecordVideo; returns all that can be seen of it on the way."""
    env = around_older_videos(wrapper, gym.make("CartPole-v1", render_mode="rgb_array"), folder, options)
    env.action_space.seed(seed)
    seen = [attributes(env, ATTRIBUTES)]
    for episode in range(3):
        obs, info = env.reset(seed=seed + episode)
        seen.append([obs.tolist(), info, attributes(env, ATTRIBUTES)])
        over = False
        while not over:
            obs, reward, terminated, truncated, info = env.step(env.action_space.sample())
            seen.append([obs.tolist(), reward, terminated, truncated, info, attributes(env, ATTRIBUTES)])
            over = terminated or truncated
    seen.append(env.render().tolist())
    env.close()
    seen.append(attributes(env, ATTRIBUTES))
    return env, seen


def all_but(kept, cases):
    """Parameters of which the default tests need these alone: the others go the same way once more."""
    return [case if case in kept else pytest.param(case, marks=pytest.mark.slow) for case in cases]


NAMED = {"name_prefix": "p", "fps": 20}


@pytest.mark.parametrize("name", all_but(("default", "both"), TRIGGERS))
def test_single_videos(tmp_path, name):
    same_videos(tmp_path, TRIGGERS[name])


@pytest.mark.parametrize("name", all_but(["both"], TRIGGERS))
def test_single_videos_with_names(tmp_path, name):
    same_videos(tmp_path, NAMED | TRIGGERS[name])


def same_videos(tmp_path, options):
    results = {}
    for kind, wrapper in {"theirs": Theirs, "ours": Ours}.items():
        folder = tmp_path / kind / "run"
        folder.parent.mkdir()
        (env, seen), warned = said(partial(session, wrapper, folder, options, seed=5))
        text = repr(seen).replace(str(folder), "FOLDER")
        results[kind] = text, [warning.replace(str(folder), "FOLDER") for warning in warned], env, folder
    assert results["ours"][:2] == results["theirs"][:2]
    assert frames_in(results["ours"][3]) == results["theirs"][2].intended
    assert sorted(results["theirs"][2].intended) == films.videos(results["theirs"][3])


@pytest.mark.parametrize("length", [1, 4, 30])
def test_single_video_length_differs_by_the_one_frame_that_gymnasium_adds(tmp_path, length):
    options = {"video_length": length, "step_trigger": lambda step: step == 3}
    theirs = Theirs(Barcode(100), str(tmp_path / "theirs"), **options)
    ours = Ours(Barcode(100), str(tmp_path / "ours"), **options)
    for env in (theirs, ours):
        env.reset()
    for _ in range(40):
        theirs.step(0)
        ours.step(0)
        assert ours.recording == theirs.recording
    theirs.close()
    ours.close()
    assert theirs.intended == {"rl-video-step-3.mp4": length + 1}
    assert frames_in(tmp_path / "ours") == {"rl-video-step-3.mp4": length}


@pytest.mark.parametrize("pop_frames", [True, False])
@pytest.mark.parametrize("reset_clean", [True, False])
def test_single_over_a_collection(tmp_path, pop_frames, reset_clean):
    """A user who takes frames gets the same; but only Gymnasium puts frames twice, into both film and list."""
    theirs = Theirs(RenderCollection(Barcode(5), pop_frames, reset_clean), str(tmp_path / "theirs"))
    ours = Ours(RenderCollection(Barcode(5), pop_frames, reset_clean), str(tmp_path / "ours"))
    play(theirs)
    play(ours)
    rendered = [[frame.tolist() for frame in env.render()] for env in (theirs, ours)]
    theirs.close()
    ours.close()
    assert len(rendered[1]) == 6
    assert frames_in(tmp_path / "ours") == {"rl-video-episode-0.mp4": 6}
    if pop_frames:
        assert rendered[1] == rendered[0]
        assert theirs.intended == {"rl-video-episode-0.mp4": 6}
    else:
        assert len(rendered[0]) > 6
        assert theirs.intended == {"rl-video-episode-0.mp4": 12}


@pytest.mark.parametrize(
    "misuse",
    [
        lambda wrapper, folder: wrapper(Barcode(render_mode=None), folder),
        lambda wrapper, folder: wrapper(Barcode(render_mode="human"), folder),
        lambda wrapper, folder: wrapper(Barcode(), folder).stop_recording(),
        lambda wrapper, folder: wrapper(Barcode(), folder)._capture_frame(),
        lambda wrapper, folder: wrapper(Barcode()),
        lambda wrapper, folder: wrapper(Barcode(), folder, unknown=1),
        lambda wrapper, folder: wrapper(Barcode(), 5),
        lambda wrapper, folder: wrapper(None, folder),
    ],
    ids=["no-mode", "human", "stop", "capture", "no-folder", "unknown", "folder-5", "no-env"],
)
def test_misuse_raises_the_same(tmp_path, misuse):
    """The same type, and at least what Gymnasium says (ours may add how to fix it)."""
    (theirs, _), (ours, _) = (
        said(lambda wrapper=wrapper, kind=kind: misuse(wrapper, str(tmp_path / kind)))
        for kind, wrapper in {"theirs": gym.wrappers.RecordVideo, "ours": Ours}.items()
    )
    assert isinstance(theirs, Exception)
    assert type(ours) is type(theirs)
    assert str(theirs).rstrip(".") in str(ours) or str(theirs) == str(ours)


def test_frames_that_are_no_arrays_warn_the_same(tmp_path):
    class Blind(Barcode):
        def render(self):
            return None if self.number == 2 else super().render()

    results = []
    for kind, wrapper in {"theirs": gym.wrappers.RecordVideo, "ours": Ours}.items():
        env = wrapper(Blind(5), str(tmp_path / kind))
        _, warned = said(partial(play, env))
        results.append((warned, env.recording))
        env.close()
    ((theirs,), recording), ((ours,), ours_recording) = results
    assert ours.startswith(theirs.rstrip("."))  # and how to fix it
    assert (recording, ours_recording) == (False, False)


def test_gymnasium_loses_an_env_that_reuses_its_buffer_and_we_do_not(tmp_path):
    for kind, wrapper in {"theirs": gym.wrappers.RecordVideo, "ours": Ours}.items():
        env = wrapper(Barcode(9, Look(memory="reused")), str(tmp_path / kind))
        play(env)
        env.close()
    assert set(films.numbers(tmp_path / "theirs" / "rl-video-episode-0.mp4")) == {9}
    assert films.numbers(tmp_path / "ours" / "rl-video-episode-0.mp4") == list(range(10))


# --- vector.RecordVideo -----------------------------------------------------------------------------------


def vector_session(wrapper, folder, options, mode, *, count=3):
    plain = gym.make_vec(
        "CartPole-v1", count, "sync", render_mode="rgb_array", vector_kwargs={"autoreset_mode": mode}
    )  # fmt: skip
    envs = around_older_videos(wrapper, plain, folder, options)
    envs.action_space.seed(11)
    seen = [attributes(envs, VECTOR_ATTRIBUTES)]
    envs.reset(seed=4)
    for _ in range(60):
        obs, rewards, terminations, truncations, _ = envs.step(envs.action_space.sample())
        over = terminations | truncations
        seen.append([obs.tolist(), rewards.tolist(), over.tolist(), attributes(envs, VECTOR_ATTRIBUTES)])
        if mode is AutoresetMode.DISABLED and over.any():
            envs.reset(options={"reset_mask": over})
            seen.append(attributes(envs, VECTOR_ATTRIBUTES))
    envs.close()
    seen.append(attributes(envs, VECTOR_ATTRIBUTES))
    return envs, seen


@pytest.mark.parametrize("mode", list(AutoresetMode))
@pytest.mark.parametrize("name", ["default", *all_but(["both"], ["second", "step", "both"])])
def test_vector_videos(tmp_path, name, mode):
    results = {}
    for kind, wrapper in {"theirs": VectorTheirs, "ours": VectorOurs}.items():
        folder = tmp_path / kind / "run"
        (envs, seen), warned = said(partial(vector_session, wrapper, folder, TRIGGERS[name], mode))
        warned = [text for text in warned if mode is not AutoresetMode.SAME_STEP or "same-step" not in text]
        text = repr(seen).replace(str(folder), "FOLDER")
        results[kind] = text, [warning.replace(str(folder), "FOLDER") for warning in warned], envs, folder
    assert results["ours"][:2] == results["theirs"][:2]
    found, intended = frames_in(results["ours"][3]), results["theirs"][2].intended
    assert sorted(intended) == films.videos(results["theirs"][3])
    if mode is AutoresetMode.DISABLED:  # of a reset that no step follows ours makes no video
        intended = {file: frames for file, frames in intended.items() if frames > 1 or "step" in file}
    assert sorted(found) == sorted(intended)
    if mode is AutoresetMode.SAME_STEP:  # theirs loses each terminal frame
        assert all(0 <= found[file] - intended[file] <= 1 for file in found)
        ended_by_reset = [file for file in found if "episode" in file][:-1]
        assert all(found[file] == intended[file] + 1 for file in ended_by_reset)
    else:
        assert found == intended
    films.check(results["ours"][3])


def test_vector_same_step_warns_only_where_the_frame_is_out_of_reach(tmp_path):
    warned = {}
    for kind, wrapper in {"theirs": VectorTheirs, "ours": VectorOurs}.items():
        envs = gym.make_vec(
            "CartPole-v1",
            1,
            "async",
            render_mode="rgb_array",
            vector_kwargs={"autoreset_mode": AutoresetMode.SAME_STEP},
        )
        recorded, warned[kind] = said(partial(wrapper, envs, str(tmp_path / kind)))
        recorded.close()
    assert warned["ours"] == warned["theirs"] != []


def test_vector_seven_envs_are_a_strip_in_gymnasium_only(tmp_path):
    grids = {}
    for kind, wrapper in {"theirs": VectorTheirs, "ours": VectorOurs}.items():
        envs = wrapper(SyncVectorEnv([Barcode] * 7), str(tmp_path / kind))
        envs.reset()
        grids[kind] = envs.frame_rows, envs.frame_cols
        envs.close()
    assert grids["theirs"] == (1, 7)
    assert grids["ours"] == (3, 3)


@pytest.mark.parametrize("count", [1, 2, 4, 6, 9])
def test_vector_grids_that_divide_are_as_near_as_gymnasiums(tmp_path, count):
    for aspect in ((1, 1), (16, 9)):
        near = {}
        for kind, wrapper in {"theirs": VectorTheirs, "ours": VectorOurs}.items():
            envs = wrapper(SyncVectorEnv([Barcode] * count), str(tmp_path / f"{kind}{aspect[0]}"), aspect)
            envs.reset()
            ratio = envs.frame_cols / envs.frame_rows / (aspect[0] / aspect[1])
            near[kind] = max(ratio, 1 / ratio)
            envs.close()
        assert near["ours"] <= near["theirs"]


# --- RecordEpisodeStatistics ------------------------------------------------------------------------------


def test_single_statistics(tmp_path):
    results = {}
    for kind, wrapper in {
        "theirs": gym.wrappers.RecordEpisodeStatistics,
        "ours": offcam.RecordEpisodeStatistics,
    }.items():
        env = wrapper(gym.make("CartPole-v1"), buffer_length=3)
        env.action_space.seed(2)
        seen = []
        for episode in range(5):
            env.reset(seed=episode)
            over = False
            while not over:
                *_, terminated, truncated, info = env.step(env.action_space.sample())
                if over := terminated or truncated:
                    assert sorted(info["episode"]) == ["l", "r", "t"]
                    seen.append((info["episode"]["r"], info["episode"]["l"]))
                seen.append(attributes(env, SUMS))
        results[kind] = repr(seen), [type(value) for value in info["episode"].values()]
        env.close()
    assert results["ours"] == results["theirs"]


def vector_statistics(wrapper, mode, *, masked):
    envs = wrapper(SyncVectorEnv([lambda n=n: Barcode(n) for n in (2, 3, 5)], autoreset_mode=mode), buffer_length=9)
    envs.reset()
    seen = []
    for _ in range(20):
        *_, terminations, truncations, infos = envs.step(np.zeros(3, int))
        over = terminations | truncations
        if "episode" in infos:
            values = infos["episode"]
            seen += [values["r"].tolist(), values["l"].tolist(), infos["_episode"].tolist()]
            seen += [value.dtype for value in values.values()]
        seen.append({name: np.array(getattr(envs, name)).tolist() for name in SUMS})
        if mode is AutoresetMode.DISABLED and over.any():
            envs.reset(options={"reset_mask": over} if masked else None)
    envs.close()
    return seen


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_vector_statistics(mode):
    theirs = vector_statistics(gym.wrappers.vector.RecordEpisodeStatistics, mode, masked=False)
    assert vector_statistics(offcam.vector.RecordEpisodeStatistics, mode, masked=False) == theirs


def test_vector_statistics_with_reset_mask_are_per_env_in_ours_only():
    theirs = vector_statistics(gym.wrappers.vector.RecordEpisodeStatistics, AutoresetMode.DISABLED, masked=True)
    ours = vector_statistics(offcam.vector.RecordEpisodeStatistics, AutoresetMode.DISABLED, masked=True)
    expected = [length for step in range(1, 21) for length in (2, 3, 5) if step % length == 0]
    assert ours[-1]["episode_count"] == len(expected)
    assert ours[-1]["length_queue"] == expected[-9:]
    assert theirs[-1]["length_queue"] != expected[-9:]
