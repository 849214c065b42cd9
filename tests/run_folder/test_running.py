import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from offcam_runs.running import RECENT, EpisodeTotals, RunningStats
from offcam_runs.totals import RunTotals
from run_samples import A, B, episode

FINITE = st.floats(-1e9, 1e9)


def stats(values):
    running = RunningStats()
    for value in values:
        running.add(value)
    return running


def add(totals, record):
    totals.add(record.return_, record.length, record.duration)


def aggregate(returns):
    result = EpisodeTotals()
    for number, value in enumerate(returns):
        add(result, episode(number, return_=value))
    return result


@given(st.lists(FINITE, min_size=1, max_size=50))
def test_running_stats_are_numpys(values):
    found = stats(values).as_dict()
    assert found["mean"] == pytest.approx(np.mean(values), rel=1e-9, abs=1e-3)
    assert found["std"] == pytest.approx(np.std(values), rel=1e-6, abs=1e-3)
    assert (found["min"], found["max"]) == (min(values), max(values))


def test_a_small_spread_around_a_large_mean_is_not_lost():
    values = [1e9 + offset for offset in (4.0, 7.0, 13.0, 16.0)]  # the textbook sum of squares gives nonsense
    assert stats(values).std == pytest.approx(math.sqrt(22.5), rel=1e-12)


@given(st.lists(st.lists(FINITE, max_size=10), max_size=6))
def test_merging_is_as_if_one_had_seen_all(parts):
    merged = RunningStats()
    for part in parts:
        merged.merge(stats(part))
    whole = stats([value for part in parts for value in part])
    assert merged.count == whole.count
    assert merged.mean == pytest.approx(whole.mean, rel=1e-9, abs=1e-3)
    assert merged.squares == pytest.approx(whole.squares, rel=1e-6, abs=1e3)
    assert (merged.low, merged.high) == (whole.low, whole.high)


def test_nothing_has_no_numbers():
    found = EpisodeTotals().as_dict()
    assert found["episodes"] == found["steps"] == found["non_finite"] == 0
    assert set(found["return"].values()) == set(found["length"].values()) == {None}
    assert found["duration"] == {"total": 0.0, "mean": None}
    assert found["steps_per_second"] is None


def test_what_a_dashboard_shows():
    result = aggregate([1.0, 2.0, 6.0])
    assert result.as_dict() == {
        "episodes": 3,
        "steps": 63,
        "non_finite": 0,
        "return": {
            "mean": 3.0,
            "std": pytest.approx(math.sqrt(14 / 3)),
            "min": 1.0,
            "max": 6.0,
            "last100_mean": 3.0,
            "last": 6.0,
        },
        "length": {
            "mean": 21.0,
            "std": pytest.approx(math.sqrt(2 / 3)),
            "min": 20,
            "max": 22,
            "last100_mean": 21.0,
            "last": 22,
        },
        "duration": {"total": 1.5, "mean": 0.5},
        "steps_per_second": 42.0,
    }


def test_the_last_hundred():
    returns = [float(n) for n in range(RECENT + 50)]
    found = aggregate(returns).as_dict()
    assert found["return"]["last100_mean"] == np.mean(returns[50:])
    assert found["length"]["last100_mean"] == np.mean(range(70, 170))
    assert found["return"]["mean"] == pytest.approx(np.mean(returns))


def test_returns_that_are_not_finite_are_counted_apart():
    found = aggregate([1.0, math.nan, math.inf, 3.0, -math.inf]).as_dict()
    assert found["episodes"] == 5
    assert found["non_finite"] == 3
    assert found["return"] == {"mean": 2.0, "std": 1.0, "min": 1.0, "max": 3.0, "last100_mean": 2.0, "last": None}
    assert found["length"]["max"] == 24


def test_a_duration_that_is_no_number_does_not_spoil_the_rate():
    result = aggregate([1.0])
    add(result, episode(length=1000, duration=math.nan))
    assert result.as_dict()["steps_per_second"] == 40.0
    assert result.as_dict()["steps"] == 1020


def test_numbers_too_large_to_sum_stay_json():
    found = aggregate([1.7e308, 1.7e308, -1.7e308, 1.7e308]).as_dict()
    json.dumps(found, allow_nan=False)
    assert found["return"]["max"] == 1.7e308


def test_a_run_is_its_streams_merged_with_its_own_order_of_arrival():
    run, whole = RunTotals(), EpisodeTotals()
    for number in range(300):
        record = episode(number, return_=float(number % 7))
        run.add((A if number % 3 else B).hex(), record.return_, record.length, record.duration)
        add(whole, record)
    found, expected = run.as_dict(), whole.as_dict()
    assert found["return"]["last100_mean"] == expected["return"]["last100_mean"]
    assert found["return"] == pytest.approx(expected["return"])
    assert found["length"] == pytest.approx(expected["length"])
    assert [run.streams[key.hex()].episodes for key in (A, B)] == [200, 100]
    add(run.total(), episode())
    assert run.as_dict() == found  # a total is the caller's own
