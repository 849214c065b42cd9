"""Who is kept by a rule, held against a model that sorts all episodes anew each time."""

from __future__ import annotations

import itertools
import json
import math
import random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from offcam_runs.keep import rules
from offcam_runs.keep.judge import Facts, Judge, Verdict
from offcam_runs.keep.rankings import MovingAverage, Ordered
from offcam_runs.keep.rules import And, ComparisonRule, Not, Or, Ranking, pack, unpack

FAILS, LONG, ODD = (rules.Test(text, bool) for text in ("failures()", "longer_than(10)", "when(odd)"))
INF, NAN = math.inf, math.nan


# --- the model --------------------------------------------------------------------------------------------


class Model:
    """Knows all episodes, and works out from these alone who is kept now, and why."""

    def __init__(self, rule):
        self.rule = rule
        self.bits = {test: bit for bit, test in enumerate(rules.tests_of(rule))}
        self.episodes: list[Facts] = []
        self.compared: dict[tuple[rules.Rule, int], bool] = {}  # what comparisons said, which does not change

    def add(self, facts):
        self.episodes.append(facts)

    def kept(self) -> dict[int, tuple[str, ...]]:
        foremost = {leaf: self.foremost(leaf) for leaf in self.rule.leaves() if isinstance(leaf, Ranking)}
        everyone = range(len(self.episodes))
        return {n: self.why(n, foremost) for n in everyone if self.holds(self.rule, n, foremost)}

    def why(self, number, foremost):
        leaves = self.grounds(self.rule, number, foremost, of_not=False)
        return tuple(dict.fromkeys(leaves or self.grounds(self.rule, number, foremost, of_not=True)))

    def grounds(self, rule, number, foremost, *, of_not):
        if not self.holds(rule, number, foremost):
            return []
        if isinstance(rule, (Or, And)):
            return [each for part in rule.rules for each in self.grounds(part, number, foremost, of_not=of_not)]
        return [str(rule)] if isinstance(rule, Not) == of_not else []

    def holds(self, rule, number, foremost=None) -> bool:
        if isinstance(rule, Or):
            return any(self.holds(part, number, foremost) for part in rule.rules)
        if isinstance(rule, And):
            return all(self.holds(part, number, foremost) for part in rule.rules)
        if isinstance(rule, Not):
            return not self.holds(rule.of, number, foremost)
        if isinstance(rule, Ranking):
            return number in foremost[rule]
        if isinstance(rule, ComparisonRule):
            if (rule, number) not in self.compared:
                self.compared[rule, number] = self.compare(rule, number)
            return self.compared[rule, number]
        return self.episodes[number].tests >> self.bits[rule] & 1 == 1

    def seen(self, rule, count):
        return [n for n in range(count) if rule.among is None or self.holds(rule.among, n)]

    def compare(self, rule, number):
        return_ = self.episodes[number].return_
        before = [self.episodes[n].return_ for n in self.seen(rule, number)]
        before = [each for each in before if not math.isnan(each)]
        if math.isnan(return_) or number not in self.seen(rule, number + 1):
            return False
        if rule.kind == "new_best":
            return all(return_ > each for each in before)
        rank = sum(1.0 if each < return_ else 0.5 if each == return_ else 0.0 for each in before)
        return bool(before) and rule.low <= 100 * rank / len(before) <= rule.high

    def foremost(self, rule):
        seen = self.seen(rule, len(self.episodes))
        if rule.kind == "spread":
            stride = 1
            while len(seen[::stride]) > rule.k:
                stride *= 2
            return set(seen[::stride])
        if rule.kind == "surprising":
            scores = surprises([self.episodes[n] for n in seen])
            ranked = [(-score, n) for score, n in zip(scores, seen, strict=True) if score > 0]
        else:
            sign = -1 if rule.kind == "best" else 1
            ranked = [(sign * self.episodes[n].return_, n) for n in seen if not math.isnan(self.episodes[n].return_)]
        return {n for _, n in sorted(ranked)[: rule.k]}


def surprises(episodes: list[Facts]) -> list[float]:
    """The greater of an episode's two distances, 0 where it is not judged."""
    found = [0.0] * len(episodes)
    for values in ([facts.return_ for facts in episodes], [float(facts.length) for facts in episodes]):
        mean = variance = 0.0
        count = 0
        for place, value in enumerate(values):
            if not math.isfinite(value):
                continue
            off, count = value - mean, count + 1
            if count > 10:
                found[place] = max(found[place], abs(off) / max(math.sqrt(variance), 1e-9 * (1 + abs(mean))))
            weight = 1 / min(count, 100)
            mean += weight * off
            variance = (1 - weight) * (variance + weight * off * off)
    return found


# --- rules and runs ---------------------------------------------------------------------------------------

tests = st.sampled_from([FAILS, LONG, ODD])
returns = st.sampled_from([-INF, -2.0, -1.0, 0.0, 0.5, 1.0, 2.0, 3.0, INF, NAN]) | st.floats(-5, 5)
facts = st.builds(Facts, returns, st.integers(1, 30), st.integers(0, 7))


def joined(parts):
    pairs = st.lists(parts, min_size=2, max_size=3).map(tuple)
    return pairs.map(Or) | pairs.map(And)


def comparisons(among):
    bounds = st.sampled_from([(0, 50), (50, 100), (90, 100), (0, 10), (25, 75), (0, 100)])
    return st.builds(lambda among: ComparisonRule("new_best", among=among), among) | st.builds(
        lambda both, among: ComparisonRule("percentile", *both, among), bounds, among
    )


unranked = st.recursive(
    tests | comparisons(st.none()),
    lambda parts: joined(parts) | parts.map(Not) | comparisons(st.none() | parts),
    max_leaves=4,
)
rankings = st.builds(Ranking, st.sampled_from(rules.RANKINGS), st.integers(1, 5), st.none() | unranked)
any_rule = st.recursive(rankings | unranked, lambda parts: joined(parts) | parts.map(Not), max_leaves=5)
runs = st.lists(st.tuples(facts, st.booleans()), max_size=50)


def again(judge, rule, kept, history):
    """Another judge, of what would be left on the disk of one that is no more."""
    state = json.loads(json.dumps(judge.state(), allow_nan=False))
    fixed = {number: judge.fixed(number) for number in (range(judge.count) if rule.admits_late else kept)}
    assert all(bits is None or 0 <= bits < 2**63 for bits in fixed.values())
    came = unpack(pack(rule))
    return Judge(came, state, {n: bits for n, bits in fixed.items() if bits is not None}, history)


def run_through(rule, run):
    """Judge a run, beginning anew from what is left wherever it says so, and hold each verdict against the model."""
    judge, model, before = Judge(rule), Model(rule), {}
    for number, (each, restarts) in enumerate(run):
        verdict = judge.judge(each)
        model.add(each)
        now = model.kept()
        assert verdict.number == number
        assert verdict.reasons == now.get(number, ())
        assert verdict.kept == (number in now)
        assert verdict.admitted == {n: now[n] for n in now if n not in before and n != number}
        assert rule.admits_late or not verdict.admitted, "nobody comes back"
        assert list(verdict.evicted) == sorted(set(before) - set(now))
        assert verdict.changed == {n: now[n] for n in before if n in now and now[n] != before[n]}
        before = now
        if restarts:
            judge = again(judge, rule, now, model.episodes)
    assert judge.count == len(run)
    return judge, before


@given(any_rule, runs)
@example(Ranking("spread", 1), [(Facts(0.0, 1), True)] * 9)
@example(Ranking("spread", 3), [(Facts(0.0, 1), True)] * 33)
@example(
    ComparisonRule("percentile", 50, 100, ComparisonRule("new_best", among=FAILS)),
    [(Facts(n, 1, n), True) for n in range(9)],
)
def test_who_is_kept_is_who_a_model_keeps_that_sorts_everything(rule, run):
    run_through(rule, run)


@settings(max_examples=12)  # each is long, for the averages' window and the spread's strides
@given(st.integers(0, 10**6), st.integers(1, 6), st.sampled_from(rules.RANKINGS))
def test_long_runs_too(seed, k, kind):
    drawn = random.Random(seed)
    run = [
        (Facts(drawn.gauss(0, 1), drawn.randrange(1, 9), drawn.getrandbits(3)), drawn.random() < 0.02)
        for _ in range(150)
    ]
    run_through(FAILS & LONG | Ranking(kind, k, ~ODD) & ~FAILS, run)


@pytest.mark.parametrize(
    "among",
    [
        FAILS,
        ~LONG & ~FAILS,
        ~ComparisonRule("new_best", among=FAILS),
        ~ComparisonRule("percentile", 20, 70, ODD),
        LONG | ComparisonRule("percentile", 0, 50, ComparisonRule("new_best", among=FAILS)),
    ],
    ids=str,
)
def test_percentiles_among_some_go_on_from_the_history_of_these(among):
    drawn = random.Random(5)
    run = [
        (Facts(drawn.gauss(0, 1) + place / 20, 1, drawn.getrandbits(3)), drawn.random() < 0.2) for place in range(120)
    ]
    _, kept = run_through(ComparisonRule("percentile", 40, 80, among), run)
    assert kept


# --- what each promises -----------------------------------------------------------------------------------


def kept_of(rule, returns, tests=(), lengths=()):
    judge, kept = Judge(rule), set()
    for number, return_ in enumerate(returns):
        facts = Facts(return_, lengths[number] if lengths else 10, tests[number] if tests else 0)
        verdict = judge.judge(facts)
        kept = (kept | ({number} if verdict.kept else set())) - set(verdict.evicted)
    return sorted(kept)


def test_the_best_and_the_worst():
    scores = [3.0, 1.0, NAN, 3.0, 7.0, -INF, 7.0, 2.0]
    assert kept_of(Ranking("best", 3), scores) == [0, 4, 6]
    assert kept_of(Ranking("worst", 2), scores) == [1, 5]
    assert kept_of(Ranking("best", 1), [1.0, 1.0, 1.0]) == [0]
    assert kept_of(Ranking("best", 1) & FAILS, [1.0, 2.0], [1, 0]) == [], "the best of all has not failed"
    assert kept_of(Ranking("best", 1, FAILS), [1.0, 2.0], [1, 0]) == [0]


def test_who_is_not_among_the_foremost_is_known_once_others_are():
    judge = Judge(~Ranking("worst", 2))
    assert [judge.judge(Facts(return_, 10)).kept for return_ in (3.0, 2.0)] == [False, False]
    pushed = judge.judge(Facts(1.0, 10))
    assert (pushed.kept, pushed.admitted, pushed.evicted) == (False, {0: ("~worst(2)",)}, ())
    assert judge.judge(Facts(5.0, 10)) == Verdict(3, ("~worst(2)",))
    judge.forget(1)
    assert judge.judge(Facts(0.0, 10)).admitted == {}, "it was let go for good"


def test_each_new_best_stays():
    assert kept_of(ComparisonRule("new_best"), [-1.0, -1.0, -2.0, NAN, 0.0, 5.0, 4.0, INF, INF]) == [0, 4, 5, 7]


def test_percentiles_are_mid_ranks_of_those_before():
    top = ComparisonRule("percentile", 90, 100)
    assert kept_of(top, [5.0, 6.0, 5.0, 7.0]) == [1, 3]
    assert kept_of(ComparisonRule("percentile", 50, 60), [1.0, 1.0, 1.0]) == [1, 2], "equals are in the middle"
    assert kept_of(ComparisonRule("percentile", 0, 100), [NAN, 1.0, NAN, 2.0]) == [3], "the first has none before it"
    scores = [float(n) for n in range(100)] + [89.5, 88.0]
    assert 100 in kept_of(top, scores)
    assert 101 not in kept_of(top, scores)


def test_the_spread_is_even_and_never_less_than_half():
    judge, kept = Judge(Ranking("spread", 10)), []
    for number in range(3000):
        verdict = judge.judge(Facts(0.0, 1))
        kept = [n for n in [*kept, *([number] if verdict.kept else [])] if n not in verdict.evicted]
        assert kept[0] == 0
        assert min(number + 1, 5) <= len(kept) <= 10
        assert len({later - earlier for earlier, later in itertools.pairwise(kept)}) <= 1


def test_a_surprise_is_far_from_what_came_before():
    steady = [10.0 + n % 2 for n in range(60)]
    assert kept_of(Ranking("surprising", 2), [*steady, 30.0, *steady, -90.0, *steady]) == [60, 121]
    assert kept_of(Ranking("surprising", 3), [0.0, 50.0, 0.0, 90.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]) == []
    assert kept_of(Ranking("surprising", 1), [0.0] * 40 + [1.0] + [0.0] * 9) == [40], "the first that is not alike"
    rounded = [1 / 3] * 40 + [1 / 3 + 1e-16]
    assert kept_of(Ranking("surprising", 1), [*rounded, NAN, INF, 1e200, 0.34]) == [44], "and not by its rounding"
    lengths = [20, 21] * 20 + [500, 20]
    assert kept_of(Ranking("surprising", 1), [1.0] * 42, lengths=lengths) == [40]


def test_a_moving_average_weighs_the_last_hundred_most():
    values = [random.Random(7).gauss(5, 2) for _ in range(30)] + [float(n % 13) for n in range(400)]
    average, weights = MovingAverage(), []
    for count, value in enumerate(values, 1):
        average.add(value)
        weight = 1 / min(count, 100)
        weights = [(1 - weight) * each for each in weights] + [weight]
        mean = sum(each * value for each, value in zip(weights, values, strict=False))
        variance = sum(each * (value - mean) ** 2 for each, value in zip(weights, values, strict=False))
        assert average.mean == pytest.approx(mean)
        assert average.variance == pytest.approx(variance, abs=1e-9)
    assert sum(weights[-100:]) == pytest.approx(1 - (1 - 1 / 100) ** 100)


def test_a_rule_that_keeps_by_not_says_so():
    judge = Judge(~FAILS & ~(LONG & ODD) | Ranking("best", 1))
    assert judge.judge(Facts(0.0, 1, 0b001)).reasons == ("best(1)",)
    assert judge.judge(Facts(-1.0, 1, 0b010)).reasons == ("~failures()", "~(longer_than(10) & when(odd))")
    assert judge.judge(Facts(1.0, 1, 0b000)).reasons == ("best(1)",)
    assert judge.judge(Facts(-1.0, 1, 0b110)).reasons == ()


def test_a_part_that_does_not_hold_as_a_whole_is_no_reason():
    judge = Judge(FAILS & Ranking("best", 1) | LONG)
    assert judge.judge(Facts(0.0, 20, 0b11)).reasons == ("failures()", "best(1)", "longer_than(10)")
    assert judge.judge(Facts(-1.0, 20, 0b11)).reasons == ("longer_than(10)",)
    better = judge.judge(Facts(1.0, 5, 0b01))
    assert better.changed == {0: ("longer_than(10)",)}


# --- after a restart --------------------------------------------------------------------------------------


def test_one_that_others_let_go_is_not_named_again():
    judge = Judge(Ranking("best", 2))
    for return_ in (1.0, 2.0):
        judge.judge(Facts(return_, 1))
    assert judge.ranked(0)
    judge = Judge(judge.rule, judge.state(), {1: judge.fixed(1)})
    assert not judge.ranked(0)
    assert judge.judge(Facts(3.0, 1)).evicted == ()
    assert judge.judge(Facts(4.0, 1)).evicted == (1,)


def test_who_is_kept_for_good_need_not_be_remembered():
    judge = Judge(FAILS | Ranking("best", 1))
    judge.judge(Facts(2.0, 1, 1))
    judge.judge(Facts(1.0, 1, 1))
    assert (judge.fixed(0), judge.fixed(1)) == (1, None)
    assert judge.judge(Facts(3.0, 1, 0)).changed == {0: ("failures()",)}
    assert judge.fixed(0) is None


def test_history_is_asked_for_by_percentiles_alone():
    assert Judge(FAILS | Ranking("best", 1, ComparisonRule("percentile", 0, 10))).needs_history
    assert not Judge(FAILS | ComparisonRule("new_best")).needs_history


def test_a_state_is_no_larger_for_a_longer_run():
    rule = FAILS | Ranking("best", 3) | Ranking("worst", 3) | Ranking("spread", 3) | Ranking("surprising", 3)
    judge, drawn = Judge(rule), random.Random(3)
    for _ in range(3000):
        judge.judge(Facts(drawn.gauss(0, 1), drawn.randrange(100), drawn.getrandbits(1)))
    assert sum(judge.fixed(number) is not None for number in range(3000)) <= 12
    assert sum(map(len, map(str, judge.state()["leaves"]))) < 1000


def test_the_bits_of_the_largest_rule_fit_into_an_integer_of_sql():
    many = tuple(rules.Test(f"above({number})", bool) for number in range(60))
    rest = tuple(ComparisonRule("percentile", 0, high) for high in (10, 20, 30))
    judge = Judge(Or((*many, *rest, Ranking("worst", 1))))
    judge.judge(Facts(1.0, 1, 2**60 - 1))
    judge.judge(Facts(0.0, 1, 2**60 - 1))
    assert judge.fixed(1) == 2**63 - 1
    assert judge.fixed(0) is None


# --- numbers in order -------------------------------------------------------------------------------------

some_numbers = st.lists(st.sampled_from([-INF, -1.0, 0.0, 2.0, INF]) | st.floats(-3, 3), max_size=60)


@given(some_numbers, some_numbers, st.integers(2, 9))
def test_numbers_in_order_are_counted_right(before, added, most):
    ordered, numbers = Ordered([*before, NAN], most), list(before)
    for number in added:
        lower, not_higher = sum(each < number for each in numbers), sum(each <= number for each in numbers)
        assert ordered.add(number) == (lower, not_higher, len(numbers))
        numbers.append(number)


@pytest.mark.parametrize("scores", [range(20_000), range(20_000, 0, -1), [5] * 20_000])
def test_no_bucket_is_large(scores):
    ordered = Ordered(most=64)
    for score in scores:
        ordered.add(float(score))
    assert max(map(len, ordered._buckets)) <= 64
    assert len(ordered._buckets) <= 20_000 / 32 + 1
    assert [each for bucket in ordered._buckets for each in bucket] == sorted(map(float, scores))
