from __future__ import annotations

import csv
import importlib.util
import json
import math
import os
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow.parquet as pq
import pytest

import offcam
import runs
from offcam_proto.errors import ConfigError, NotARunFolder
from offcam_runs import format as fmt
from offcam_runs.run import column_names, read_run
from offcamd.reports.export import export

RETURNS = [1.0, math.nan, math.inf, -math.inf, 1e300, 0.1 + 0.2]
SEEDS = [7, None, str(2**70), -1, 0, 1]


@pytest.fixture
def folder(tmp_path):
    return runs.write(tmp_path / "run, 1", RETURNS, seeds=SEEDS)


def test_csv_as_everybody_reads_it(folder, tmp_path):
    path = tmp_path / "out.csv"
    done = export([folder], "csv", path)
    assert (done.files, done.rows) == ((path,), 6)
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == column_names("episodes")
    np.testing.assert_equal([float(row["return"]) for row in rows], RETURNS)
    assert [row["seed"] for row in rows] == ["7", "", str(2**70), "-1", "0", "1"]
    assert {row["run"] for row in rows} == {"run, 1"}
    for frame in (pd.read_csv(path), pl.read_csv(path, schema_overrides={"seed": pl.String})):
        np.testing.assert_allclose(frame["return"].to_numpy(), RETURNS, rtol=1e-15)  # pandas rounds
        assert list(frame["terminated"]) == [True, True, False] * 2
        assert list(frame["length"]) == [10, 11, 12, 13, 14, 15]


def test_json_lines(folder, tmp_path):
    export([folder], "jsonl", tmp_path / "out.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [row["return"] for row in rows] == [1.0, None, None, None, 1e300, 0.1 + 0.2]
    assert [row["seed"] for row in rows] == SEEDS
    listed = read_run(folder).as_dict()["episodes"]
    assert [{key: row[key] for key in listed[0]} for row in rows] == listed


def test_parquet_keeps_types_and_numbers(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("offcamd.reports.export._BATCH", 4)
    export([folder], "parquet", tmp_path / "out.parquet")
    table = pq.read_table(tmp_path / "out.parquet")
    assert table.column_names == column_names("episodes")
    assert [str(table.schema.field(name).type) for name in ("return", "length", "terminated", "seed", "env_id")] == [
        *("double", "int64", "bool", "string", "string")
    ]
    np.testing.assert_equal(table["return"].to_pylist(), RETURNS)
    assert table["seed"].to_pylist() == [None if seed is None else str(seed) for seed in SEEDS]


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_values_of_episodes_are_columns(tmp_path, form):
    infos = [{"is_success": 1.0, "seed": 5.0}, {}, {"is_success": 0.0}]
    folders = [runs.write(tmp_path / "a", [1, 2, 3], infos=infos), runs.write(tmp_path / "b", [4], infos=[{"d": 0.5}])]
    path = tmp_path / f"out.{form}"
    read = {"csv": pd.read_csv, "jsonl": lambda path: pd.read_json(path, lines=True), "parquet": pd.read_parquet}[form]
    export(folders, form, path)
    frame = read(path)
    names = ["is_success", "info_seed", "d"]
    assert list(frame.columns) == column_names("episodes", ["is_success", "seed", "d"])
    np.testing.assert_equal(
        frame[names].to_numpy(float),
        [[1, 5, math.nan], [math.nan] * 3, [0, math.nan, math.nan], [math.nan] * 2 + [0.5]],
    )
    loaded = offcam.load(list(map(str, folders)))
    for found in (loaded.to_pandas(), loaded.to_polars()):
        np.testing.assert_equal(found[names].to_numpy(), frame[names].to_numpy(float))


def test_monitors_have_the_values(tmp_path):
    infos = [{"is_success": 1.0}, {}, {"is_success": 0.0, "a,b": 2.5}]
    export([runs.write(tmp_path / "run", [1, 2, 3], infos=infos)], "monitor", tmp_path / "out")
    _, *lines = (tmp_path / "out" / "monitor.csv").read_text().splitlines()
    assert lines[0] == 'r,l,t,is_success,"a,b"'
    assert [line.split(",", 3)[3] for line in lines[1:]] == ["1.0,", ",", "0.0,2.5"]


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_several_runs_and_none(tmp_path, form):
    folders = [runs.write(tmp_path / name / "seed-0", [1.0, 2.0]) for name in ("a", "b")]
    path = tmp_path / f"out.{form}"
    read = {"csv": pd.read_csv, "jsonl": lambda path: pd.read_json(path, lines=True), "parquet": pd.read_parquet}[form]
    export(folders, form, path)
    assert read(path)["run"].tolist() == ["a/seed-0"] * 2 + ["b/seed-0"] * 2
    assert export([runs.write(tmp_path / "empty", [])], form, tmp_path / "empty.out").rows == 0
    assert (tmp_path / "empty.out").exists()


# --- monitor ----------------------------------------------------------------------------------------------


def load_as_sb3(folder: Path) -> pd.DataFrame:
    """What Stable-Baselines3's documentation says that its ``load_results`` does with a folder."""
    frames, begins = [], []
    for path in folder.glob("*monitor.csv"):
        with path.open() as file:
            header = file.readline()
            assert header[0] == "#"
            begins.append(json.loads(header[1:])["t_start"])
            frame = pd.read_csv(file, index_col=None)
        frame["t"] += begins[-1]
        frames.append(frame)
    merged = pd.concat(frames).sort_values("t").reset_index()
    merged["t"] -= min(begins)
    return merged


def load_by_sb3(folder: Path) -> pd.DataFrame:
    """That function itself, where it is installed: its file alone, as the package needs torch."""
    package = importlib.util.find_spec("stable_baselines3")
    if package is None or package.origin is None:
        pytest.skip("stable-baselines3 is not installed (it brings torch)")
    spec = importlib.util.spec_from_file_location("monitor", Path(package.origin).parent / "common" / "monitor.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.load_results(str(folder))


@pytest.mark.parametrize("load", [load_as_sb3, load_by_sb3])
def test_monitor_files_are_read_back(tmp_path, load):
    folder = runs.write(tmp_path / "run", RETURNS)
    done = export([folder], "monitor", tmp_path / "out")
    assert [path.name for path in done.files] == ["monitor.csv"]
    frame = load(tmp_path / "out")
    np.testing.assert_equal(frame["r"].to_numpy(), [*RETURNS[:-1], 0.3])
    assert frame["l"].tolist() == [10, 11, 12, 13, 14, 15]
    assert frame["t"].tolist() == pytest.approx([0.10, 0.21, 0.33, 0.46, 0.60, 0.75], abs=1e-5)


@pytest.mark.parametrize("load", [load_as_sb3, load_by_sb3])
def test_a_monitor_file_for_each_environment(tmp_path, load):
    folder = runs.write(tmp_path / "run", list(map(float, range(6))), num_envs=3)
    runs.write(folder, [9.0], stream=b"t" * 16, env_id="Pong-v5")
    done = export([folder], "monitor", tmp_path / "out")
    assert [path.name for path in done.files] == [f"{number}.monitor.csv" for number in range(4)]
    assert done.rows == 7
    heads = [json.loads(path.read_text().splitlines()[0][1:]) for path in done.files]
    assert [head["env_id"] for head in heads] == ["CartPole-v1"] * 3 + ["Pong-v5"]
    assert heads[0]["t_start"] == runs.BEGAN
    assert sorted(load(tmp_path / "out")["r"]) == [0, 1, 2, 3, 4, 5, 9]


def test_monitor_files_do_not_mix_with_others(tmp_path):
    one, two = runs.write(tmp_path / "one", [1.0]), runs.write(tmp_path / "two", [2.0] * 2, num_envs=2)
    export([one], "monitor", tmp_path / "out")
    with pytest.raises(ConfigError, match=r"monitor\.csv already.*--force"):
        export([one], "monitor", tmp_path / "out")
    export([one], "monitor", tmp_path / "out", force=True)
    with pytest.raises(ConfigError, match="other monitor files"):
        export([two], "monitor", tmp_path / "out", force=True)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["monitor.csv"]
    with pytest.raises(ConfigError, match="nothing to export"):
        export([runs.write(tmp_path / "empty", [])], "monitor", tmp_path / "none")
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="give a folder"):
        export([one], "monitor", tmp_path / "file")


# --- files ------------------------------------------------------------------------------------------------


def test_nothing_is_replaced_unless_asked_for(folder, tmp_path):
    path = tmp_path / "out.csv"
    path.write_text("mine")
    with pytest.raises(ConfigError, match="--force"):
        export([folder], "csv", path)
    assert path.read_text() == "mine"
    export([folder], "csv", path, force=True)
    assert path.read_text().startswith("run,env_id")


def test_what_came_meanwhile_is_not_replaced(folder, tmp_path):
    path = tmp_path / "out.csv"
    with pytest.raises(ConfigError, match="--force"):
        export([folder], "csv", path, progress=lambda done, total: path.write_text("mine"))
    assert path.read_text() == "mine"
    assert list(tmp_path.glob(".*")) == []


def test_a_part_of_a_run_is_never_replaced(folder, tmp_path):
    before = (folder / fmt.INDEX_NAME).read_bytes()
    for path, message in [
        (folder / fmt.INDEX_NAME, "part of a run"),
        (folder / f"{fmt.INDEX_NAME}-wal", "part of a run"),
        (folder / "rl-video-episode-0.mp4", "part of a run"),
        (folder, "a folder"),
    ]:
        with pytest.raises(ConfigError, match=message):
            export([folder], "csv", path, force=True)
    assert (folder / fmt.INDEX_NAME).read_bytes() == before


def test_a_failure_leaves_nothing(folder, tmp_path):
    def fail(done, total):
        raise OSError(28, os.strerror(28))

    with pytest.raises(ConfigError, match="No space left"):
        export([folder], "csv", tmp_path / "out.csv", progress=fail)
    with pytest.raises(NotARunFolder):
        export([tmp_path / "absent"], "csv", tmp_path / "out.csv")
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]


def test_progress_is_told(tmp_path):
    seen = []
    folder = runs.write(tmp_path / "run", [1.0] * 2500)
    export([folder], "csv", tmp_path / "out.csv", progress=lambda *numbers: seen.append(numbers))
    assert seen == [(0, 2500), (1000, 2500), (2000, 2500)]
