"""What keeps the answers quick when a run is long; how quick is measured by ``tests/bench/api.py``."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import made
from offcam_runs import episodes
from offcam_runs.format import INDEX_NAME
from offcam_runs.streams import read_streams
from offcamd.web import episode_cache, runs
from offcamd.web.episode_cache import EpisodeCache, ReadAhead
from offcamd.web.reading import reading
from offcamd.web.runs import RunDescriptions
from offcamd.web.source import FolderSource

BENCH = Path(__file__).parents[1] / "bench" / "api.py"


def test_the_benchmark_measures_every_page(tmp_path):
    figures = tmp_path / "figures.json"
    options = ["--episodes", "2000", "--clips", "20", "--repeat", "1", "--json", str(figures)]
    done = subprocess.run([sys.executable, str(BENCH), *options], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = json.loads(figures.read_text())
    assert len(rows) > 20
    assert all(row["bytes"] and row["first"] > 0 for row in rows)
    assert f"{len(rows) + 3}" == str(len(done.stdout.splitlines()))


@pytest.mark.parametrize(
    ("sort", "index"),
    [("arrival", "SCAN episodes"), ("return", "episodes_by_return"), ("length", "episodes_by_length")],
)
@pytest.mark.parametrize("direction", ["ASC", "DESC"])
def test_pages_need_no_sorting(run, sort, index, direction):
    order = episodes.ORDERS[sort].format(direction)
    with reading(run) as database:
        query = f"EXPLAIN QUERY PLAN {episodes.SELECT} ORDER BY {order} LIMIT 10"
        plan = " ".join(row[-1] for row in database.execute(query))
    assert index in plan
    assert "TEMP B-TREE" not in plan


def test_a_run_that_did_not_change_is_not_opened_again(run, monkeypatch):
    source = FolderSource([run])
    described = RunDescriptions(source)
    first = described.all()

    def no_more(*_arguments):
        pytest.fail("it was opened")

    monkeypatch.setattr(runs, "reading", no_more)
    assert described.all() == first


def join_the_reader():
    for thread in threading.enumerate():
        if thread.name == "offcam-ahead":
            thread.join()


def test_what_was_read_ahead_is_not_read_again(run, monkeypatch):
    with reading(run) as database:
        rows = database.execute(f"{episodes.SELECT} ORDER BY id").fetchall()
        at_once = EpisodeCache().get(run, database, read_streams(database))
    cache = EpisodeCache()
    ReadAhead(cache).add(run)
    join_the_reader()
    monkeypatch.setattr(episode_cache, "read_episodes", lambda *_arguments: pytest.fail("it was read again"))
    with reading(run) as database:
        ahead = cache.get(run, database, read_streams(database))
    expected = [(number, stream - 1, *values) for number, stream, *values, _ in rows]
    numbers = np.array([each[:-1] for each in ahead], float)
    np.testing.assert_array_equal(numbers, np.array(expected, float))
    assert {info for *_, info in rows} == {None}
    assert not any(each.info for each in ahead)
    np.testing.assert_array_equal(numbers, np.array([each[:-1] for each in at_once], float))


def test_a_run_that_cannot_be_read_ahead_holds_up_no_other(run, tmp_path):
    (tmp_path / INDEX_NAME).write_bytes(b"no database" * 100)
    cache = EpisodeCache()
    ahead = ReadAhead(cache)
    for folder in (tmp_path, run, tmp_path):
        ahead.add(folder)
        join_the_reader()
    assert [folder for folder, _ in cache._runs._kept] == [run]


def test_long_runs_are_read_ahead_once(tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "LONG", 50)
    folders = [made.make_run(tmp_path / str(episodes), episodes, 0) for episodes in (49, 50, 0)]
    found = []
    described = RunDescriptions(FolderSource(folders), found.append)
    assert len(described.all()) == len(described.all()) == 3
    assert found == [folders[1]]
