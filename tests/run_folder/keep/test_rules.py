"""Rules of what to keep: how they are put together, what they say, and how they travel."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from offcam_proto.errors import ConfigError, MalformedMessage
from offcam_runs.keep import rules
from offcam_runs.keep.rules import And, ComparisonRule, Episode, Not, Or, Ranking, Rule, pack, unpack

FAILURES, LONG, HIGH = (rules.Test(text, bool) for text in ("failures()", "longer_than(10)", "above(1.5)"))
BEST = Ranking("best", 3)

tests = st.sampled_from([FAILURES, LONG, HIGH, rules.Test("when(é)", len), rules.Test('when("[{\\")', max)])


def comparisons(among):
    bounds = st.tuples(st.floats(0, 100), st.floats(0, 100)).filter(lambda both: both[0] < both[1])
    percentiles = st.builds(lambda both, among: ComparisonRule("percentile", *both, among), bounds, among)
    return percentiles | st.builds(lambda among: ComparisonRule("new_best", among=among), among)


def joined(parts):
    pairs = st.lists(parts, min_size=2, max_size=3).map(tuple)
    return pairs.map(Or) | pairs.map(And)


unranked = st.recursive(
    tests, lambda parts: joined(parts) | parts.map(Not) | comparisons(st.none() | parts), max_leaves=5
)
rankings = st.builds(Ranking, st.sampled_from(rules.RANKINGS), st.integers(1, 1000), st.none() | unranked)
any_rule = st.recursive(unranked | rankings, joined, max_leaves=5)


# --- putting them together --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        (FAILURES | Ranking("worst", 3, LONG), "failures() | worst(3, among=longer_than(10))"),
        ((FAILURES | LONG) & BEST, "(failures() | longer_than(10)) & best(3)"),
        (FAILURES | LONG & BEST, "failures() | longer_than(10) & best(3)"),
        (FAILURES | (LONG | BEST), "failures() | longer_than(10) | best(3)"),
        (~(FAILURES & LONG) & ~HIGH, "~(failures() & longer_than(10)) & ~above(1.5)"),
        (ComparisonRule("new_best"), "new_best()"),
        (ComparisonRule("new_best", among=~FAILURES), "new_best(among=~failures())"),
        (ComparisonRule("percentile", 90, 99.9), "percentile(90, 99.9)"),
        (
            ComparisonRule("percentile", 0, 1e-7, FAILURES | LONG),
            "percentile(0, 1e-07, among=failures() | longer_than(10))",
        ),
        (Ranking("spread", 10), "spread(10)"),
    ],
)
def test_a_rule_says_how_it_is_made(rule, text):
    assert str(rule) == text
    assert str(unpack(pack(rule))) == text


def test_numbers_are_written_exactly():
    for number in (0.1, 1 / 3, 1e300, -7.0, 2.0**60, 123456789.0):
        assert float(rules.number_text(number)) == number
    assert rules.number_text(200.0) == "200"


def test_what_is_combined_is_flat_and_twice_not_is_nothing():
    assert FAILURES | (LONG | HIGH) == (FAILURES | LONG) | HIGH == Or((FAILURES, LONG, HIGH))
    assert And((FAILURES, Or((LONG, HIGH)))) == FAILURES & (LONG | HIGH)
    assert FAILURES | LONG != FAILURES & LONG
    twice = ~~FAILURES
    assert twice is FAILURES


def test_leaves_come_from_left_to_right_and_those_within_among_are_not_its_own():
    rule = FAILURES & ~LONG | Ranking("best", 1, HIGH)
    assert list(rule.leaves()) == [FAILURES, LONG, Ranking("best", 1, HIGH)]
    assert rule.ranks
    assert not ComparisonRule("new_best", among=FAILURES).ranks
    assert not (~FAILURES & LONG).ranks


@pytest.mark.parametrize("ranked", [BEST, BEST & FAILURES, FAILURES | (LONG & Ranking("spread", 2))])
def test_a_rule_with_not_over_a_ranking_admits_late(ranked):
    assert not ranked.admits_late
    assert not (~FAILURES & ranked).admits_late
    for rule in (~ranked, FAILURES | ~ranked, unpack(pack(~ranked))):
        assert rule.admits_late


@pytest.mark.parametrize(
    "make", [lambda rule: Ranking("worst", 2, rule), lambda rule: ComparisonRule("new_best", 0, 0, rule)]
)
def test_among_takes_no_ranking(make):
    with pytest.raises(ConfigError, match="without rankings"):
        make(FAILURES | BEST)
    with pytest.raises(ConfigError, match=r"call it, as in `failures\(\)`"):
        make(lambda: FAILURES)


@pytest.mark.parametrize(
    "combine",
    [
        lambda: FAILURES | (lambda: LONG),
        lambda: (lambda: LONG) | FAILURES,
        lambda: FAILURES & "worst(3)",
        lambda: "worst(3)" & FAILURES,
        lambda: Or((FAILURES, None)),
        lambda: Or((FAILURES,)),
        lambda: And(()),
        lambda: Not(3),
    ],
)
def test_rules_are_combined_with_rules(combine):
    with pytest.raises(ConfigError):
        combine()


def test_words_would_quietly_drop_one_of_two():
    with pytest.raises(ConfigError, match="not by words"):
        assert FAILURES or LONG
    with pytest.raises(ConfigError):
        bool(FAILURES)


@pytest.mark.parametrize("k", [0, -1, 1001, 2.0, "3", True, None, 10**4000])
def test_k_is_bounded(k):
    with pytest.raises(ConfigError, match=r"pass `best\(3\)`"):
        Ranking("best", k)


@pytest.mark.parametrize(
    "bounds", [(50, 50), (60, 50), (-1, 50), (0, 100.5), (float("nan"), 50), (0, float("nan")), ("0", 50), (False, 50)]
)
def test_percentiles_are_bounded(bounds):
    with pytest.raises(ConfigError, match=r"percentile\(90, 100\)"):
        ComparisonRule("percentile", *bounds)


def test_kinds_are_those_there_are():
    with pytest.raises(ConfigError, match="best, worst, spread, surprising"):
        Ranking("median", 3)
    with pytest.raises(ConfigError, match="new_best, percentile"):
        ComparisonRule("best")


@pytest.mark.parametrize("text", ["", "when(\n)", "when(\ud800)", "é" * 101, None, b"failures()"])
def test_a_test_has_a_text_that_can_be_shown(text):
    with pytest.raises(ConfigError, match="printable"):
        rules.Test(text, bool)


def test_a_rule_is_no_larger_than_its_judge_can_take():
    many = [rules.Test(f"above({number})", bool) for number in range(61)]
    assert len(rules.tests_of(Or(tuple(many[:60])))) == 60
    with pytest.raises(ConfigError, match=r"has 61, 61 and 2: put .*when\(FUNCTION\)"):
        Or(tuple(many))
    assert len(list(Or((FAILURES,) * 64).leaves())) == 64
    with pytest.raises(ConfigError, match="has 65, 1 and 2"):
        Or((FAILURES,) * 64) | FAILURES
    deep: Rule = FAILURES
    for _ in range(9):
        deep = ~(deep & FAILURES)
    assert unpack(pack(deep)) is not None
    with pytest.raises(ConfigError, match="and 21"):
        ~(deep & FAILURES)
    with pytest.raises(ConfigError, match="and 21"):
        Ranking("best", 1, ComparisonRule("new_best", 0, 0, deep))


# --- tests ------------------------------------------------------------------------------------------------


def test_tests_come_once_each_with_those_within_among():
    rule = HIGH | Ranking("best", 2, LONG & ComparisonRule("new_best", among=FAILURES)) | FAILURES | HIGH
    assert rules.tests_of(rule) == [HIGH, LONG, FAILURES]
    assert rules.tests_of(BEST) == []
    assert rules.tests_of(FAILURES) == [FAILURES]


def test_two_tests_of_one_text_are_one_but_for_functions_of_ones_own():
    assert rules.Test("above(3)", len) == rules.Test("above(3)", bool)
    assert rules.Test("when(f)", len) != rules.Test("when(f)", bool)
    assert rules.Test("when(f)", len) == rules.Test("when(f)", len)
    assert len(rules.tests_of(rules.Test("when(f)", len) | rules.Test("when(f)", bool))) == 2
    assert rules.Test("above(3)") != "above(3)"


def test_a_test_asks_and_one_that_travelled_cannot():
    episode = Episode(episode=0, return_=3.0, length=2, terminated=True, truncated=False)
    assert rules.Test("when(f)", lambda episode: episode.return_ > 2).asks(episode)
    came = unpack(pack(HIGH | FAILURES))
    assert [(test.text, test.bit) for test in rules.tests_of(came)] == [("above(1.5)", 0), ("failures()", 1)]
    with pytest.raises(ConfigError, match="came as text"):
        rules.tests_of(came)[0].asks(episode)


# --- as they travel ---------------------------------------------------------------------------------------


def test_what_a_rule_looks_like_on_its_way():
    rule = (
        FAILURES
        | Ranking("worst", 3, ~LONG)
        | ComparisonRule("percentile", 0, 10) & ComparisonRule("new_best", 0, 0, LONG)
    )
    assert json.loads(pack(rule)) == [
        "or",
        ["test", 0, "failures()"],
        ["worst", 3, ["not", ["test", 1, "longer_than(10)"]]],
        ["and", ["percentile", 0.0, 10.0], ["new_best", ["test", 1, "longer_than(10)"]]],
    ]
    assert " " not in pack(rule)


@given(any_rule)
def test_a_rule_comes_as_it_was_sent(rule):
    text = pack(rule)
    came = unpack(text)
    assert pack(came) == text
    assert str(came) == str(rule)
    assert came.ranks == rule.ranks
    assert [test.text for test in rules.tests_of(came)] == [test.text for test in rules.tests_of(rule)]
    assert [test.bit for test in rules.tests_of(came)] == list(range(len(rules.tests_of(rule))))
    assert unpack(text) == came


def test_a_rule_that_is_too_long_to_be_sent_is_refused_where_it_is_made():
    long = [rules.Test(f"when({letter * 190})", bool) for letter in "abcdefghijklmnopqrstuvwxyz"]
    assert len(pack(Or(tuple(long[:19])))) <= 4096
    with pytest.raises(ConfigError, match="shorter names"):
        pack(Or(tuple(long)))


json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from([*rules.RANKINGS, "not", "test"]),
    lambda parts: st.lists(st.sampled_from([*rules.RANKINGS, "or", "percentile", "test"]) | parts, max_size=4),
    max_leaves=12,
).map(json.dumps)


@given(st.text() | json_like)
@example("[" * 4096)
@example("[" * 100_000)
@example('["not",' * 500)
@example('["best",1,' * 400 + '["test",0,"a"]' + "]" * 400)
@example('["test",0,"\\ud800"]')
@example('["test",0,"a\ud800"]')
@example('["test",0,"\\u0000"]')
@example('["percentile",NaN,Infinity]')
@example('["percentile",0,1e999]')
@example(f'["best",{"9" * 4000}]')
@example('"' + "[" * 4000)
@example('["or"]')
def test_whatever_a_peer_sends_is_a_rule_or_malformed(text):
    try:
        rule = unpack(text)
    except MalformedMessage:
        return
    assert unpack(pack(rule)) == rule


REFUSED = [
    "",
    "null",
    "[]",
    '{"best":1}',
    '["best"]',
    '["best",0]',
    '["best",1001]',
    '["best",true]',
    '["best",3.0]',
    '["best","3"]',
    '["best",3,null]',
    '["best",3,["best",3]]',
    '["best",3,["test",0,"a"],["test",1,"b"]]',
    '["not"]',
    '["not",["test",0,"a"],["test",1,"b"]]',
    '["and",["best",3]]',
    '["percentile",90]',
    '["percentile",90,80]',
    '["percentile",0,"100"]',
    '["new_best",0,0]',
    '["test",0]',
    '["test",0,""]',
    '["test",0,1]',
    '["test",1,"a"]',
    '["test",-1,"a"]',
    '["test",0.0,"a"]',
    '["or",["test",1,"a"],["test",0,"b"]]',
    '["or",["test",0,"a"],["test",0,"b"]]',
    '["or",["test",0,"a"],["test",2,"b"]]',
    '["test",0,"' + "a" * 201 + '"]',
    '["or",' + ",".join(['["best",1]'] * 65) + "]",
    '["or",' + ",".join(f'["test",{bit},"{bit}"]' for bit in range(61)) + "]",
    '["Or",["best",1],["best",2]]',
    '[["best"],1]',
]


@pytest.mark.parametrize("text", [*REFUSED, None, 3, b'["best",3]', ["best", 3]])
def test_what_is_no_rule_is_refused(text):
    with pytest.raises(MalformedMessage):
        unpack(text)


def test_text_is_bounded_in_bytes():
    padding = " " * (4096 - len('["best",3]'))
    assert unpack('["best",3]' + padding) == BEST
    with pytest.raises(MalformedMessage, match="4096 bytes"):
        unpack('["best",3]' + padding + " ")
    wide = json.dumps(["or", *(["test", bit, chr(0x4E00 + bit) * 60] for bit in range(23))], ensure_ascii=False)
    assert len(wide) < 4096 < len(wide.encode())
    with pytest.raises(MalformedMessage, match="4096 bytes"):
        unpack(wide)
