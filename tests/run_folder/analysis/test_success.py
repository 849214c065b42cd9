from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from offcam_proto.errors import ConfigError
from offcam_runs.analysis import SuccessRule, success_rate

EPISODES = {
    "return": np.array([250.0, 250.0, 100.0, math.nan, -1.0]),
    "length": np.array([10, 500, 20, 30, 40]),
    "terminated": np.array([True, False, True, True, True]),
    "truncated": np.array([False, True, False, False, False]),
}


@pytest.mark.parametrize(
    ("rule", "met"),
    [
        ("return > 0", [1, 1, 1, 0, 0]),
        ("terminated and return >= 200", [1, 0, 0, 0, 0]),
        ("not truncated", [1, 0, 1, 1, 1]),
        ("truncated", [0, 1, 0, 0, 0]),
        ("return>=100 and length<=20", [1, 0, 1, 0, 0]),
        ("return > -1.5e0", [1, 1, 1, 0, 1]),
        ("return <= .5", [0, 0, 0, 0, 1]),
    ],
)
def test_rules(rule, met):
    assert SuccessRule(rule)(EPISODES).tolist() == [bool(one) for one in met]
    assert success_rate(EPISODES, SuccessRule(rule)).rule == rule


@pytest.mark.parametrize("rule", ["", "return", "return = 3", "won", "return > x", "terminated or truncated"])
def test_what_is_no_rule(rule):
    with pytest.raises(ConfigError, match="no condition of success"):
        SuccessRule(rule)


def test_a_rule_of_an_episodes_values_counts_those_that_are_known():
    episodes = {**EPISODES, "is_success": np.array([1.0, 0.0, math.nan, 1.0, 1.0]), "d:m": np.array([1, 2, 3, 4, 5.0])}
    for rule, successes, count in [
        ("is_success", 3, 4),
        ("not is_success", 1, 4),
        ("is_success and d:m < 2.5", 1, 4),
        ("d:m >= 3 and terminated", 3, 5),
    ]:
        found = success_rate(episodes, SuccessRule(rule))
        assert (found.rule, found.successes, found.count) == (rule, successes, count)


def test_a_rule_of_a_value_that_no_episode_has():
    for rule in ("reward > 0", "success"):
        with pytest.raises(ConfigError, match="no episode has a value"):
            success_rate(EPISODES, SuccessRule(rule))


@pytest.mark.parametrize(("successes", "count"), [(0, 10), (3, 10), (10, 10), (999, 1000)])
def test_the_interval_is_wilsons(successes, count):
    returns = np.array([1.0] * successes + [0.0] * (count - successes))
    found = success_rate(dict.fromkeys(EPISODES, returns), SuccessRule("return > 0"))
    reference = stats.binomtest(successes, count).proportion_ci(0.95, method="wilson")
    assert found.rate == successes / count
    assert found.interval == pytest.approx((reference.low, reference.high))


def test_of_no_episodes_there_is_no_rate():
    found = success_rate({column: [] for column in EPISODES}, SuccessRule("truncated"))
    assert (found.count, found.as_dict()["rate"], found.as_dict()["interval"]) == (0, None, [None, None])


def test_there_is_no_rule_but_one_that_was_given():
    with pytest.raises(TypeError):
        success_rate(EPISODES)
    with pytest.raises(TypeError):
        SuccessRule()
