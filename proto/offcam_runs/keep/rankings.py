"""The orders in which a run's episodes stand, one object for each ranking and comparison of a rule.

Each is told of one episode after the other, and remembers no more of them than it must: a ranking the foremost, at most
k, and a percentile all returns. Their states are JSON-ready; an infinite return, which JSON does not have, is text in
them.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from offcam_runs.keep.rules import ComparisonRule, Ranking

SURPRISE_WINDOW: Final = 100
"""Weight of the moving averages that `surprising` compares with: each new episode counts as one in so many."""

SURPRISE_LEAST: Final = 10
"""Episodes that a moving average must have seen before an episode can be surprising by it."""

SURPRISE_FLOOR: Final = 1e-9
"""Least standard deviation, as a share of 1 + the average's size: anything smaller is the rounding of a sum."""

SURPRISE_MOST: Final = 1e150
"""Numbers larger than this are not averaged: their squares do not fit into a float."""

MOST_IN_BUCKET: Final = 4096
"""Most numbers in a bucket of `Ordered`: moving half of them takes a microsecond, and buckets stay few."""


# --- rankings ---------------------------------------------------------------------------------------------


class Order(Protocol):
    """A ranking's order, and who is foremost by it."""

    def offer(self, number: int, return_: float, length: int) -> Sequence[int]:
        """Tell it of the next episode, by its number, return and length in steps.

        Returns:
            Numbers of the episodes that are not among the foremost any more, or its own if it never was. They never
            return.
        """

    def numbers(self) -> Iterable[int]:
        """Numbers of the foremost."""

    def state(self) -> object:
        """What a new one goes on from when it is given this."""


class Highest:
    """The k with the highest score, an earlier one where two are equal."""

    def __init__(self, k: int, state: Iterable[tuple[float | str, int]] = ()) -> None:
        self._k = k
        self._entries = [(float(score), -number) for score, number in state]  # the least first; of equals, the later

    def add(self, number: int, score: float) -> Sequence[int]:
        """Tell it of a score; returns what `Order.offer` does."""
        entry = (score, -number)
        if len(self._entries) < self._k:
            insort(self._entries, entry)
            return ()
        if entry < self._entries[0]:
            return (number,)
        insort(self._entries, entry)
        return (-self._entries.pop(0)[1],)

    def numbers(self) -> Iterable[int]:
        """Numbers of the foremost."""
        return [-negative for _, negative in self._entries]

    def state(self) -> object:
        """Scores and numbers."""
        return [(_json_number(score), -negative) for score, negative in self._entries]


def _json_number(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)


class ByReturn(Highest):
    """The k with the highest returns, or with ``sign`` -1 those with the lowest; NaN is none."""

    def __init__(self, sign: int, k: int, state: Iterable[tuple[float | str, int]] = ()) -> None:
        super().__init__(k, state)
        self._sign = sign

    def offer(self, number: int, return_: float, length: int) -> Sequence[int]:  # noqa: ARG002 - as others need it
        """See `Order`."""
        return (number,) if math.isnan(return_) else self.add(number, self._sign * return_)


class Spread:
    """Each n-th episode, beginning with the first, where n is the least power of 2 that leaves at most k of them.

    So they are evenly spread over the run so far, whose end is not known; from the k-th episode on, at least half of k.
    """

    def __init__(self, k: int, state: tuple[int, Iterable[int]] = (0, ())) -> None:
        self._k = k
        self._seen, numbers = state
        self._numbers = list(numbers)
        self._stride = 1
        while len(range(0, self._seen, self._stride)) > k:
            self._stride *= 2

    def offer(self, number: int, return_: float, length: int) -> Sequence[int]:  # noqa: ARG002 - as others need it
        """See `Order`."""
        place, self._seen = self._seen, self._seen + 1
        if place % self._stride:
            return (number,)
        self._numbers.append(number)
        if len(self._numbers) <= self._k:
            return ()
        self._stride *= 2
        fallen = self._numbers[1::2]
        del self._numbers[1::2]
        return fallen

    def numbers(self) -> Iterable[int]:
        """Numbers of the foremost."""
        return self._numbers

    def state(self) -> object:
        """How many it was told of, and the numbers of the foremost."""
        return self._seen, list(self._numbers)


class MovingAverage:
    """Mean and variance of numbers, of which the later ones count for more.

    Plain ones over the first `SURPRISE_WINDOW` numbers; from there on each new number has a weight of 1 in so many, and
    the weight of all before shrinks by as much. Both are updated as in West, "Updating mean and variance estimates: an
    improved method", CACM 22, 1979.
    """

    def __init__(self, mean: float = 0.0, variance: float = 0.0, count: int = 0) -> None:
        self.mean = mean
        self.variance = variance
        self.count = count

    def distance(self, value: float) -> float:
        """How many standard deviations a number is away; 0 before there are `SURPRISE_LEAST` of them."""
        if self.count < SURPRISE_LEAST:
            return 0.0
        return abs(value - self.mean) / max(math.sqrt(self.variance), SURPRISE_FLOOR * (1 + abs(self.mean)))

    def add(self, value: float) -> None:
        """Take in one more number."""
        self.count += 1
        weight, off = 1 / min(self.count, SURPRISE_WINDOW), value - self.mean
        self.mean += weight * off
        self.variance = (1 - weight) * (self.variance + weight * off * off)

    def state(self) -> tuple[float, float, int]:
        """Mean, variance and count."""
        return self.mean, self.variance, self.count


class Surprising(Highest):
    """The k whose return or length, whichever is farther, was farthest from the `MovingAverage` of those before.

    The distance is in standard deviations, of which one is at least `SURPRISE_FLOOR` for each unit of 1 + the average's
    size. What is not finite, or larger than `SURPRISE_MOST`, is neither judged nor averaged; and of the rest the first
    `SURPRISE_LEAST` are not judged. At a distance of 0 nothing is surprising.
    """

    def __init__(self, k: int, state: Mapping[str, Any] = MappingProxyType({})) -> None:
        super().__init__(k, state.get("highest", ()))
        self._averages = [MovingAverage(*each) for each in state.get("averages", ((), ()))]

    def offer(self, number: int, return_: float, length: int) -> Sequence[int]:
        """See `Order`."""
        farthest = 0.0
        for average, value in zip(self._averages, (return_, float(length)), strict=True):
            if abs(value) <= SURPRISE_MOST:
                farthest = max(farthest, average.distance(value))
                average.add(value)
        return self.add(number, farthest) if farthest else (number,)

    def state(self) -> object:
        """Scores and numbers, and the averages of returns and of lengths."""
        return {"highest": super().state(), "averages": [average.state() for average in self._averages]}


_ORDERS: Final[Mapping[str, Callable[..., Order]]] = {
    "best": partial(ByReturn, 1),
    "worst": partial(ByReturn, -1),
    "spread": Spread,
    "surprising": Surprising,
}


def order_of(ranking: Ranking, state: object = None) -> Order:
    """The order of a ranking: of no episode yet, or going on from what ``state`` of such an order returned."""
    return _ORDERS[ranking.kind](ranking.k, *(() if state is None else (state,)))


# --- comparisons ------------------------------------------------------------------------------------------


class Comparer(Protocol):
    """What a return is compared with."""

    def compare(self, return_: float) -> bool:
        """Whether the comparison holds for the next return, which from now on is one of the earlier ones."""

    def remember(self, returns: Iterable[float]) -> None:
        """Take in all earlier returns, for a comparison that cannot go on from its state."""

    def state(self) -> object:
        """What a new one goes on from when it is given this."""


class NewBest:
    """Whether a return is higher than all before it: the first is, and NaN never."""

    def __init__(self, state: float | str | None = None) -> None:
        self._best = None if state is None else float(state)

    def compare(self, return_: float) -> bool:
        """See `Comparer`."""
        if math.isnan(return_) or (self._best is not None and return_ <= self._best):
            return False
        self._best = return_
        return True

    def remember(self, returns: Iterable[float]) -> None:
        """Nothing to do: the state has the best of them."""

    def state(self) -> object:
        """The best return."""
        return None if self._best is None else _json_number(self._best)


class Percentile:
    """Whether a return's mid-rank among those before it, in percent, is from low to high, both included.

    The mid-rank is 100 (L + E / 2) / N, where of N earlier returns L are lower and E equal. It does not hold for the
    first return, which has none before it; the second is at 0, 50 or 100. NaN is neither compared nor remembered.
    """

    def __init__(self, low: float, high: float) -> None:
        self._low = low
        self._high = high
        self._before = Ordered()

    def compare(self, return_: float) -> bool:
        """See `Comparer`."""
        if math.isnan(return_):
            return False
        lower, not_higher, count = self._before.add(return_)
        return count > 0 and self._low <= 50 * (lower + not_higher) / count <= self._high

    def remember(self, returns: Iterable[float]) -> None:
        """Take in the earlier returns."""
        self._before = Ordered(returns)

    def state(self) -> object:
        """Nothing: a percentile goes on from all earlier returns."""
        return None


def comparer_of(comparison: ComparisonRule, state: Any = None) -> Comparer:  # noqa: ANN401 - what its `state` gave
    """What compares returns by a rule: without any return yet, or going on from what ``state`` of such a one gave."""
    if comparison.kind == "percentile":
        return Percentile(comparison.low, comparison.high)
    return NewBest(state)


class Ordered:
    """Numbers in ascending order, without NaN, in buckets of at most ``most`` numbers: 8 bytes each.

    To count the lower ones is to add up the sizes of buckets; a million numbers have some 500.
    """

    def __init__(self, numbers: Iterable[float] = (), most: int = MOST_IN_BUCKET) -> None:
        self._most = most
        ordered = array("d", sorted(number for number in numbers if number == number))  # noqa: PLR0124 - but for NaN
        self._count = len(ordered)
        self._buckets = [ordered[place : place + most // 2] for place in range(0, len(ordered), most // 2)]
        self._sizes = [len(bucket) for bucket in self._buckets]
        self._highest = [bucket[-1] for bucket in self._buckets]

    def add(self, number: float) -> tuple[int, int, int]:
        """Add a number; returns how many were lower, how many not higher, and how many there were."""
        first, last = bisect_left(self._highest, number), bisect_right(self._highest, number)
        before = sum(self._sizes[:first])
        lower = before + self._within(first, number, bisect_left)
        not_higher = before + sum(self._sizes[first:last]) + self._within(last, number, bisect_right)
        self._count += 1
        if self._buckets:
            self._insert(min(first, len(self._buckets) - 1), number)
        else:
            self._buckets, self._sizes, self._highest = [array("d", (number,))], [1], [number]
        return lower, not_higher, self._count - 1

    def _within(self, place: int, number: float, bisect: Callable[[Sequence[float], float], int]) -> int:
        return bisect(self._buckets[place], number) if place < len(self._buckets) else 0

    def _insert(self, place: int, number: float) -> None:
        bucket = self._buckets[place]
        insort(bucket, number)
        if len(bucket) <= self._most:
            self._sizes[place] += 1
            self._highest[place] = bucket[-1]
            return
        parts = [bucket[: self._most // 2], bucket[self._most // 2 :]]
        self._buckets[place : place + 1] = parts
        self._sizes[place : place + 1] = [len(part) for part in parts]
        self._highest[place : place + 1] = [part[-1] for part in parts]
