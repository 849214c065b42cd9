"""`offcam.load`: what was recorded, as arrays, frames and HTML."""

from __future__ import annotations

import base64
import dataclasses
import json
import math
import re
import shutil
import sqlite3
import sys

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy.stats import trim_mean

import commandline
import offcam
import runs
from envs import Barcode, play
from offcam_proto.errors import ConfigError, NotARunFolder, RunFolderError, RunFormatTooNew
from offcam_runs import database, notebook
from offcam_runs import format as fmt
from offcam_runs.clips import Clip
from offcam_runs.run import read_run

RETURNS = [1.0, math.nan, math.inf, -4.0]
COLUMNS = [
    "run", "env_id", "stream", "session", "env_index", "episode", "return", "length", "duration_seconds", "started",
    "terminated", "truncated", "seed",
]  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    return runs.write(tmp_path / "run #1", RETURNS, seeds=[7, None, str(2**70), -1])


@pytest.fixture
def recorded(daemon, tmp_path):
    """A run with three episodes, of which two were filmed."""
    env = offcam.record(Barcode(length=5), str(tmp_path / "run"), episode_trigger=lambda number: number != 1)
    play(env, 3)
    env.close()
    return tmp_path / "run"


# --- arrays -----------------------------------------------------------------------------------------------


def test_episodes_are_columns(folder):
    episodes = offcam.load(folder).episodes
    assert len(episodes) == 4
    np.testing.assert_equal(episodes.return_, RETURNS)
    assert episodes.length.tolist() == [10, 11, 12, 13]
    assert episodes.duration.tolist() == pytest.approx([0.10, 0.11, 0.12, 0.13])
    assert (episodes.started - runs.BEGAN).tolist() == pytest.approx([0, 0.10, 0.21, 0.33], abs=1e-6)
    assert episodes.terminated.tolist() == [True, True, False, True]
    assert episodes.truncated.tolist() == [False, False, True, False]
    assert episodes.episode.tolist() == [0, 1, 2, 3]
    assert episodes.seed.tolist() == [7, None, str(2**70), -1]
    kinds = {
        field.name: getattr(episodes, field.name).dtype.kind
        for field in dataclasses.fields(episodes)
        if field.name != "info"
    }
    assert "".join(kinds.values()) == "iiiififfbbO"


def test_streams_and_sub_environments(folder):
    runs.write(folder, [5.0] * 6, stream=b"t" * 16, env_id="Pong-v5", num_envs=3)
    run = offcam.load(str(folder))
    assert [(stream.env_id, stream.num_envs, stream.vector) for stream in run.streams] == [
        ("CartPole-v1", 1, False),
        ("Pong-v5", 3, True),
    ]
    assert run.env_ids == ("CartPole-v1", "Pong-v5")
    assert run.episodes.stream.tolist() == [0] * 4 + [1] * 6
    assert run.episodes.env_index.tolist() == [0] * 4 + [0, 1, 2] * 2


def test_a_table_of_episodes_has_rows_and_parts(folder):
    episodes = offcam.load(folder).episodes
    assert [row.episode for row in episodes[1:3]] == [1, 2]
    last = episodes[-1]
    assert (last.number, last.stream, last.return_, last.length, last.terminated, last.seed) == (
        3,
        0,
        -4.0,
        13,
        True,
        -1,
    )
    assert [type(value) for value in last] == [int] * 4 + [float, int, float, float, bool, bool, int, dict]
    assert list(episodes)[-1] == last
    assert episodes[9:].summary().count == len(episodes[9:]) == 0
    with pytest.raises(IndexError):
        episodes[4]


def test_rows_of_a_long_run_are_made_in_pieces(tmp_path, monkeypatch):
    infos = [{"score": 1.0 + number} if number % 4 == 0 else {} for number in range(25)]
    run = offcam.load(runs.write(tmp_path / "run", range(25), infos=infos))
    whole = [repr(row) for row in run.rows()]
    assert len(whole) == 25
    monkeypatch.setattr("offcam_runs.run._PIECE", 3)  # of which some have no value
    assert [repr(row) for row in run.rows()] == whole


def test_nothing_can_be_changed(folder):
    run = offcam.load(folder)
    with pytest.raises(ValueError, match="read-only"):
        run.episodes.return_[0] = 3
    with pytest.raises(dataclasses.FrozenInstanceError):
        run.folder = "elsewhere"
    assert isinstance(run.clips, tuple)
    assert isinstance(run.streams, tuple)


def test_clips_are_those_that_ls_lists(recorded):
    run = offcam.load(recorded)
    renamed = {"duration": "duration_seconds"}
    listed = read_run(recorded).as_dict()["clips"]
    assert len(listed) == len(run.clips) == 2
    for clip, item in zip(run.clips, listed, strict=True):
        for field in dataclasses.fields(Clip):
            if field.name not in ("folder", "stream", "stream_id", "info"):
                name = renamed.get(field.name, field.name.rstrip("_"))
                found = getattr(clip, field.name)
                assert (list(found) if name in ("envs", "grid") else found) == item[name], name
        assert clip.path == str(recorded / clip.file)
        assert run.streams[clip.stream].stream == clip.stream_id == item["stream"]


def test_while_a_daemon_writes(daemon, tmp_path):
    env = offcam.record(Barcode(length=5), str(tmp_path / "run"), every=1)
    play(env, 1)
    env.flush()
    env.reset()
    env.step(0)
    before = offcam.load(tmp_path / "run")
    assert len(before.episodes) == 1
    play(env, 2)
    env.close()
    assert len(before.episodes) == 1
    assert len(offcam.load(tmp_path / "run").episodes) == 3


# --- statistics -------------------------------------------------------------------------------------------


def test_statistics_are_those_that_show_prints(tmp_path):
    returns = [*np.random.default_rng(0).normal(size=60), math.nan]
    folder = runs.write(tmp_path / "run", returns)
    run = offcam.load(folder)
    rule = "terminated and return > 0"
    (shown,) = json.loads(commandline.run("show", "--json", "--success", rule, folder).stdout)["runs"]
    assert run.episodes.summary().as_dict() == shown["return"]
    assert run.episodes.summary("length").as_dict() == shown["length"]
    assert run.episodes.success_rate(rule).as_dict() == shown["success"]
    assert run.episodes.per_step().as_dict() == shown["per_step"]
    found = run.episodes.summary(confidence=0.9)
    assert (found.count, found.non_finite) == (60, 1)
    assert found.iqm == pytest.approx(trim_mean(returns[:60], 0.25))
    assert found.iqm_interval.low < found.iqm < found.iqm_interval.high
    with pytest.raises(ConfigError, match="no condition of success"):
        run.episodes.success_rate("won")


def test_statistics_over_seeds(tmp_path):
    group = offcam.load([runs.write(tmp_path / str(seed), [0.0] * 50 + [float(seed)] * 100) for seed in range(5)])
    np.testing.assert_equal(group.scores(), range(5))
    assert group.scores(150)[3] == pytest.approx(2.0)
    found = group.summary(confidence=0.8)
    assert (found.count, found.mean, found.iqm, found.confidence) == (5, 2.0, 2.0, 0.8)


def test_a_learning_curve(folder):
    run = offcam.load(folder)
    np.testing.assert_equal(run.curve().y, [1.0, math.nan, math.nan, -4.0])
    assert run.curve().x.tolist() == [0, 1, 2, 3]
    assert run.curve("length", "step").x.tolist() == [10, 21, 33, 46]
    assert run.curve("duration", "time").x.tolist() == pytest.approx([0.10, 0.21, 0.33, 0.46], abs=1e-6)


# --- several ----------------------------------------------------------------------------------------------


@pytest.fixture
def seeds(tmp_path):
    for name in ("ppo/seed-0", "ppo/seed-1", "dqn/seed-0"):
        runs.write(tmp_path / name, [float(len(name))] * 3)
    (tmp_path / "ppo" / "notes").mkdir()
    return tmp_path


def test_lists_and_patterns(seeds):
    group = offcam.load([f"{seeds}/*/seed-0", seeds / "ppo" / "seed-1", seeds / "ppo" / "seed-0"])
    assert [run.folder for run in group] == [f"{seeds}/{name}" for name in ("dqn/seed-0", "ppo/seed-0", "ppo/seed-1")]
    assert len(group[1:]) == 2
    assert group[0].name == "seed-0"
    assert [run.folder for run in offcam.load([f"{seeds}/ppo/*"])] == [f"{seeds}/ppo/seed-0", f"{seeds}/ppo/seed-1"]
    assert len(offcam.load([])) == 0


def test_a_frame_of_several_tells_them_apart(seeds):
    group = offcam.load([f"{seeds}/*/seed-*"])
    labels = ["dqn/seed-0"] * 3 + ["ppo/seed-0"] * 3 + ["ppo/seed-1"] * 3
    assert group.to_pandas()["run"].tolist() == group.to_polars()["run"].to_list() == labels


# --- frames -----------------------------------------------------------------------------------------------


def test_frames(folder):
    run = offcam.load(folder)
    pandas, polars = run.to_pandas(), run.to_polars()
    assert list(pandas.columns) == polars.columns == COLUMNS
    np.testing.assert_equal(pandas["return"].to_numpy(), RETURNS)
    np.testing.assert_equal(polars["return"].to_numpy(), RETURNS)
    assert pandas["seed"].tolist() == [7, None, str(2**70), -1]
    assert polars["seed"].to_list() == ["7", None, str(2**70), "-1"]
    assert (pandas["length"].dtype, polars.schema["length"], polars.schema["terminated"]) == (
        np.int64,
        pl.Int64,
        pl.Boolean,
    )
    assert set(pandas["stream"]) == {runs.STREAM.hex()}


def test_frames_of_clips(recorded):
    run = offcam.load(recorded)
    pandas, polars = run.to_pandas("clips"), run.to_polars("clips")
    assert list(pandas.columns) == polars.columns
    assert pandas["frames"].tolist() == polars["frames"].to_list() == [6, 6]
    assert pandas["dropped"].tolist() == ["{}", "{}"]


def test_frames_of_nothing(tmp_path):
    run = offcam.load(runs.write(tmp_path / "run", []))
    assert (len(run.to_pandas()), len(run.to_polars()), run.to_polars().columns) == (0, 0, COLUMNS)
    assert isinstance(offcam.load([]).to_pandas(), pd.DataFrame)


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_a_library_that_is_missing(folder, monkeypatch, library):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ConfigError, match=rf"{library} is not installed.*-m pip install {library}"):
        getattr(offcam.load(folder), f"to_{library}")()


# --- notebooks --------------------------------------------------------------------------------------------


def test_a_clip_shows_its_video_and_its_numbers(recorded):
    clip = offcam.load(recorded).clips[1]
    html = clip._repr_html_()
    (data,) = re.findall(r'<video controls [^>]*src="data:video/mp4;base64,([^"]+)"', html)
    assert base64.b64decode(data) == (recorded / clip.file).read_bytes()
    assert "episode 2, return " in html
    assert "6 frames at " in html


def test_a_large_video_is_named(recorded, monkeypatch):
    monkeypatch.setattr(notebook, "INLINE_BYTES", 100)
    clip = offcam.load(recorded).clips[0]
    html = clip._repr_html_()
    assert "base64" not in html
    assert f"<code>{clip.path}</code>" in html


def test_a_video_that_is_gone(recorded):
    run = offcam.load(recorded)
    for clip in run.clips:
        (recorded / clip.file).unlink()
    assert "No such file" in run.clips[0]._repr_html_()
    assert "<video" not in run._repr_html_()


def test_a_run_shows_its_numbers_and_its_last_video(recorded):
    run = offcam.load(recorded)
    html = run._repr_html_()
    assert html.count("<video") == 1
    assert run.clips[-1].file in html
    assert f"<td>{recorded}</td>" in html
    assert "<td>3</td><td>15</td>" in html
    assert offcam.load([recorded])._repr_html_().count("<tr>") == 2


def test_html_of_nothing_and_of_hostile_names(tmp_path):
    run = offcam.load(runs.write(tmp_path / "<script>", [math.nan, 1e300, -1e300], env_id="<b>&"))
    html = run._repr_html_()
    assert "<script>" not in html
    assert "&lt;b&gt;&amp;" in html
    assert "<td>-</td>" in offcam.load(runs.write(tmp_path / "empty", []))._repr_html_()


# --- folders of every kind --------------------------------------------------------------------------------


def test_what_is_no_run_folder(tmp_path, folder):
    (tmp_path / "file").touch()
    for path, message in [
        (tmp_path / "absent", "is no folder"),
        (tmp_path / "file", "is no folder"),
        (tmp_path, "is no run folder"),
        (f"{tmp_path}/run*", "give a list"),
        ([f"{tmp_path}/x*"], "no run folder matches"),
    ]:
        with pytest.raises(NotARunFolder, match=message):
            offcam.load(path)


def test_a_newer_a_foreign_and_a_damaged_index(folder):
    path = folder / fmt.INDEX_NAME
    for pragma, kind, message in [
        ("user_version = 99", RunFormatTooNew, "99"),
        ("application_id = 3", RunFolderError, "another program"),
    ]:
        connection = sqlite3.connect(path)
        connection.execute(f"PRAGMA {pragma}")
        connection.close()
        with pytest.raises(kind, match=message):
            offcam.load(folder)
    path.write_bytes(b"nonsense" * 1000)
    with pytest.raises(RunFolderError, match="damaged"):
        offcam.load(folder)


def test_an_index_that_was_just_made_is_an_empty_run(tmp_path):
    (tmp_path / fmt.INDEX_NAME).touch()
    run = offcam.load(tmp_path)
    assert (run.streams, len(run.episodes), run.clips) == ((), 0, ())
    assert (tmp_path / fmt.INDEX_NAME).stat().st_size == 0


def test_a_file_out_of_the_folder_is_refused(recorded):
    connection = sqlite3.connect(recorded / fmt.INDEX_NAME)
    with connection:
        connection.execute("UPDATE clips SET file = '../secret.mp4'")
    connection.close()
    with pytest.raises(RunFolderError, match=r"\.\./secret\.mp4"):
        offcam.load(recorded)


def test_a_copy_of_what_a_crash_left_where_nobody_may_write(folder, tmp_path, monkeypatch):
    """As where SQLite refuses to read beside a journal; root cannot be kept from writing."""
    writer = sqlite3.connect(folder / fmt.INDEX_NAME)
    writer.execute("PRAGMA journal_mode = wal")
    with writer:
        writer.execute("UPDATE episodes SET return = 8.5")
    shutil.copytree(folder, tmp_path / "copy")
    writer.close()
    real = sqlite3.connect

    def refusing(database, **kwargs):
        if str((tmp_path / "copy").as_uri()) in database:
            raise sqlite3.OperationalError("unable to open database file")
        return real(database, **kwargs)

    monkeypatch.setattr(database.sqlite3, "connect", refusing)
    before = sorted(path.name for path in (tmp_path / "copy").iterdir())
    assert f"{fmt.INDEX_NAME}-wal" in before
    assert offcam.load(tmp_path / "copy").episodes.return_.tolist() == [8.5] * 4
    assert sorted(path.name for path in (tmp_path / "copy").iterdir()) == before
