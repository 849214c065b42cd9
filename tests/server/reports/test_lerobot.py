"""A LeRobot dataset of videos and steps, by its files; tests/integrations has LeRobot itself read one."""

from __future__ import annotations

import contextlib
import json
import math
import sqlite3
from pathlib import Path
from typing import ClassVar

import gymnasium as gym
import numpy as np
import pandas as pd
import pytest
from gymnasium.vector import SyncVectorEnv

import films
import offcam
from envs import Barcode, play
from offcam.vector import RecordVideo as RecordVectorVideo
from offcam_proto.errors import ConfigError
from offcam_runs import format as fmt
from offcam_runs.steps.layout import RESET, TERMINATED, TRUNCATED
from offcam_runs.steps.rows import Steps
from offcamd.reports.lerobot.dataset import export_dataset
from offcamd.reports.lerobot.files import Files
from offcamd.reports.lerobot.parts import CUT, DONE, REWARD, EpisodePart, Kind, kinds, parts, unfit_parts, unfit_rows
from offcamd.reports.lerobot.statistics import Together, numbers_of, numbers_of_pictures

CAMERA = "observation.images.render"


class Arms(Barcode):
    """Its actions are of two kinds, and its rewards say which step they are of."""

    action_space: ClassVar = gym.spaces.Dict({"arm": gym.spaces.Box(-1, 1, (2,)), "grid": gym.spaces.Box(0, 9, (2, 3))})

    def step(self, action):
        observation, _, terminated, truncated, info = super().step(action)
        return observation, self.number / 4, terminated, truncated, info


def record(folder, env=None, episodes: int = 3, **options):
    env = offcam.record(env or Barcode(length=5), folder, **{"every": 1, "steps": True, **options})
    play(env, episodes)
    env.close()


def read(folder):
    """The rows, the rows of the episodes, and what the dataset says of itself."""
    place = "chunk-000/file-000.parquet"
    info = json.loads((folder / "meta/info.json").read_text())
    return pd.read_parquet(folder / f"data/{place}"), pd.read_parquet(folder / f"meta/episodes/{place}"), info


def video_of(folder, episode):
    place = {name: episode[f"videos/{CAMERA}/{name}"] for name in ("chunk_index", "file_index")}
    return folder / f"videos/{CAMERA}/chunk-{place['chunk_index']:03d}/file-{place['file_index']:03d}.mp4"


@pytest.mark.usefixtures("daemon")
def test_a_row_is_a_step_and_the_picture_before_it(folder, tmp_path):
    env = offcam.record(Arms(length=5, truncates=True), folder, every=1, steps=True)
    given = []
    for episode in range(3):
        env.reset()
        for step in range(5):
            if step % 2:
                offcam.trace(env, value=episode + step / 8)
            given.append(env.action_space.sample())
            env.step(given[-1])
    env.close()
    done = export_dataset([folder], tmp_path / "set")
    assert (done.episodes, done.frames, done.videos, done.left_out) == (3, 15, 3, ())
    rows, episodes, info = read(tmp_path / "set")
    np.testing.assert_array_equal(np.stack(rows["action.arm"]), [each["arm"] for each in given])
    np.testing.assert_array_equal(np.stack(rows["action.grid"]), [each["grid"].ravel() for each in given])
    assert rows[REWARD].tolist() == [0.25, 0.5, 0.75, 1.0, 1.25] * 3
    assert rows[DONE].tolist() == rows[CUT].tolist() == [False, False, False, False, True] * 3
    value = [math.nan, 0.125, math.nan, 0.375, math.nan]
    np.testing.assert_equal(rows["trace.value"].to_numpy(), np.concatenate([np.add(value, each) for each in range(3)]))
    assert rows["index"].tolist() == list(range(15))
    assert rows["episode_index"].tolist() == [0] * 5 + [1] * 5 + [2] * 5
    np.testing.assert_allclose(rows["timestamp"], [0, 1 / 30, 2 / 30, 3 / 30, 4 / 30] * 3, atol=1e-6)
    assert (info["codebase_version"], info["fps"], info["total_frames"], info["total_episodes"]) == ("v3.0", 30, 15, 3)
    features = {name: (each["dtype"], each["shape"]) for name, each in info["features"].items()}
    assert features[CAMERA] == ("video", [84, 84, 3])
    assert features["action.arm"] == ("float32", [2])
    assert features["action.grid"] == ("float32", [6])
    assert info["features"]["action.grid"]["names"] == ["0.0", "0.1", "0.2", "1.0", "1.1", "1.2"]
    assert features["trace.value"] == ("float64", [1])
    assert set(features) == {CAMERA, *rows.columns}
    for _, episode in episodes.iterrows():
        shots = list(films.shots(video_of(tmp_path / "set", episode)))
        begin, end = episode[f"videos/{CAMERA}/from_timestamp"], episode[f"videos/{CAMERA}/to_timestamp"]
        shown = [films.decode(shot.rgb, 84, 84) for shot in shots if begin - 1e-4 < float(shot.time) < end - 1e-4]
        assert shown == [0, 1, 2, 3, 4]
        assert (episode["length"], episode["dataset_to_index"] - episode["dataset_from_index"]) == (5, 5)


@pytest.mark.usefixtures("daemon")
def test_what_a_dataset_is_normalised_by(folder, tmp_path):
    record(folder, Arms(length=7))
    export_dataset([folder], tmp_path / "set")
    rows, episodes, info = read(tmp_path / "set")
    told = json.loads((tmp_path / "set/meta/stats.json").read_text())
    assert set(told) == set(info["features"])
    arm = np.stack(rows["action.arm"]).astype(float)
    numbers = told["action.arm"]
    np.testing.assert_allclose(numbers["mean"], arm.mean(axis=0))
    np.testing.assert_allclose(numbers["std"], arm.std(axis=0))
    np.testing.assert_allclose([numbers["min"], numbers["max"]], [arm.min(axis=0), arm.max(axis=0)])
    assert numbers["count"] == [21]
    np.testing.assert_allclose(episodes[f"stats/{REWARD}/q50"].tolist(), [[1.0]] * 3)
    assert np.shape(told[CAMERA]["mean"]) == (3, 1, 1)
    shots = [
        shot.rgb for each in range(3) for shot in list(films.shots(video_of(tmp_path / "set", episodes.iloc[each])))
    ]
    pictures = np.stack([each for number, each in enumerate(shots) if number % 8 != 7])  # but the terminal one
    np.testing.assert_allclose(np.ravel(told[CAMERA]["mean"]), pictures.mean(axis=(0, 1, 2)) / 255, atol=1e-6)


@pytest.mark.usefixtures("daemon")
def test_tasks_are_the_envs_and_files_are_numbered(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("offcamd.reports.lerobot.files.CHUNK", 2)
    monkeypatch.setattr("offcamd.reports.lerobot.files.DATA_MB", 0)
    record(folder)
    record(tmp_path / "other", gym.wrappers.TimeLimit(Barcode(length=9), 4), episodes=1)
    export_dataset([folder, tmp_path / "other"], tmp_path / "set")
    files = sorted(
        str(path.relative_to(tmp_path / "set")) for path in (tmp_path / "set").rglob("*.*") if path.is_file()
    )
    numbered = [f"chunk-00{number // 2}/file-00{number % 2}" for number in range(4)]
    assert files == sorted(
        [
            *(f"data/{each}.parquet" for each in numbered),
            *(f"videos/{CAMERA}/{each}.mp4" for each in numbered),
            *("meta/episodes/chunk-000/file-000.parquet", "meta/info.json", "meta/stats.json", "meta/tasks.parquet"),
        ]
    )
    tasks = pd.read_parquet(tmp_path / "set/meta/tasks.parquet")
    assert tasks.index.name == "task"
    assert tasks["task_index"].tolist() == list(range(len(tasks)))


@pytest.mark.usefixtures("daemon")
def test_each_episode_that_a_video_shows_is_one_of_the_dataset(folder, tmp_path):
    envs = SyncVectorEnv([lambda: Barcode(length=4)] * 2)
    envs = RecordVectorVideo(
        envs, str(folder), step_trigger=lambda step: step == 2, video_length=12, steps=True, per_env=True
    )
    envs.reset()
    for _ in range(20):
        envs.step(envs.action_space.sample())
    envs.close()
    export_dataset([folder], tmp_path / "set")
    _, episodes, _ = read(tmp_path / "set")
    for _, episode in episodes.iterrows():
        shots = list(films.shots(video_of(tmp_path / "set", episode)))
        begin, end = episode[f"videos/{CAMERA}/from_timestamp"], episode[f"videos/{CAMERA}/to_timestamp"]
        shown = [films.decode(shot.rgb, 84, 84) for shot in shots if begin - 1e-4 < float(shot.time) < end - 1e-4]
        assert shown == list(range(shown[0], shown[0] + episode["length"]))
    assert 4 in episodes["length"].tolist()


@pytest.mark.usefixtures("daemon")
@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"steps": False}, "record with `steps=True`"),
        ({"every_nth_frame": 2}, "every_nth_frame"),
        ({"fps": 12.5}, "12.5 frames a second"),
    ],
    ids=["no steps", "frames left out", "half a frame"],
)
def test_what_is_fit_for_no_dataset_is_refused_with_the_reason(folder, tmp_path, options, why):
    record(folder, **options)
    with pytest.raises(ConfigError, match=f"run/rl-video-episode-0.mp4: .*{why}.*, and 2 others"):
        export_dataset([folder], tmp_path / "set")
    assert list(tmp_path.iterdir()) == [folder]


@pytest.mark.usefixtures("daemon")
def test_a_video_whose_frames_were_dropped_is_left_out_and_the_others_are_not(folder, tmp_path):
    record(folder)
    with contextlib.closing(sqlite3.connect(folder / fmt.INDEX_NAME)) as index, index:
        index.execute("""UPDATE clips SET dropped = '{"full": 2}' WHERE name LIKE '%-episode-1'""")
    done = export_dataset([folder], tmp_path / "set")
    assert done.episodes == 2
    assert done.left_out == (("run/rl-video-episode-1.mp4", "2 of its frames were dropped (full)"),)


@pytest.mark.usefixtures("daemon")
def test_videos_of_another_size_are_left_out(folder, tmp_path):
    record(folder, episodes=1)
    record(tmp_path / "other", Barcode(length=5), episodes=1, max_size=(48, 48))
    done = export_dataset([folder, tmp_path / "other"], tmp_path / "set")
    (left_out,) = done.left_out
    assert left_out.file == "other/rl-video-episode-0.mp4"
    assert "48x48 pixels, and run/rl-video-episode-0.mp4 84x84 pixels" in left_out.reason


@pytest.mark.usefixtures("daemon")
def test_nothing_but_a_dataset_is_replaced(folder, tmp_path):
    record(folder, episodes=1)
    target = tmp_path / "set"
    export_dataset([folder], target)
    with pytest.raises(ConfigError, match="replace it with --force"):
        export_dataset([folder], target)
    export_dataset([folder], target, force=True)
    assert sorted(tmp_path.iterdir()) == [folder, target]
    (target / "meta/info.json").unlink()
    with pytest.raises(ConfigError, match="is no LeRobot dataset"):
        export_dataset([folder], target, force=True)


def second_episode(files, *_):
    if files.episodes == 1:
        raise KeyboardInterrupt
    files.episodes += 1


def second_name(path, target, renamed=Path.rename):
    if path.suffix == ".part":
        raise KeyboardInterrupt
    renamed(path, target)


@pytest.mark.usefixtures("daemon")
@pytest.mark.parametrize(
    ("kind", "method", "interrupted"),
    [(Files, "add_episode", second_episode), (Path, "rename", second_name)],
    ids=["half written", "not there yet"],
)
@pytest.mark.parametrize("before", [False, True], ids=["nothing", "a dataset"])
def test_an_export_that_is_interrupted_leaves_what_was_there(
    folder, tmp_path, monkeypatch, kind, method, interrupted, before
):
    record(folder, episodes=2)
    target = tmp_path / "set"
    if before:
        export_dataset([folder], target)
    with monkeypatch.context() as patch:
        patch.setattr(kind, method, interrupted)
        with pytest.raises(KeyboardInterrupt):
            export_dataset([folder], target, force=True)
    assert sorted(tmp_path.iterdir()) == [folder, *[target] * before]
    if before:
        assert read(target)[2]["total_episodes"] == 2


@pytest.mark.usefixtures("daemon")
def test_the_folder_may_be_the_one_that_one_is_in(folder, tmp_path, monkeypatch):
    record(folder, episodes=1)
    (tmp_path / "set").mkdir()
    monkeypatch.chdir(tmp_path / "set")
    export_dataset([folder], Path())
    assert read(tmp_path / "set")[2]["total_episodes"] == 1


# --- pure ------------------------------------------------------------------------------------------------------


def steps_of(flags, episode, **columns):
    count = len(flags)
    base = {"episode": episode, "step": np.arange(count), "reward": np.arange(count) / 2, "flags": flags}
    given = {name: np.asarray(each) for name, each in {**base, **columns}.items()}
    return Steps(np.arange(count), {**given, "flags": np.asarray(flags, np.uint8)})


def test_parts_are_steps_of_one_episode_that_no_reset_parts():
    flags = [0, TERMINATED, RESET, 0, TRUNCATED, RESET]
    found = list(parts(steps_of(flags, [3, 3, 4, 4, 4, 5], action=[9, 1, 0, 2, 3, 0])))
    assert [(each.frame, each.columns["action"].tolist()) for each in found] == [(0, [1]), (2, [2, 3])]
    assert [each.columns[DONE].tolist() for each in found] == [[True], [False, True]]
    assert [each.columns[CUT].tolist() for each in found] == [[False], [False, True]]


def test_where_the_reset_is_in_the_same_step_the_first_picture_of_an_episode_is_in_no_row():
    """Its frame is that of the row that ended the episode before, and no row has what was done then."""
    found = list(parts(steps_of([RESET, 0, TERMINATED, 0, 0], [0, 0, 0, 1, 1], action=[0, 1, 2, 3, 4])))
    assert [(each.frame, each.columns["action"].tolist()) for each in found] == [(0, [1, 2]), (3, [4])]


def test_times_that_single_precision_cannot_tell():
    def part(frame, rows):
        return EpisodePart(frame, {DONE: np.zeros(rows, bool)})

    assert unfit_parts([part(0, 40_000), part(30_600, 100)], 30) is None
    assert "behind 1,024 s" in unfit_parts([part(0, 10), part(30_700, 21)], 30)
    assert unfit_parts([], 30) == "it shows no step"


def test_features_are_of_steps():
    found = kinds(
        steps_of([RESET, 0], [0, 0], action=np.zeros((2, 3), np.float32), **{"a/b": [0.5, 0.5], "tape": [0, 0]})
    )
    own = {REWARD: Kind("float32"), DONE: Kind("bool"), CUT: Kind("bool")}
    assert found == {"action": Kind("float32", 3), "trace.a.b": Kind("float64"), **own}


@pytest.mark.parametrize(
    ("frames", "columns", "why"),
    [
        ([0, 1], {}, None),
        ([0, 2], {}, "not each frame"),
        ([0, 1, 2], {}, "3 frames and 2 rows"),
        ([0, 1], {"action": np.array(["a", None], object)}, "action have no fixed size"),
        ([0, 1], {"q/left": [0.0, 1.0], "q.left": [0.0, 1.0]}, "trace.q.left twice"),
    ],
)
def test_frames_and_rows_have_to_be_the_same(frames, columns, why):
    said = unfit_rows(steps_of([RESET, 0], [0, 0], **columns), frames)
    assert said is None if why is None else why in said


def test_numbers_of_all_episodes_are_those_of_their_values():
    random = np.random.default_rng(0)
    values = [random.normal(size=(count, 2)) for count in (1, 7, 30)]
    together = Together()
    for each in values:
        together.add(numbers_of(each))
    found, wanted = together.numbers(), numbers_of(np.concatenate(values))
    for name in ("min", "max", "mean", "std", "count"):
        np.testing.assert_allclose(found[name], wanted[name])
    assert set(found) == set(wanted)


def test_numbers_that_are_not_there_count_for_nothing():
    found = numbers_of(np.array([math.nan, 1.0, 3.0]))
    assert (found["mean"], found["min"], found["q50"]) == (2.0, 1.0, 2.0)
    assert found["count"] == 2
    assert numbers_of(np.array([math.nan]))["mean"] == 0.0
    assert numbers_of(np.array([math.inf, 3.0]))["max"] == 3.0
    assert numbers_of_pictures(np.full((2, 4, 4, 3), 51, np.uint8))["mean"].ravel().tolist() == [0.2] * 3


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_an_episode_without_a_number_says_nothing_of_the_others(order):
    together = Together()
    values = [np.full(9, math.nan), np.array([7.0, 9.0])]
    for which in order:
        together.add(numbers_of(values[which]))
    found = together.numbers()
    assert {name: each.tolist() for name, each in found.items()} | {"q50": [8.0]} == {
        **{name: each.tolist() for name, each in numbers_of(values[1]).items()},
    }


def test_the_deviation_of_large_numbers_that_differ_little():
    together = Together()
    for start in (1e9, 1e9 + 2):
        together.add(numbers_of(np.array([start, start + 1])))
    np.testing.assert_allclose(together.numbers()["std"], np.arange(4).std())


# --- the verb --------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("daemon")
def test_the_verb_says_what_is_left_out_and_why(folder, tmp_path, offcam_command):
    record(folder)
    with contextlib.closing(sqlite3.connect(folder / fmt.INDEX_NAME)) as index, index:
        index.execute("""UPDATE clips SET dropped = '{"full": 2}' WHERE name LIKE '%-episode-1'""")
    target = tmp_path / "set"
    done = offcam_command("export", str(folder), "--to", "lerobot", "-o", str(target))
    why = "2 of its frames were dropped (full)"
    assert done.stdout == f"{target}: 2 episodes, 10 frames\nleft out: run/rl-video-episode-1.mp4: {why}\n"
    told = json.loads(
        offcam_command("export", str(folder), "--to", "lerobot", "-o", str(target), "--force", "--json").stdout
    )
    assert told == {
        "format": "lerobot",
        "folder": str(target),
        "episodes": 2,
        "frames": 10,
        "videos": 2,
        "left_out": [{"file": "run/rl-video-episode-1.mp4", "reason": why}],
    }
