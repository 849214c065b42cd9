"""Judges a run's episodes by one rule, in the order in which they end: which are kept, and which make room for others.

No database and no clock: a judge's state is small and JSON-ready, and `Judge(rule, state, held)` goes on from it. An
episode costs a few comparisons and, for each ranking or percentile, a few bisections, however many came before.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from offcam_runs.keep.rankings import Comparer, Order, Percentile, comparer_of, order_of
from offcam_runs.keep.rules import And, ComparisonRule, Not, Or, Ranking, Rule, every_leaf, tests_of


class Facts(NamedTuple):  # a tuple, as there may be a million of them in a history
    """An episode to be judged.

    Attributes:
        return_: sum of its rewards.
        length: its steps.
        tests: what the rule's tests say of it, a bit for each in the order of `tests_of`.
    """

    return_: float
    length: int
    tests: int = 0


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of an episode, and of earlier ones.

    Attributes:
        number: the episode's, counted from 0 over those that were judged.
        reasons: the parts of the rule that keep it; none where it is not kept.
        evicted: numbers of episodes that were kept so far and are not any more. They come back through ``admitted``
            alone.
        changed: of episodes that stay kept, but for other reasons than before, the reasons by number.
        admitted: of episodes that were not kept so far and are now, the reasons by number; only with a rule that
            `admits_late`.
        fell: numbers of all episodes that fell out of a ranking: `Judge.fixed` of these has changed.
    """

    number: int
    reasons: tuple[str, ...]
    evicted: tuple[int, ...] = ()
    changed: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    admitted: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    fell: tuple[int, ...] = ()

    @property
    def kept(self) -> bool:
        """Whether it is kept, at least for now."""
        return bool(self.reasons)


class Judge:
    """Judges the episodes of a run by one rule.

    Args:
        rule: the rule.
        state: what `state` returned after the last episode, for the same rule; None or empty for a new run.
        held: by the numbers of earlier episodes, what `fixed` returned for them; where it returned None they can be
            left out. An episode that is missing was let go by others, and is not named again.
        history: for a rule that `needs_history`, all episodes that were judged, in order.

    Attributes:
        rule: the rule.
        count: how many were judged, which is the next one's number.
    """

    def __init__(
        self,
        rule: Rule,
        state: Mapping[str, Any] | None = None,
        held: Mapping[int, int] | None = None,
        history: Iterable[Facts] = (),
    ) -> None:
        self.rule = rule
        self.count: int = state.get("count", 0) if state else 0
        tests, leaves = tests_of(rule), list(dict.fromkeys(every_leaf(rule)))
        comparisons = [leaf for leaf in leaves if isinstance(leaf, ComparisonRule)]
        rankings = [leaf for leaf in leaves if isinstance(leaf, Ranking)]
        # A bit for each leaf. The bits that never change once an episode is judged come first: in a rule with a ranking
        # these are less than 64, and fit into an integer of SQLite's.
        masks: dict[Rule, int] = {leaf: 1 << bit for bit, leaf in enumerate((*tests, *comparisons, *rankings))}
        self._tests_mask = (1 << len(tests)) - 1
        self._fixed_mask = (1 << len(tests) + len(comparisons)) - 1
        self._sense = _Sense(rule, masks)
        self._late = rule.admits_late
        states: list[Any] = state["leaves"] if state else [None] * (len(comparisons) + len(rankings))
        self._comparisons = [
            _Compared(leaf, masks[leaf], _sense_of_among(leaf, masks), comparer_of(leaf, known))
            for leaf, known in zip(comparisons, states[: len(comparisons)], strict=True)
        ]
        self._rankings = [
            _Ranked(masks[leaf], _sense_of_among(leaf, masks), order_of(leaf, known))
            for leaf, known in zip(rankings, states[len(comparisons) :], strict=True)
        ]
        # The bits, by number, of episodes that are foremost in a ranking and whose verdict may change: those that are
        # kept, and with a rule that admits late also those that are not.
        self._held = self._known(held or {})
        if self.needs_history:
            self._look_back(history)

    @property
    def needs_history(self) -> bool:
        """Whether a judge goes on from all episodes before, beside its state, as a percentile must."""
        return any(isinstance(each.comparer, Percentile) for each in self._comparisons)

    def judge(self, facts: Facts) -> Verdict:
        """What becomes of the next episode, and of those before it."""
        number, self.count = self.count, self.count + 1
        bits = self._fixed_bits(facts)
        fell: dict[int, int] = {}  # by number of an episode, the bits of the rankings that it fell out of
        for mask, among, order in self._rankings:
            if among is not None and not among.holds(bits):
                continue
            bits |= mask
            for other in order.offer(number, facts.return_, facts.length):
                if other == number:
                    bits &= ~mask
                else:
                    fell[other] = fell.get(other, 0) | mask
        kept = self._sense.holds(bits)
        if bits > self._fixed_mask and (kept or self._late):
            self._held[number] = bits
        verdict = Verdict(number, self._sense.reasons(bits) if kept else ())
        return self._let_fall(fell, verdict) if fell else verdict

    def state(self) -> dict[str, Any]:
        """What has to be known of the episodes before, except which are kept and the history. JSON-ready.

        It is as long as the rankings' ``k``.
        """
        leaves = [each.comparer.state() for each in self._comparisons] + [each.order.state() for each in self._rankings]
        return {"count": self.count, "leaves": leaves}

    def fixed(self, number: int) -> int | None:
        """What to remember of an episode for another `Judge` of the same rule: an integer less than 2^63.

        None where its verdict cannot change any more.
        """
        bits = self._held.get(number)
        return None if bits is None else bits & self._fixed_mask

    def ranked(self, number: int) -> bool:
        """Whether an episode that is kept is among the foremost of a ranking."""
        return number in self._held

    def forget(self, number: int) -> None:
        """An episode was let go by others, for good: never name it again."""
        self._held.pop(number, None)

    def _known(self, held: Mapping[int, int]) -> dict[int, int]:
        known: dict[int, int] = {}
        for mask, _, order in self._rankings:
            for number in order.numbers():
                if number in held:
                    known[number] = known.get(number, held[number]) | mask
        return known

    def _fixed_bits(self, facts: Facts) -> int:
        """The bits of an episode's tests and comparisons."""
        bits = facts.tests & self._tests_mask
        for _, mask, among, comparer in self._comparisons:  # what the `among` of one asks for comes before it
            if (among is None or among.holds(bits)) and comparer.compare(facts.return_):
                bits |= mask
        return bits

    def _let_fall(self, fell: Mapping[int, int], verdict: Verdict) -> Verdict:
        """The verdict with what becomes of episodes that fell out of rankings; ``fell`` has these rankings' bits."""
        evicted, changed, admitted = [], {}, {}
        for number in sorted(fell):
            before = self._held.pop(number, None)
            if before is None:
                continue  # it was among the foremost and not kept: other parts of the rule did not hold
            bits = before & ~fell[number]
            kept, was = self._sense.holds(bits), self._sense.holds(before)
            if bits > self._fixed_mask and (kept or self._late):
                self._held[number] = bits
            reasons = self._sense.reasons(bits)
            if was and not kept:
                evicted.append(number)
            elif kept and not was:
                admitted[number] = reasons
            elif kept and reasons != self._sense.reasons(before):
                changed[number] = reasons
        return replace(verdict, evicted=tuple(evicted), changed=changed, admitted=admitted, fell=tuple(sorted(fell)))

    def _look_back(self, history: Iterable[Facts]) -> None:
        """Have the percentiles know the returns of earlier episodes."""
        if any(_compares_within(each.leaf) for each in self._comparisons if isinstance(each.comparer, Percentile)):
            # Who is in the `among` of these depends on who came before: judge all of history once more.
            self._comparisons = [each._replace(comparer=comparer_of(each.leaf)) for each in self._comparisons]
            for facts in history:
                self._fixed_bits(facts)
            return
        found = [(each, array("d")) for each in self._comparisons if isinstance(each.comparer, Percentile)]
        for return_, _, tests in history:
            for each, returns in found:
                if each.among is None or each.among.holds(tests):
                    returns.append(return_)
        for each, returns in found:
            each.comparer.remember(returns)


class _Sense:
    """A rule over integers with a bit for each of its leaves: says whether it holds, and by which of its parts."""

    def __init__(self, rule: Rule, masks: Mapping[Rule, int]) -> None:
        self._text = str(rule)
        self._kind = type(rule)
        self._mask = masks.get(rule, 0)
        combined = isinstance(rule, (Or, And, Not))
        self._parts = tuple(_Sense(part, masks) for part in rule.parts()) if combined else ()

    def holds(self, bits: int) -> bool:
        """Whether it holds for an episode of these bits."""
        if self._kind is Or:
            return any(part.holds(bits) for part in self._parts)
        if self._kind is And:
            return all(part.holds(bits) for part in self._parts)
        if self._kind is Not:
            return not self._parts[0].holds(bits)
        return bits & self._mask != 0

    def reasons(self, bits: int) -> tuple[str, ...]:
        """The leaves by which the rule holds, left to right and each once; where it holds by `~` alone, its parts."""
        leaves = tuple(dict.fromkeys(self._grounds(bits, negated=False)))
        return leaves or tuple(dict.fromkeys(self._grounds(bits, negated=True)))

    def _grounds(self, bits: int, *, negated: bool) -> Iterator[str]:
        """Texts of the leaves, or of the negated parts, that hold; none from an ``&`` that does not hold as a whole."""
        if not self.holds(bits):
            return
        if self._kind in (Or, And):
            for part in self._parts:
                yield from part._grounds(bits, negated=negated)  # noqa: SLF001 - of the same class
        elif negated == (self._kind is Not):
            yield self._text


class _Compared(NamedTuple):
    leaf: ComparisonRule
    mask: int
    among: _Sense | None
    comparer: Comparer


class _Ranked(NamedTuple):
    mask: int
    among: _Sense | None
    order: Order


def _sense_of_among(leaf: Ranking | ComparisonRule, masks: Mapping[Rule, int]) -> _Sense | None:
    return None if leaf.among is None else _Sense(leaf.among, masks)


def _compares_within(leaf: ComparisonRule) -> bool:
    return any(isinstance(within, ComparisonRule) and within != leaf for within in every_leaf(leaf))
