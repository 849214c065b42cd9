"""Against scipy's and rliable's answers, and against resamples counted by hand."""

from __future__ import annotations

import itertools
import json
import math

import numpy as np
import pytest
from scipy import stats

from offcam_runs.analysis import bootstrap_interval, center, interquartile_mean, summary

NAN = math.nan
STATISTICS = ["iqm", "mean", "median"]

# rliable 1.2.0 (arch 7.2.0, scipy 1.17.1), a column of runs as the one task:
#   get_interval_estimates({"a": scores[:, None]},
#       lambda x: np.array([aggregate_iqm(x), aggregate_mean(x), np.median(x)]), reps=200_000)
FIVE = [3.0, 7.0, 8.0, 20.0, 21.0]
TEN = [12.0, 35.0, 41.0, 42.0, 47.0, 50.0, 55.0, 58.0, 90.0, 200.0]
RLIABLE = [
    (FIVE, "iqm", 11.66666667, (4.333333333333333, 20.666666666666668)),
    (FIVE, "mean", 11.8, (5.6, 18.0)),
    (FIVE, "median", 8.0, (3.0, 21.0)),
    (TEN, "iqm", 48.83333333, (38.0, 84.16666666666667)),
    (TEN, "mean", 63.0, (38.9, 97.4)),
    (TEN, "median", 48.5, (38.5, 72.5)),
]

# likewise, of eight runs at six moments, with
#   lambda x: np.array([aggregate_iqm(x[..., moment]) for moment in range(6)]), reps=100_000
CURVES = [
    [1.3, 2.0, 4.3, 5.5, 5.4, 7.1],
    [3.6, 6.5, 6.1, 4.6, 4.3, 5.4],
    [-3.7, -3.1, -4.6, -5.0, -5.1, -4.8],
    [1.8, 4.9, 5.7, 9.4, 9.1, 10.8],
    [2.8, 4.0, 3.5, 2.7, 2.7, 4.2],
    [-1.0, -0.4, 0.2, 2.3, 3.8, 5.5],
    [-0.3, 0.4, 3.0, 7.0, 5.5, 9.5],
    [3.7, 6.3, 7.8, 8.2, 12.1, 17.0],
]
CURVES_IQM = [1.4, 2.825, 4.125, 4.95, 4.75, 6.875]
CURVES_LOW = [-0.925, -0.2, 0.525, 1.15, 1.425, 2.6]
CURVES_HIGH = [3.2, 5.6, 6.0, 7.6, 8.2, 11.025]


@pytest.mark.parametrize(("scores", "statistic", "point", "interval"), RLIABLE)
def test_rliables_numbers(scores, statistic, point, interval):
    assert center(scores, statistic) == pytest.approx(point)
    found = bootstrap_interval(scores, statistic, resamples=100_000)
    assert found == pytest.approx(interval, rel=0.02)  # of five, all are counted


def test_rliables_curves():
    assert center(CURVES) == pytest.approx(CURVES_IQM)
    low, high = bootstrap_interval(CURVES, resamples=100_000)
    assert low == pytest.approx(CURVES_LOW, abs=0.1)
    assert high == pytest.approx(CURVES_HIGH, abs=0.1)


@pytest.mark.parametrize("n", range(1, 13))
def test_interquartile_mean_is_scipys_trimmed_mean(n):
    values = np.random.default_rng(n).normal(size=n)
    assert interquartile_mean(values) == pytest.approx(stats.trim_mean(values, 0.25))
    assert center(values, "median") == pytest.approx(np.median(values))
    assert center(values, "mean") == pytest.approx(values.mean())


@pytest.mark.parametrize("statistic", STATISTICS)
def test_a_few_values_are_resampled_in_every_way(statistic):
    """All 4^4 resamples, written out: the ends are where their distribution reaches 2.5 % and 97.5 %."""
    values = np.array([1.0, 2.0, 10.0, 30.0])
    every = np.sort([center(resample, statistic) for resample in itertools.product(values, repeat=4)])
    assert len(every) == 256
    low, high = bootstrap_interval(values, statistic)
    assert low == pytest.approx(every[math.ceil(0.025 * 256) - 1])
    assert high == pytest.approx(every[math.ceil(0.975 * 256) - 1])


def test_of_two_values_the_mean_is_either_or_between():
    """Of the four resamples one is 0, 0 and one is 1, 1: a quarter each, so a 40 % interval leaves them out."""
    assert bootstrap_interval([0.0, 1.0], "mean") == (0.0, 1.0)
    assert bootstrap_interval([0.0, 1.0], "mean", confidence=0.4) == (0.5, 0.5)


@pytest.mark.parametrize("statistic", STATISTICS)
def test_many_values_as_scipys_percentile_bootstrap(statistic):
    values = np.random.default_rng(3).gamma(2, 50, size=60)
    reference = stats.bootstrap(
        (values,), lambda sample: center(sample, statistic), vectorized=False, method="percentile", n_resamples=4000,
        random_state=np.random.default_rng(0),
    ).confidence_interval  # fmt: skip
    width = reference.high - reference.low
    low, high = bootstrap_interval(values, statistic)
    assert low == pytest.approx(reference.low, abs=0.06 * width)
    assert high == pytest.approx(reference.high, abs=0.06 * width)


@pytest.mark.parametrize("statistic", STATISTICS)
def test_of_very_many_values_the_interval_is_what_resamples_tend_to(monkeypatch, statistic):
    values = np.random.default_rng(4).gamma(2, 50, size=5000)
    low, high = map(float, bootstrap_interval(values, statistic))
    monkeypatch.setattr("offcam_runs.analysis.statistics._MOST_DRAWN", 10**9)
    drawn = bootstrap_interval(values, statistic, resamples=2000)
    assert drawn == pytest.approx((low, high), abs=0.07 * (high - low))


@pytest.mark.parametrize("n", [5, 12, 3000])
def test_runs_are_resampled_as_a_whole_and_columns_do_not_mix(n):
    values = np.random.default_rng(n).normal(size=(n, 3))
    low, high = bootstrap_interval(values)
    for column in range(3):
        assert [low[column], high[column]] == pytest.approx(list(map(float, bootstrap_interval(values[:, column]))))
    values[0, 1] = NAN
    gap_low, gap_high = bootstrap_interval(values)
    assert np.isnan([gap_low[1], gap_high[1]]).all()
    assert (gap_low[0], gap_high[2]) == (low[0], high[2])


def test_the_same_seed_gives_the_same_interval():
    values = np.random.default_rng(0).normal(size=50)
    assert bootstrap_interval(values) == bootstrap_interval(values)
    assert bootstrap_interval(values) != bootstrap_interval(values, seed=1)


def test_of_one_value_there_is_no_interval():
    for values in ([], [4.0]):
        assert np.isnan(bootstrap_interval(values)).all()
    low, high = bootstrap_interval(np.empty((3, 0)))
    assert low.shape == high.shape == (0,)


def test_a_summary():
    found = summary([*TEN, NAN, math.inf, -math.inf])
    assert (found.count, found.non_finite, found.low, found.high) == (10, 3, 12.0, 200.0)
    assert found.std == pytest.approx(np.std(TEN))
    assert found.mean_interval == bootstrap_interval(TEN, "mean")
    assert found.iqm_interval == bootstrap_interval(TEN, "iqm")
    shown = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert shown["iqm"] == pytest.approx(48.83333333)
    assert (shown["min"], shown["confidence"], shown["non_finite"]) == (12.0, 0.95, 3)


def test_a_summary_of_nothing_of_one_and_of_numbers_too_large_to_add():
    assert summary([NAN]).as_dict() == {
        "count": 0, "non_finite": 1, "mean": None, "std": None, "median": None, "iqm": None, "min": None, "max": None,
        "mean_interval": [None, None], "iqm_interval": [None, None], "confidence": 0.95,
    }  # fmt: skip
    one = summary([3.0]).as_dict()
    assert (one["mean"], one["std"], one["iqm_interval"]) == (3.0, 0.0, [None, None])
    huge = summary([1e308] * 8).as_dict()
    assert (huge["count"], huge["mean"], huge["max"]) == (8, None, 1e308)
