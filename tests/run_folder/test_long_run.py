"""Curves of runs that are too long to be read whole: the points that are read are those of the whole curve."""

from __future__ import annotations

import math

import numpy as np
import pytest

import runs
from offcam_proto.errors import ConfigError
from offcam_runs import long_run
from offcam_runs.long_run import LongRun, run_to_plot
from offcam_runs.run import Run, read_run
from offcamd.reports.plot import FigureLine, FigureStyle, draw

RANDOM = np.random.default_rng(3)
COUNT = 2_345


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three sessions, the second one long."""
    returns, successes = RANDOM.normal(size=COUNT), RANDOM.random(COUNT) < np.linspace(0, 1, COUNT)
    returns[[0, 700, 701, COUNT - 1]] = math.nan, math.inf, -math.inf, math.nan
    infos = [{"is_success": float(success)} if number % 5 else {} for number, success in enumerate(successes)]
    where = runs.write(tmp_path_factory.mktemp("runs") / "run", [1.0] * 40, stream=b"1" * 16)
    lengths = RANDOM.integers(1, 50, COUNT).tolist()
    runs.write(where, returns.tolist(), lengths=lengths, infos=infos, stream=b"2" * 16, session=2, env_id="Long-v0")
    return runs.write(where, [7.0] * 30, stream=b"3" * 16, session=3)


@pytest.mark.parametrize("points", [1, 7, 400, COUNT])
@pytest.mark.parametrize("window", [1, 5, 100, COUNT, COUNT + 1])
@pytest.mark.parametrize("axis", ["episode", "step", "time"])
@pytest.mark.parametrize("quantity", ["return", "length", "duration", "is_success"])
def test_its_points_are_those_of_the_whole_curve(folder, monkeypatch, quantity, axis, window, points):
    monkeypatch.setattr(long_run, "POINTS", points)
    found, whole = run_to_plot(folder, 2, long=COUNT - 1), read_run(folder, 2)
    assert isinstance(found, LongRun)
    assert (found.count, found.env_ids, found.began) == (COUNT, whole.env_ids, whole.began)
    places = [*range(found.every - 1, COUNT - 1, found.every), COUNT - 1]
    assert len(places) <= points
    few, all_ = found.smooth(quantity, axis, window), whole.smooth(quantity, axis, window)
    np.testing.assert_allclose(few.x, all_.x[places], rtol=1e-12)
    np.testing.assert_array_equal(few.y, all_.y[places])
    np.testing.assert_allclose(few.average, all_.average[places], rtol=1e-12)


def test_one_is_long_that_has_more_episodes_than_are_read(folder):
    assert isinstance(run_to_plot(folder, 2, long=COUNT), Run)
    assert isinstance(run_to_plot(folder, 3, long=29), LongRun)
    assert run_to_plot(folder, "all", long=100).count == 40 + COUNT + 30
    assert run_to_plot(folder, long=100).count == 30  # the newest session


def test_one_without_episodes_is_read(tmp_path):
    assert run_to_plot(runs.write(tmp_path / "run", [])).count == 0


def test_one_whose_episodes_lie_among_those_of_another_session_is_read(tmp_path):
    folder = runs.write(tmp_path / "run", [1.0] * 10, stream=b"1" * 16)
    runs.write(folder, [2.0] * 10, stream=b"2" * 16, session=2)
    runs.write(folder, [3.0] * 10, stream=b"3" * 16)
    found = run_to_plot(folder, 1, long=5)
    assert isinstance(found, Run)
    assert found.smooth("return", "episode", 1).y.tolist() == [1.0] * 10 + [3.0] * 10
    assert isinstance(run_to_plot(folder, 2, long=5), LongRun)


def test_a_value_that_no_episode_has_is_an_error(folder):
    with pytest.raises(ConfigError, match=r"no episode of .* has a value 'score'"):
        run_to_plot(folder, 2, long=100).smooth("score", "episode", 10)


@pytest.mark.parametrize("axis", ["episode", "step", "time"])
def test_a_figure_says_how_many_of_its_episodes_are_drawn(folder, tmp_path, monkeypatch, axis):
    monkeypatch.setattr(long_run, "POINTS", 100)
    lines = [FigureLine("long", (run_to_plot(folder, 2, long=100),)), FigureLine("short", (run_to_plot(folder, 3),))]
    draw(lines, FigureStyle(axis), tmp_path / "figure.svg")
    assert "1 in 24 drawn" in (tmp_path / "figure.svg").read_text()
    draw(
        [FigureLine("seeds", (lines[0].runs[0], run_to_plot(folder, 1)))],
        FigureStyle(axis, window=3),
        tmp_path / "group.svg",
    )
    assert "interquartile mean over seeds" in (tmp_path / "group.svg").read_text()
