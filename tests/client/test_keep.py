"""The names of ``offcam.keep``: what each asks of an episode, and what it says to arguments that are wrong."""

from __future__ import annotations

import inspect
import math
from fractions import Fraction
from functools import partial

import numpy as np
import pytest

from offcam import keep
from offcam_proto.errors import ConfigError
from offcam_runs.keep import rules
from offcam_runs.keep.judge import Facts, Judge
from offcam_runs.keep.names import read

RULES = sorted(set(keep.__all__) - {"Episode", "Rule"})


def episode(number=0, return_=0.0, length=1, success=None, **info):
    return keep.Episode(
        episode=number, return_=return_, length=length, terminated=True, truncated=False, info=info, success=success
    )


def says(rule, **of) -> bool:
    (test,) = rules.tests_of(rule)
    return bool(test.asks(episode(**of)))


# --- what each asks ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "text", "kept", "not_kept"),
    [
        (keep.failures(), "failures()", [{"success": False}], [{"success": True}, {"success": None}]),
        (keep.successes(), "successes()", [{"success": True}], [{"success": False}, {"success": None}]),
        (keep.above(1.5), "above(1.5)", [{"return_": 1.6}, {"return_": math.inf}], [{"return_": 1.5}]),
        (keep.above(-3), "above(-3)", [{"return_": -2.5}], [{"return_": -3.0}, {"return_": math.nan}]),
        (keep.below(200), "below(200)", [{"return_": 199.9}], [{"return_": 200.0}, {"return_": math.nan}]),
        (keep.longer_than(10), "longer_than(10)", [{"length": 11}], [{"length": 10}]),
        (keep.shorter_than(10), "shorter_than(10)", [{"length": 9}], [{"length": 10}]),
        (keep.every(3), "every(3)", [{"number": 0}, {"number": 6}], [{"number": 7}]),
        (keep.when(lambda e: e.info["x"] > 1), "when(<lambda>)", [{"x": 2}], [{"x": 0}]),
        (keep.when(says), "when(says)", [], []),
    ],
)
def test_tests(rule, text, kept, not_kept):
    assert str(rule) == text
    assert [says(rule, **of) for of in kept] == [True] * len(kept)
    assert [says(rule, **of) for of in not_kept] == [False] * len(not_kept)


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        (keep.best(3), "best(3)"),
        (keep.worst(1, among=keep.failures()), "worst(1, among=failures())"),
        (keep.spread(10), "spread(10)"),
        (keep.surprising(5), "surprising(5)"),
        (keep.new_best(among=~keep.above(3)), "new_best(among=~above(3))"),
        (keep.percentile(0, 12.5), "percentile(0, 12.5)"),
        (keep.failures() | keep.worst(3, among=keep.longer_than(10)), "failures() | worst(3, among=longer_than(10))"),
    ],
)
def test_rules_of_a_run(rule, text):
    assert str(rule) == text
    assert rules.unpack(rules.pack(rule)) is not None


def test_a_rule_decides_who_is_kept():
    judge = Judge(keep.failures() | keep.worst(1, among=keep.longer_than(10)))
    assert judge.judge(Facts(5.0, 20, tests=0b10)).reasons == ("worst(1, among=longer_than(10))",)
    assert judge.judge(Facts(1.0, 5, tests=0b00)).reasons == ()
    assert judge.judge(Facts(2.0, 20, tests=0b11)).evicted == (0,)


def test_what_is_asked_twice_is_asked_once_but_of_functions_of_ones_own():
    assert len(rules.tests_of(keep.above(3) | keep.best(1, among=keep.above(3.0)))) == 1
    two = keep.when(lambda e: e.length) | keep.when(lambda e: e.return_)
    assert len(rules.tests_of(two)) == 2
    rare = episode.__call__
    assert len(rules.tests_of(keep.when(rare) & keep.when(rare))) == 1


def test_functions_of_all_kinds():
    class Asks:
        def __call__(self, episode):
            return episode.length == 1

    for function in (Asks(), partial(says, keep.above(3)), Asks().__call__, len, math.isnan):
        assert str(keep.when(function)).startswith("when(")
    assert says(keep.when(Asks()))


# --- arguments --------------------------------------------------------------------------------------------


def test_numbers_of_numpy_are_numbers():
    assert keep.best(np.int64(3)) == keep.best(3)
    assert keep.every(np.uint8(3)) == keep.every(3)
    assert str(keep.above(np.float32(0.5))) == "above(0.5)"
    assert str(keep.below(np.int32(-4))) == "below(-4)"
    assert keep.percentile(np.float64(10), np.int16(20)) == keep.percentile(10, 20)
    assert str(keep.above(Fraction(1, 4))) == "above(0.25)"
    rules.pack(keep.percentile(np.float32(10), 20) | keep.best(np.int8(1)))


@pytest.mark.parametrize("name", ["best", "worst", "spread", "surprising", "every"])
@pytest.mark.parametrize("value", [0, -1, 1.0, 2.5, "3", None, True, np.True_, math.nan, np.array([1, 2]), keep])
def test_how_many_is_a_positive_integer(name, value):
    with pytest.raises(ConfigError, match=rf"`{name}\(3\)`"):
        getattr(keep, name)(value)


@pytest.mark.parametrize("name", ["best", "worst", "spread", "surprising"])
def test_a_ranking_has_its_bound(name):
    with pytest.raises(ConfigError, match="1 to 1000"):
        getattr(keep, name)(1001)


@pytest.mark.parametrize("name", ["above", "below", "longer_than", "shorter_than"])
@pytest.mark.parametrize("value", [math.nan, math.inf, "3", None, False, np.False_, 1j, [3]])
def test_a_limit_is_a_finite_number(name, value):
    with pytest.raises(ConfigError, match=name):
        getattr(keep, name)(value)


@pytest.mark.parametrize("bounds", [(50, 50), (90, 10), (-1, 50), (50, 101), (math.nan, 50), ("0", 50), (False, 50)])
def test_percentiles_are_from_0_to_100(bounds):
    with pytest.raises(ConfigError, match="percentile"):
        keep.percentile(*bounds)


@pytest.mark.parametrize("value", [None, 3, "failures", keep.failures()])
def test_when_takes_a_function(value):
    with pytest.raises(ConfigError, match=r"when\(lambda"):
        keep.when(value)


@pytest.mark.parametrize("make", [partial(keep.best, 3), partial(keep.percentile, 0, 10), keep.new_best])
@pytest.mark.parametrize("among", [keep.failures, "failures()", 3, keep.best(3), keep.failures() | keep.spread(2)])
def test_among_is_a_rule_without_rankings(make, among):
    with pytest.raises(ConfigError):
        make(among=among)


def test_rules_that_cannot_be_had_say_why():
    with pytest.raises(ConfigError, match=r"call it, as in `failures\(\)`"):
        keep.failures | keep.best(3)
    with pytest.raises(ConfigError, match="not by words"):
        assert keep.failures() or keep.best(3)


def test_each_name_says_what_it_keeps():
    for name in RULES:
        assert "episode" in inspect.getdoc(getattr(keep, name)).lower()
    assert {name for name in vars(keep) if not name.startswith("_")} == set(keep.__all__)


# --- as text ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "rule",
    [
        keep.failures() | keep.worst(3, among=keep.longer_than(10) & ~keep.above(2.5)),
        keep.percentile(90, 99.5) & (keep.successes() | keep.new_best()),
        ~keep.every(2),
        keep.spread(5) | keep.surprising(1) | keep.best(1000, among=keep.below(-1e300)),
    ],
    ids=str,
)
def test_a_rule_is_read_from_its_text(rule):
    again = read(f" {rule} ")
    assert str(again) == str(rule)
    assert rules.pack(again) == rules.pack(rule)


@pytest.mark.parametrize(
    "text",
    [
        "", "best", "best()", "best(3", "best(three)", "best(3, 4)", "best(k=3)", "best(3) or worst(3)", "-best(3)",
        "best(3) + worst(3)", "keep.best(3)", "best(*[3])", "best(**{})", "__import__('os').getpid()", "when(print)",
        "failures()[0]", "(lambda: failures())()", "~" * 3000 + "failures()", "(" * 3000, "9" * 5000, "a\0b",
    ],
)  # fmt: skip
def test_what_is_no_rule_is_no_rule_and_nothing_of_it_is_run(text):
    with pytest.raises(ConfigError):
        read(text)


def test_a_function_has_a_name_whatever_it_says_of_itself():
    class Odd:
        __name__ = 3

        def __call__(self, _episode):
            return True

    assert str(keep.when(Odd())) == "when(3)"
    named = Odd()
    named.__name__ = "é" * 500
    assert len(str(keep.when(named)).encode()) <= rules.MOST_TEXT_BYTES


def test_a_number_that_no_float_can_be_is_none():
    with pytest.raises(ConfigError, match="finite number"):
        keep.above(10**400)
