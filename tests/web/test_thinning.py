"""Rows of steps as points, where not all of them are there."""

from __future__ import annotations

import numpy as np
import pytest

from offcam_runs.steps.rows import of_env
from offcamd.web.thinning import RETURN, REWARD, Points, TraceColumn
from step_samples import record_of, rows_of_episodes

ALL = rows_of_episodes(0, 3, 9)  # 30 rows; the reward of step n is n / 2


def points(first, behind, most, *pieces, episode=None):
    found = Points(first, behind, most)
    for begin, end in pieces:
        found.add(of_env(record_of(ALL[begin:end], begin), 0), episode)
    return found


def values(found, kind, name, of=0):
    return found.columns[TraceColumn(kind, name)][of].tolist()


@pytest.mark.parametrize("pieces", [[(0, 30)], [(0, 12), (12, 13), (13, 30)], [(each, each + 1) for each in range(30)]])
@pytest.mark.parametrize("most", [1, 4, 7, 30, 100])
def test_how_they_lie_in_blocks_changes_nothing(pieces, most):
    found, whole = points(0, 30, most, *pieces), points(0, 30, most, (0, 30))
    assert (found.bucket, found.count, found.found) == (whole.bucket, whole.count, 30)
    assert found.count <= most
    for column, (low, high) in whole.columns.items():
        np.testing.assert_array_equal(found.columns[column], (low, high))
    for name, facts in whole.facts.items():
        np.testing.assert_array_equal(found.facts[name], facts)


def test_a_return_is_not_known_behind_a_row_that_is_not_there():
    found = points(0, 20, 100, (0, 4), (5, 20))
    expected = [0, 0.5, 1.5, 3, *[np.nan] * 6, 0, 0.5, 1.5, 3, 5, 7.5, 10.5, 14, 18, 22.5]
    np.testing.assert_array_equal(values(found, RETURN, "return"), expected)
    assert (found.found, found.facts["step"][4], found.facts["flags"][4]) == (19, -1, -1)


def test_nor_where_it_begins_in_the_midst_of_an_episode():
    found = points(5, 12, 100, (0, 30))
    np.testing.assert_array_equal(values(found, RETURN, "return"), [*[np.nan] * 5, 0, 0.5])
    np.testing.assert_array_equal(values(found, REWARD, "reward"), [2.5, 3, 3.5, 4, 4.5, np.nan, 0.5])


def test_only_the_rows_of_the_episode_that_was_asked_for():
    found = points(5, 25, 100, (0, 30), episode=1)
    assert (found.found, set(found.facts["episode"].tolist())) == (10, {-1, 1})


def test_a_reward_that_is_no_number_makes_the_return_none_until_the_next_episode():
    rows = ALL.copy()
    rows["reward"][3] = np.nan
    found = Points(0, 30, 100)
    found.add(of_env(record_of(rows, 0), 0), None)
    np.testing.assert_array_equal(np.isnan(values(found, RETURN, "return")), [*[False] * 3, *[True] * 7, *[False] * 20])


def test_of_an_episode_that_begins_with_a_step_the_return_is_known():
    rows = ALL[(ALL["episode"] == 0) | (ALL["step"] > 0)]  # the later ones are reset in the step before
    found = Points(0, len(rows), 100)
    found.add(of_env(record_of(rows, 0), 0), None)
    assert values(found, RETURN, "return")[9:12] == [22.5, 0.5, 1.5]
