from __future__ import annotations

import math

import pytest

from offcam_runs.analysis import per_step


def test_long_episodes_count_for_more():
    found = per_step([10.0, 100.0], [10, 50], [1.0, 2.0])
    assert (found.reward, found.seconds, found.steps_per_second) == pytest.approx((110 / 60, 3 / 60, 20))


def test_what_is_not_finite_is_left_out_with_its_steps():
    found = per_step([math.nan, 6.0, -math.inf, 4.0], [7, 2, 5, 3], [0.5, math.nan, 0.7, math.inf])
    assert (found.reward, found.seconds) == pytest.approx((2.0, 1.2 / 12))


@pytest.mark.parametrize("lengths", [[], [0]])
def test_of_no_steps_there_is_nothing(lengths):
    found = per_step([1.0] * len(lengths), lengths, [0.0] * len(lengths))
    assert found.as_dict() == {"reward": None, "seconds": None, "steps_per_second": None}


def test_sums_that_no_float_has_are_none():
    assert per_step([1e308, 1e308], [1, 1], [1.0, 1.0]).as_dict()["reward"] is None
