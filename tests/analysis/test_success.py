from __future__ import annotations

import math
import sqlite3
from contextlib import closing

import numpy as np
import pytest
from scipy import stats

from offcam_proto import run_format as fmt
from offcam_proto.errors import ConfigError
from offcamd.analysis import SuccessRule, success_rate

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


@pytest.mark.parametrize("rule", ["", "return", "return = 3", "reward > 0", "return > x", "terminated or truncated"])
def test_what_is_no_rule(rule):
    with pytest.raises(ConfigError, match="no condition of success"):
        SuccessRule(rule)


@pytest.mark.parametrize(("successes", "count"), [(0, 10), (3, 10), (10, 10), (999, 1000)])
def test_the_interval_is_wilsons(successes, count):
    returns = np.array([1.0] * successes + [0.0] * (count - successes))
    found = success_rate(dict.fromkeys(EPISODES, returns))
    reference = stats.binomtest(successes, count).proportion_ci(0.95, method="wilson")
    assert found.rate == successes / count
    assert found.interval == pytest.approx((reference.low, reference.high))


def test_of_no_episodes_there_is_no_rate():
    found = success_rate({column: [] for column in EPISODES})
    assert (found.count, found.as_dict()["rate"], found.as_dict()["interval"]) == (0, None, [None, None])


@pytest.mark.parametrize(
    "rule", ["return > 0", "not terminated and length <= 3", "truncated", "return >= -1e0 and return < +.5"]
)
def test_a_rule_in_sql_finds_the_same(rule):
    rows = [
        (value, length, terminated, not terminated)
        for value in (math.nan, -math.inf, -1.0, 0.0, 0.4, 0.5, math.inf)
        for length in (2, 3, 4)
        for terminated in (True, False)
    ]
    columns = dict(zip(("return", "length", "terminated", "truncated"), zip(*rows, strict=True), strict=True))
    with closing(sqlite3.connect(":memory:")) as database:
        for statement in fmt.upgrade_sql(0, ""):
            database.execute(statement)
        database.execute(
            "INSERT INTO streams (stream, env_id, num_envs, vector, prefix, suffix, video, host, pid, client, state)"
            " VALUES ('', '', 1, 0, '', 0, 0, '', 0, '', '')"
        )
        database.executemany(
            "INSERT INTO episodes (stream_id, seq, env_index, episode, return, length, terminated, truncated)"
            " VALUES (1, ?, 0, 0, ?, ?, ?, ?)",
            [(seq, *row) for seq, row in enumerate(rows)],
        )
        query = f"SELECT group_concat(id - 1) FILTER (WHERE {SuccessRule(rule).sql}) FROM episodes"  # noqa: S608 - ours
        (met,) = database.execute(query).fetchone()
    assert met is not None
    assert sorted(map(int, met.split(","))) == np.flatnonzero(SuccessRule(rule)(columns)).tolist()
