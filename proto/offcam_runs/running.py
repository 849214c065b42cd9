"""Statistics of episodes that are seen one by one and not kept: of a stream, or of a run, which is all its streams.

The result depends on the episodes and their order alone, to the last digit: not on who added them, nor when. Pure and
not thread-safe: each object belongs to whoever adds to it. Separate from `offcam_runs.analysis`, which needs numpy and
takes 14 ms to import: a daemon that starts needs neither.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from offcam_runs.format import json_number

RECENT = 100
"""Episodes behind ``last100_mean``."""


@dataclass(slots=True)
class RunningStats:
    """Count, mean, variance and range of numbers that are seen once and not kept.

    Numerically stable: Welford, "Note on a method for calculating corrected sums of squares and products",
    Technometrics 4 (1962); merging by Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm
    for computing sample variances", Stanford STAN-CS-79-773 (1979).
    """

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0
    """Sum of squared distances from the mean."""
    low: float = math.inf
    high: float = -math.inf

    def add(self, value: float) -> None:
        """Take in one finite number."""
        self.count += 1
        distance = value - self.mean
        self.mean += distance / self.count
        self.squares += distance * (value - self.mean)
        if value < self.low:  # noqa: PLR1730 - in half the time
            self.low = value
        if value > self.high:  # noqa: PLR1730 - as above
            self.high = value

    def merge(self, other: RunningStats) -> None:
        """Take in all numbers that another one has seen; ``other`` is left as it is."""
        if not other.count:
            return
        count = self.count + other.count
        distance = other.mean - self.mean
        self.mean += distance * other.count / count
        self.squares += other.squares + distance * distance * self.count * other.count / count
        self.count = count
        self.low, self.high = min(self.low, other.low), max(self.high, other.high)

    @property
    def std(self) -> float:
        """Population standard deviation, as `numpy.std` has it; NaN of nothing."""
        return math.sqrt(self.squares / self.count) if self.count else math.nan

    def as_dict(self) -> dict[str, float | None]:
        """``mean, std, min, max``: finite numbers, or None where there is none."""
        if not self.count:
            return dict.fromkeys(("mean", "std", "min", "max"))
        values = {"mean": self.mean, "std": self.std, "min": self.low, "max": self.high}
        return {name: json_number(value) for name, value in values.items()}


def recent_episodes() -> deque[tuple[float, int]]:
    """Room for the return and length of the last `RECENT` episodes."""
    return deque(maxlen=RECENT)


@dataclass(slots=True)
class EpisodeTotals:
    """Statistics of a series of episodes.

    Attributes:
        steps: steps of all episodes together.
        non_finite: episodes whose return is NaN or infinite: left out of ``returns``, counted in all else.
        returns: of the episodes with a finite return.
        lengths: in steps.
        durations: in seconds, of the episodes with a finite duration.
        timed_steps: steps of the episodes with a finite duration.
        recent: return and length of the last `RECENT` episodes, the latest last.
    """

    steps: int = 0
    non_finite: int = 0
    returns: RunningStats = field(default_factory=RunningStats)
    lengths: RunningStats = field(default_factory=RunningStats)
    durations: RunningStats = field(default_factory=RunningStats)
    timed_steps: int = 0
    recent: deque[tuple[float, int]] = field(default_factory=recent_episodes)

    @property
    def episodes(self) -> int:
        """Number of episodes."""
        return self.lengths.count

    def add(self, return_: float, length: int, duration: float) -> None:
        """Take in one episode, the latest: its return, its length in steps, its duration in seconds."""
        self.steps += length
        self.lengths.add(length)
        self.recent.append((return_, length))
        if math.isfinite(return_):
            self.returns.add(return_)
        else:
            self.non_finite += 1
        if math.isfinite(duration):
            self.durations.add(duration)
            self.timed_steps += length

    def merge(self, other: EpisodeTotals) -> None:
        """Take in all episodes of another series, as later ones; ``other`` is left as it is."""
        self.steps += other.steps
        self.non_finite += other.non_finite
        self.returns.merge(other.returns)
        self.lengths.merge(other.lengths)
        self.durations.merge(other.durations)
        self.timed_steps += other.timed_steps
        self.recent.extend(other.recent)

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready statistics; None where there is nothing to compute a number from.

        Lengths are in steps, durations in seconds. ``steps_per_second`` is steps by the time that episodes
        took: the rate of one environment, not of all that ran side by side. The mean return of the last
        `RECENT` episodes leaves out those that are not finite; the last return is None where it is not finite.
        """
        finite = [value for value, _ in self.recent if math.isfinite(value)]
        total = self.durations.mean * self.durations.count
        return {
            "episodes": self.episodes,
            "steps": self.steps,
            "non_finite": self.non_finite,
            "return": {**self.returns.as_dict(), "last100_mean": _mean(finite), "last": _last(self.recent, 0)},
            "length": {
                **self.lengths.as_dict(),
                "last100_mean": _mean([length for _, length in self.recent]),
                "last": _last(self.recent, 1),
            },
            "duration": {
                "total": json_number(total),
                "mean": json_number(self.durations.mean) if self.durations.count else None,
            },
            "steps_per_second": json_number(self.timed_steps / total) if total > 0 else None,
        }


def _last(recent: Sequence[tuple[float, int]], which: int) -> float | None:
    return json_number(recent[-1][which]) if recent else None


def _mean(values: Sequence[float]) -> float | None:
    if not values:
        return None
    try:
        return json_number(math.fsum(values) / len(values))
    except OverflowError:  # finite numbers whose sum is not
        return None
