from __future__ import annotations

import math

import numpy as np
import pytest

from offcam_runs.analysis import (
    Curve,
    align,
    band,
    bootstrap_interval,
    center,
    curve,
    default_window,
    moving_average,
    smooth,
)

NAN = math.nan


@pytest.mark.parametrize("window", [1, 2, 7, 10, 99, 100])
def test_moving_average_is_that_of_gymnasiums_guide(window):
    """``sum(rewards[i:i+window])/window`` at ``range(window-1, len(rewards))``."""
    rewards = np.random.default_rng(0).normal(50, 30, size=100).tolist()
    guide = [sum(rewards[i : i + window]) / window for i in range(len(rewards) - window + 1)]
    found = moving_average(rewards, window)
    assert np.isnan(found[: window - 1]).all()
    assert found[window - 1 :] == pytest.approx(guide)


def test_moving_average_leaves_out_what_is_not_finite():
    values = np.random.default_rng(1).normal(size=50)
    values[[3, 4, 5, 20, 40]] = NAN, NAN, NAN, math.inf, -math.inf
    found = moving_average(values, 3)
    assert np.flatnonzero(np.isnan(found)).tolist() == [0, 1, 5]
    for end in (end for end in range(2, 50) if end != 5):
        window = values[end - 2 : end + 1]
        assert found[end] == pytest.approx(window[np.isfinite(window)].mean())


def test_one_huge_value_spoils_only_the_windows_that_hold_it():
    values = np.ones(40)
    values[10] = 1e300
    found = moving_average(values, 5)
    assert (found[4:10] == 1).all()
    assert (found[15:] == 1).all()
    assert (found[10:15] > 1e299).all()


def test_moving_average_of_less_than_its_window():
    assert np.isnan(moving_average([1.0, 2.0], 3)).all()
    assert moving_average([], 3).size == 0
    with pytest.raises(ValueError, match="at least 1"):
        moving_average([1.0], 0)


def test_a_curve_by_episode_step_and_time():
    returns, lengths, ended = [1.0, math.inf, 3.0], [10, 20, 5], [107.0, NAN, 105.0]
    by_episode = curve(returns, lengths, ended)
    assert by_episode.x.tolist() == [0, 1, 2]
    np.testing.assert_equal(by_episode.y, [1.0, NAN, 3.0])
    assert curve(returns, lengths, ended, "step").x.tolist() == [10, 30, 35]
    by_time = curve(returns, lengths, ended, "time", began=100.0)
    assert by_time.x.tolist() == [7.0, 7.0, 7.0]  # without a time, or out of order: where the one before it is
    np.testing.assert_equal(by_time.y, [1.0, NAN, 3.0])
    assert curve(returns, lengths, ended, "time", began=NAN).x.tolist() == [0, 0, 0]
    assert curve([], [], [], "time").x.size == 0


def line(x, y, window=1):
    return smooth(Curve(np.array(x, float), np.array(y, float)), window)


def test_aligned_curves_have_the_last_value_reached_where_all_have_one():
    found = align([line([10, 20, 40], [1, 2, 3]), line([15, 25], [5, 6])])
    assert found.x.tolist() == [15, 20, 25]
    assert found.values.tolist() == [[1, 2, 2], [5, 5, 6]]
    assert found.runs == (0, 1)


def test_it_is_moving_averages_that_are_aligned():
    found = align([line(range(1, 6), [0, 2, 4, 6, 8], 2), line(range(1, 5), [1, 1, 1, 1], 2)])
    assert found.x.tolist() == [2, 3, 4]
    assert found.values.tolist() == [[1, 3, 5], [1, 1, 1]]


def test_aligned_curves_are_thinned_to_so_many_points_with_both_ends():
    long = line(range(1, 10_001), range(10_000))
    found = align([long, long], points=100)
    assert found.values.shape == (2, 100)
    assert (found.x[0], found.x[-1]) == (1, 10_000)
    assert (np.diff(found.x) >= 101).all()


def test_a_curve_without_values_takes_no_part():
    found = align([line([], []), line([1, 2], [NAN, NAN]), line([1, 2], [NAN, 7])])
    assert (found.x.tolist(), found.values.tolist(), found.runs) == ([2], [[7]], (2,))
    none = align([line([], [])])
    assert (none.x.size, none.values.size, none.runs) == (0, 0, ())


def test_curves_with_nothing_in_common():
    found = align([line([1, 2], [0, 0]), line([5, 6], [0, 0])])
    assert (found.x.size, found.values.shape) == (0, (2, 0))
    assert band(found.values).center.size == 0


@pytest.mark.parametrize("runs", [1, 4, 9])
def test_a_band(runs):
    values = np.random.default_rng(runs).normal(size=(runs, 20))
    found = band(values, "mean")
    np.testing.assert_array_equal(found.center, center(values, "mean"))
    if runs == 1:
        assert np.isnan([found.low, found.high]).all()
        return
    low, high = bootstrap_interval(values, "mean", resamples=2000)
    np.testing.assert_array_equal((found.low, found.high), (low, high))
    assert (found.low <= found.center).all()
    assert (found.center <= found.high).all()


def test_the_default_window():
    assert [default_window(n) for n in (0, 1, 19, 20, 500, 1000, 10**6)] == [1, 1, 1, 2, 50, 100, 100]
