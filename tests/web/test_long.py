"""A long run, of which the server reads sums and what clips show: it answers as if it had read all episodes."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest

import made
import runs
from offcam_runs import blocks, long_run
from offcam_runs.run_ids import run_id
from offcamd.web import episode_cache, long_curves
from waiting import wait_until

CURVES = (  # those of more than 400 episodes with buckets of whole blocks
    {"points": 500}, {"points": 50}, {"points": 500, "window": 7}, {"points": 20, "window": 1},
    {"points": 1, "window": 333}, {"points": 100, "window": 5000}, {"points": 100, "window": 5001},
    {"points": 50, "x": "step"}, {"points": 100, "x": "time", "y": "length"}, {"points": 25, "y": "duration"},
    {"from": 999, "to": 999}, {"from": 1234, "to": 1599, "window": 50}, {"from": 4990}, {"to": 3, "x": "step"},
    {"from": 3000.5, "to": 10000, "x": "step"}, {"from": 100, "to": 130.3, "x": "time"},
    {"from": "1e300"}, {"to": "-1"}, {"from": "50", "to": "40"},
)  # fmt: skip


@pytest.fixture
def long(monkeypatch):
    """From now on runs of more than 100 episodes are long."""

    def begin():
        monkeypatch.setattr(long_run, "LONG", 100)
        monkeypatch.setattr(blocks, "BLOCK", 10)
        monkeypatch.setattr(long_curves, "BLOCK", 10)
        monkeypatch.setattr(long_curves, "MOST_READ", 400)
        monkeypatch.setattr(episode_cache.EpisodeCache, "get", lambda *_: pytest.fail("all episodes were read"))

    return begin


def same(one, other):
    """Whether two answers are alike, but for the last digits of numbers."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, float) and isinstance(other, (int, float)):
        return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-9)
    return one == other


def answers(client, asked):
    return [client.get(path, params=params).json() for path, params in asked]


@pytest.mark.parametrize("params", CURVES, ids=str)
def test_curves_are_the_same(run, look, long, params):
    client, asked = look(run), [(f"/api/runs/{run_id(run)}/curve", params)]
    wait_until(lambda: client.get("/api/runs").json(), "the run is there")
    (whole,) = answers(client, asked)
    long()
    (found,) = answers(look(run), asked)
    assert same(found, whole)


def test_what_clips_show_is_the_same(run, look, long):
    base, client = f"/api/runs/{run_id(run)}", look(run)
    keys = [clip["key"] for clip in client.get(f"{base}/clips").json()["clips"]]
    asked = [(f"{base}/clips/{key}", {}) for key in keys[:5]]
    asked += [(f"{base}/nearest", {"number": number}) for number in (0, 1, 49, 50, 51, 4999, 5000)]
    asked += [(f"{base}/episodes", {"sort": sort, "offset": 700}) for sort in ("arrival", "return", "duration")]
    whole = answers(client, asked)
    long()
    client = look(run)
    assert same(answers(client, asked), whole)
    assert same(answers(client, asked), whole)  # as it is kept


def test_a_group_of_long_runs(run, look, long, tmp_path):
    runs_of = [
        made.make_run(tmp_path / "seeds" / f"{number}", 1500, 0, stream=bytes([number]) * 16) for number in (1, 2)
    ]
    asked = [
        ("/api/group", {"runs": ",".join(map(run_id, runs_of)), "window": 30, "x": x}) for x in ("episode", "step")
    ]
    whole = answers(look(*runs_of), asked)
    long()
    assert same(answers(look(*runs_of), asked), whole)


def test_one_that_grows_and_one_that_is_made_anew(look, long, tmp_path):
    long()
    folder = runs.write(tmp_path / "run", [1.0] * 205, infos=[{"score": 1.0}] * 205)
    client, path = look(folder), f"/api/runs/{run_id(folder)}/curve"

    def means(**params):
        return client.get(path, params=params).json().get("mean")

    assert means(points=1) == [1.0]
    runs.write(folder, [4.0] * 410, stream=b"t" * 16)
    assert means(points=1) == [3.0]
    assert means(points=1, y="score") == [1.0]
    assert re.search("no episode has", client.get(path, params={"y": "other"}).text)
    for file in folder.glob("offcam.sqlite3*"):
        file.unlink()
    runs.write(folder, [7.0] * 500, stream=b"u" * 16)
    assert means(points=1) == [7.0]
    assert np.isfinite(means(points=100)).all()
