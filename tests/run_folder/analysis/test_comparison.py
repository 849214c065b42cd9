"""Groups of runs: against numbers computed by hand, and against every resample written out."""

from __future__ import annotations

import itertools
import json
import math

import numpy as np
import pytest
from scipy import stats

from offcam_runs.analysis import (
    Curve,
    Group,
    bootstrap_interval,
    center,
    compare,
    interquartile_mean,
    optimality_gap,
    performance_profile,
    probability_of_improvement,
    progress,
)
from offcam_runs.analysis.comparison import improvement

NAN = math.nan
A, B = "A-v0", "B-v0"


def group(label, scores, tasks=None):
    found = np.array(scores, float)
    return Group(label, tuple(tasks or [A] * found.size), found, np.stack([found / 2, found], axis=1))


def ends(estimates, tail=0.025):
    """The percentile interval of what a list has, each with the same probability."""
    ordered = np.sort(estimates)
    return ordered[math.ceil(tail * len(ordered) - 1e-9) - 1], ordered[math.ceil((1 - tail) * len(ordered) - 1e-9) - 1]


def test_what_is_above_the_threshold_makes_no_gap_smaller():
    assert optimality_gap([100, 400, 700], 500) == pytest.approx((400 + 100 + 0) / 3)
    assert optimality_gap([500, 900], 500) == 0


def test_a_profile_is_the_share_that_is_above_and_not_at():
    assert performance_profile([1, 2, 2, 5], [0, 1, 2, 4.9, 5]).tolist() == [1, 0.75, 0.25, 0.25, 0]


def test_the_probability_of_improvement_counts_pairs_and_ties_by_half():
    assert probability_of_improvement([3, 5], [1, 3, 4]) == pytest.approx((1 + 0.5 + 0 + 1 + 1 + 1) / 6)
    assert probability_of_improvement([1], [2]) == 0


def test_over_tasks_it_is_their_mean():
    tasks = ([A, A, B], [B, A, B])
    assert probability_of_improvement([1, 4, 9], [8, 2, 10], tasks) == pytest.approx((1 / 2 + 1 / 2) / 2)
    assert probability_of_improvement([1, 4, 9], [8, 0, 7], tasks) == pytest.approx(1)


@pytest.mark.parametrize("seed", range(3))
def test_it_is_mann_and_whitneys_u_over_the_pairs(seed):
    rng = np.random.default_rng(seed)
    one, other = rng.integers(0, 8, 9), rng.integers(1, 9, 6)
    assert probability_of_improvement(one, other) == pytest.approx(stats.mannwhitneyu(one, other).statistic / 54)


def test_its_interval_is_of_all_resamples_of_either_group():
    one, other = [2.0, 5.0, 7.0], [1.0, 5.0, 6.0]
    every = [
        probability_of_improvement(x, y)
        for x in itertools.product(one, repeat=3)
        for y in itertools.product(other, repeat=3)
    ]
    found = improvement(group("one", one), group("other", other))
    assert found == pytest.approx((probability_of_improvement(one, other), *ends(every)))


def test_its_interval_over_tasks_resamples_each_by_itself():
    one, other = group("one", [1.0, 6.0, 10.0, 20.0], [A, A, B, B]), group("other", [2.0, 3.0, 12.0], [A, A, B])
    every = [
        probability_of_improvement([*a, *b], [*c, 12.0], (one.tasks, other.tasks))
        for a, b, c in itertools.product(
            itertools.product([1.0, 6.0], repeat=2),
            itertools.product([10.0, 20.0], repeat=2),
            itertools.product([2.0, 3.0], repeat=2),
        )
    ]
    assert improvement(one, other)[1:] == pytest.approx(ends(every))


def test_many_runs_are_drawn_and_the_interval_is_near_the_normal_one():
    rng = np.random.default_rng(0)
    one, other = group("one", rng.normal(0.5, 1, 200)), group("other", rng.normal(0, 1, 150))
    found = improvement(one, other)
    # the variance of U over the pairs, from the placements (DeLong et al., Biometrics 44, 1988)
    above = one.scores[:, None] > other.scores
    error = math.sqrt(above.mean(1).var() / 200 + above.mean(0).var() / 150)
    assert [found.low, found.high] == pytest.approx([found.value - 1.96 * error, found.value + 1.96 * error], abs=0.015)
    assert improvement(one, other) == found
    assert improvement(one, other, seed=1) != found


@pytest.mark.parametrize("statistic", ["iqm", "mean", "median"])
def test_strata_are_resampled_by_themselves(statistic):
    values, strata = np.array([1.0, 100.0, 4.0, 30.0, 200.0]), np.array([0, 1, 0, 0, 1])
    every = [
        center([*one, *other], statistic)
        for one in itertools.product(values[strata == 0], repeat=3)
        for other in itertools.product(values[strata == 1], repeat=2)
    ]
    assert len(every) == 27 * 4
    found = tuple(map(float, bootstrap_interval(values, statistic, strata=strata)))
    assert found == pytest.approx(ends(every))
    assert found != pytest.approx(tuple(map(float, bootstrap_interval(values, statistic))))


def test_many_of_strata_are_drawn_within_each():
    rng = np.random.default_rng(1)
    values = np.concatenate([rng.normal(0, 1, 40), rng.normal(100, 1, 60)])
    strata = np.repeat(["a", "b"], [40, 60])
    low, high = bootstrap_interval(values, "mean", strata=strata)
    error = math.sqrt(values[:40].var() * 40 + values[40:].var() * 60) / 100
    assert [low, high] == pytest.approx([values.mean() - 1.96 * error, values.mean() + 1.96 * error], abs=0.02)


def test_of_one_run_a_task_there_is_no_interval():
    assert np.isnan(bootstrap_interval([1.0, 5.0], strata=[0, 1])).all()
    found = improvement(group("one", [3.0]), group("other", [1.0, 2.0]))
    assert found.value == 1
    assert math.isnan(found.low)
    assert math.isnan(found.high)


def test_progress_is_the_mean_of_the_last_episodes_that_had_ended():
    curve = Curve(np.array([10.0, 20, 30, 40]), np.array([1.0, NAN, 5, 8]))
    assert progress(curve, [9, 10, 29, 30, 1000], 2) == pytest.approx([NAN, 1, 1, 5, 6.5], nan_ok=True)
    assert progress(curve, [1000], 100) == pytest.approx([14 / 3])


def test_a_comparison_is_made_of_these():
    one, other = group("one", [1.0, 2, 3, 4, 5, 60]), group("other", [4.0, 5, 6])
    found = compare([one, other], [0.5, 1.0], threshold=5, confidence=0.9)
    first = found.groups[0]
    assert first.iqm.value == interquartile_mean(one.scores)
    assert first.iqm[1:] == bootstrap_interval(one.scores, confidence=0.9)
    assert first.gap.value == optimality_gap(one.scores, 5)
    assert first.gap[1:] == bootstrap_interval(np.maximum(5 - one.scores, 0), "mean", confidence=0.9)
    assert first.efficiency.center == pytest.approx([first.iqm.value / 2, first.iqm.value])
    assert first.efficiency.high[1] == first.iqm.high
    assert (found.thresholds[0], found.thresholds[-1]) == (1, 60)
    assert first.profile.center == pytest.approx(performance_profile(one.scores, found.thresholds))
    middle = int(np.argmax(found.thresholds > 4))
    above = (one.scores > found.thresholds[middle]) * 1.0
    assert [first.profile.low[middle], first.profile.high[middle]] == [
        pytest.approx(float(end)) for end in bootstrap_interval(above, "mean", confidence=0.9)
    ]
    assert [(pair.better, pair.than) for pair in found.pairs] == [("one", "other")]
    assert found.pairs[0].probability == improvement(one, other, confidence=0.9)
    assert found.warnings == ("other has 3 of the 5 runs that an interval should be of: with fewer it is too narrow",)
    shown = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert shown["groups"][0]["iqm"]["low"] == first.iqm.low
    assert shown["pairs"][0]["probability"]["value"] == found.pairs[0].probability.value
    assert shown["groups"][1]["profile"]["center"][-1] == 0


def test_without_a_threshold_there_is_no_gap_and_of_one_run_no_interval():
    found = compare([group("one", [1.0]), group("other", [1.0])], [0.5, 1.0])
    assert found.groups[0].gap is None
    shown = found.as_dict()
    assert shown["groups"][0]["iqm"] == {"value": 1.0, "low": None, "high": None}
    assert shown["pairs"][0]["probability"] == {"value": 0.5, "low": None, "high": None}
