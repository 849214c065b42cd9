from __future__ import annotations

import math

import pytest

from offcam_runs.analysis import stages

NAN = math.nan


def test_parts_are_of_as_many_episodes_and_each_has_its_best_median_worst_and_last():
    found = stages([5, 1, 3, 9, 8, 7, 6, 2], [1, 1, 1, 1, 0, 1, 1, 0], 2)
    assert found == [(0, 4, 3, 2, 1, 3), (4, 8, 5, 6, 6, 6)]
    assert [found[0].picked(pick) for pick in ("best", "median", "worst", "last")] == [3, 2, 1, 3]


def test_a_part_without_a_video_has_none():
    assert stages([1, 2, 3, 4], [0, 0, 1, 0], 2) == [(0, 2, None, None, None, None), (2, 4, 2, 2, 2, 2)]


def test_what_is_no_number_is_the_least_and_of_equals_the_first_counts():
    assert stages([NAN, 1, math.inf, 1, 0], [1] * 5, 1) == [(0, 5, 1, 4, 0, 4)]
    assert stages([NAN, NAN], [1, 1], 1) == [(0, 2, 0, 0, 0, 1)]


@pytest.mark.parametrize(("episodes", "parts"), [(0, 8), (3, 8), (8, 8), (20, 8), (1001, 7)])
def test_all_episodes_are_in_one_part(episodes, parts):
    found = stages(range(episodes), [1] * episodes, parts)
    assert len(found) == min(episodes, parts)
    assert [place for each in found for place in range(each.begin, each.end)] == list(range(episodes))
    sizes = [each.end - each.begin for each in found]
    assert max(sizes, default=0) - min(sizes, default=0) <= 1
