"""Steps as files for other programs: a row for each step and reset, with columns that all of them have."""

from __future__ import annotations

import json
import math

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from offcam_proto.errors import ConfigError
from offcam_runs.steps import files
from offcam_runs.steps.layout import FIRST_COLUMNS, RESET, TERMINATED, Column, Layout
from offcamd.reports.export import export
from offcamd.reports.step_rows import StepsOfRuns
from offcamd.store.index import RunIndex
from run_samples import PEER, A, episode, packed, stream
from step_samples import episodes, record_of

FIRST = ["run", "env_id", "stream", "session", "env_index", "episode", "step", "reward", "terminated", "truncated"]


def written(folder, *records, limit: int = 10**6, **changes):
    index = RunIndex.open(folder, limit)
    index.open_stream(stream(**changes), PEER)
    index.apply(A, 1, packed(*records))
    index.close()
    return folder


def with_actions(kind: str, values, *more: tuple[str, object], shape=()):
    """An episode of a reset and a step, with an action of this kind, and the agent's numbers."""
    layout = Layout((*FIRST_COLUMNS, Column("action", kind, shape), *(Column(name, "<f8") for name, _ in more)))
    rows = np.zeros(2, layout.dtype)
    rows["step"] = 0, 1
    rows["reward"] = math.nan, 2.5
    rows["flags"] = RESET, TERMINATED
    rows["action"] = values
    for name, numbers in more:
        rows[name] = numbers
    return record_of(rows, 0, layout=layout.text)


READ = {"csv": pd.read_csv, "jsonl": lambda path: pd.read_json(path, lines=True), "parquet": pd.read_parquet}


@pytest.mark.parametrize("form", READ)
def test_a_row_for_each_step_and_reset(tmp_path, form):
    folder = written(tmp_path / "run", episodes(0, 2), episode(0), episodes(2))
    path = tmp_path / f"out.{form}"
    done = export([folder], form, path, what="steps")
    assert (done.files, done.rows, done.missing) == ((path,), 12, 0)
    frame = READ[form](path)
    assert list(frame.columns) == [*FIRST, "action"]
    assert frame["episode"].tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert frame["step"].tolist() == [0, 1, 2, 3] * 3
    np.testing.assert_equal(frame["reward"].to_numpy(float), [math.nan, 0.5, 1.0, 1.5] * 3)
    assert frame["terminated"].tolist() == [False, False, False, True] * 3
    assert not frame["truncated"].any()
    assert frame["action"].tolist() == [0, 100, 200, 300] * 3
    assert set(frame["run"]) == {"run"}
    assert set(frame["env_id"]) == {"CartPole-v1"}


def test_parquet_has_types_and_units(tmp_path):
    record = with_actions("<f4", [[0, 0], [0.1, -2]], ("value", [math.nan, 7.0]), shape=(2,))
    folder = written(tmp_path / "run", record)
    export([folder], "parquet", tmp_path / "out.parquet", what="steps")
    table = pq.read_table(tmp_path / "out.parquet")
    assert table.column_names == [*FIRST, "action.0", "action.1", "value"]
    kinds = {"episode": "int64", "reward": "double", "terminated": "bool", "action.0": "double", "value": "double"}
    assert {name: str(table.schema.field(name).type) for name in kinds} == kinds
    assert b"NaN for a reset" in table.schema.field("reward").metadata[b"unit"]
    assert table["action.0"].to_pylist() == [0.0, float(np.float32(0.1))]
    np.testing.assert_equal(table["value"].to_pylist(), [math.nan, 7.0])


@pytest.mark.parametrize("form", READ)
@pytest.mark.parametrize(
    ("kinds", "wanted"),
    [
        ((("<i8", [0, 3]), ("<f8", [0, 0.5])), [0.0, 3.0, 0.0, 0.5]),
        ((("|b1", [False, True]), ("<i8", [0, 7])), [0, 1, 0, 7]),
        ((("<f8", [0, 0.5]), ("|b1", [False, True])), [0.0, 0.5, 0.0, 1.0]),
    ],
    ids=["integers and floats", "bools and integers", "floats and bools"],
)
def test_runs_whose_actions_differ_have_one_column(tmp_path, form, kinds, wanted):
    folders = [written(tmp_path / f"{place}", with_actions(*kind)) for place, kind in enumerate(kinds)]
    export(folders, form, tmp_path / "out", what="steps")
    assert READ[form](tmp_path / "out")["action"].tolist() == wanted


def test_text_beside_numbers_makes_all_of_them_text(tmp_path):
    number = written(tmp_path / "a", with_actions("<i8", [0, 3]))
    text = with_actions("bytes", [0, 3])
    text = written(tmp_path / "b", record_of(
        np.frombuffer(text.rows, Layout.parse(text.layout).dtype), 0, layout=text.layout, heap=b"\xa2up",
    ))  # fmt: skip
    export([number, text], "parquet", tmp_path / "out", what="steps")
    assert pq.read_table(tmp_path / "out")["action"].to_pylist() == ["0", "3", None, "up"]


def test_numbers_of_the_agent_that_are_named_like_others_have_another_name(tmp_path):
    folder = written(tmp_path / "run", with_actions("<i8", [0, 1], ("stream", [math.nan, 4.0])))
    export([folder], "parquet", tmp_path / "out", what="steps")
    table = pq.read_table(tmp_path / "out")
    assert set(table["stream"].to_pylist()) == {A.hex()}
    np.testing.assert_equal(table["trace_stream"].to_pylist(), [math.nan, 4.0])


@pytest.mark.parametrize("form", READ)
def test_columns_that_came_meanwhile_are_left_out(tmp_path, form, monkeypatch):
    folder = written(tmp_path / "run", with_actions("<i8", [0, 1]))
    before = StepsOfRuns.__init__

    def later(rows, *args):
        before(rows, *args)
        more = with_actions("<i8", [0, 1], ("late", [0.0, 1.0]))
        layout = Layout.parse(more.layout)
        index = RunIndex.open(folder)
        index.open_stream(stream(), PEER)
        index.apply(A, 2, packed(record_of(np.frombuffer(more.rows, layout.dtype), 2, layout=more.layout)))
        index.close()

    monkeypatch.setattr(StepsOfRuns, "__init__", later)
    export([folder], form, tmp_path / "out", what="steps")
    assert list(READ[form](tmp_path / "out").columns) == [*FIRST, "action"]


def test_what_is_not_there_is_counted(tmp_path, offcam_command):
    folder = written(tmp_path / "run", *(episodes(number) for number in range(9)), limit=900)
    rows = StepsOfRuns({"run": folder})
    assert 0 < rows.total < 36
    assert rows.missing() == 36 - rows.total
    path = next((folder / files.FOLDER).iterdir())
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    damaged = StepsOfRuns({"run": folder})
    assert (damaged.total, damaged.missing()) == (rows.total - 4, 40 - rows.total)
    command = ("export", str(folder), "--to", "csv", "--what", "steps")
    said = offcam_command(*command, "-o", str(tmp_path / "a.csv"))
    assert f"{damaged.total} steps ({damaged.missing()} missing)" in said.stdout + said.stderr
    told = json.loads(offcam_command(*command, "-o", str(tmp_path / "b.csv"), "--json").stdout)
    assert (told["rows"], told["missing"]) == (damaged.total, damaged.missing())
    path.unlink()
    with pytest.raises(ConfigError, match="all 36 steps"):
        export([folder], "csv", tmp_path / "c.csv", what="steps")


def test_of_a_run_without_steps_and_to_monitors_it_is_refused(tmp_path):
    folder = written(tmp_path / "run", episode(0))
    with pytest.raises(ConfigError, match="steps=True"):
        export([folder], "csv", tmp_path / "out.csv", what="steps")
    with pytest.raises(ConfigError, match="each episode"):
        export([folder], "monitor", tmp_path / "out", what="steps")
    assert not (tmp_path / "out.csv").exists()


def test_a_file_of_steps_is_not_replaced(tmp_path):
    folder = written(tmp_path / "run", episodes(0))
    path = next((folder / files.FOLDER).iterdir())
    with pytest.raises(ConfigError, match="part of a run"):
        export([folder], "csv", path, what="steps", force=True)


def test_the_list_says_how_many_there_are_and_what_was_dropped(tmp_path, offcam_command):
    bare = written(tmp_path / "bare", episode(0))
    assert "steps:" not in offcam_command("ls", str(bare)).stdout
    whole = written(tmp_path / "whole", episodes(0, 2))
    assert "steps: 8 rows in" in offcam_command("ls", str(whole)).stdout
    cut = written(tmp_path / "cut", *(episodes(number) for number in range(9)), limit=900)
    rows = StepsOfRuns({"run": cut}).total
    assert f"dropped: {36 - rows} limit" in offcam_command("ls", str(cut)).stdout
    assert "dropped" not in offcam_command("ls", str(whole)).stdout.split("steps:")[1]
