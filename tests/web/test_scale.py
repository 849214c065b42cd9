"""What keeps the answers quick when a run is long; how quick is measured by ``tests/bench/api.py``."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from offcamd.web import queries, runs
from offcamd.web.readers import reading
from offcamd.web.runs import Runs
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
    order = f"{queries._EPISODE_ORDER[sort].format(direction)} {direction}"
    with reading(run) as database:
        query = f"EXPLAIN QUERY PLAN {queries._EPISODES} ORDER BY {order} LIMIT 10"
        plan = " ".join(row[-1] for row in database.execute(query))
    assert index in plan
    assert "TEMP B-TREE" not in plan


def test_a_run_that_did_not_change_is_not_opened_again(run, monkeypatch):
    source = FolderSource([run])
    described = Runs(source)
    first = described.all()

    def no_more(*_arguments):
        pytest.fail("it was opened")

    monkeypatch.setattr(runs, "reading", no_more)
    assert described.all() == first
