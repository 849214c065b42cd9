"""Mean, median, interquartile mean and their bootstrap intervals."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations_with_replacement
from statistics import NormalDist
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from offcam_runs.json_text import finite

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]
Statistic = Literal["iqm", "mean", "median"]
Resamples = tuple[Counts, Floats]
"""Of some resamples of n rows: how often each row is in each, (some, n), and how probable each resample is, (some,)."""

RESAMPLES = 5000
"""How many bootstrap resamples are drawn where there are too many to count all."""

_MOST_EXACT = 1716  # so many different resamples are all counted: as many as 7 values have
_MOST_DRAWN = 2000  # of more values nothing is drawn: of 100,000 that took 5 s, and found the normal distribution
_CHUNK = 1_000_000  # numbers that are held in memory at once


class Interval(NamedTuple):
    """A confidence interval, both ends included; NaN where there is none."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Summary:
    """What there is to say about some numbers.

    Attributes:
        count: how many numbers are finite; all statistics are of these.
        non_finite: how many are NaN or infinite.
        mean: arithmetic mean. This and all that follow are NaN if no number is finite.
        std: population standard deviation, as `numpy.std` has it.
        median: the middle, or the mean of the two middle ones.
        iqm: see `interquartile_mean`.
        low: the least.
        high: the largest.
        mean_interval: bootstrap interval of the mean, see `bootstrap_interval`.
        iqm_interval: that of the interquartile mean.
        confidence: of both intervals.
    """

    count: int
    non_finite: int
    mean: float
    std: float
    median: float
    iqm: float
    low: float
    high: float
    mean_interval: Interval
    iqm_interval: Interval
    confidence: float

    def as_dict(self) -> dict[str, Any]:
        """All of it, ready for JSON: None for what is NaN."""
        names = {"low": "min", "high": "max"}
        return {names.get(name, name): value for name, value in finite(asdict(self)).items()}


def summary(values: ArrayLike, *, confidence: float = 0.95, seed: int = 0, intervals: bool = True) -> Summary:
    """Summarise numbers: the returns of a run's episodes, or one score of each of several runs.

    Args:
        values: (n,), any real dtype.
        confidence: of the intervals, between 0 and 1.
        seed: of the resampling; the same gives the same interval.
        intervals: whether to compute them, which takes most of the time; otherwise they are NaN.
    """
    given = np.asarray(values, np.float64).ravel()
    finite = given[np.isfinite(given)]
    none = math.nan

    def interval(statistic: Statistic) -> Interval:
        if not intervals:
            return Interval(none, none)
        return Interval(*map(float, bootstrap_interval(finite, statistic, confidence=confidence, seed=seed)))

    with np.errstate(all="ignore"):
        return Summary(
            count=finite.size,
            non_finite=given.size - finite.size,
            mean=float(center(finite, "mean")),
            std=float(finite.std()) if finite.size else none,
            median=float(center(finite, "median")),
            iqm=float(center(finite, "iqm")),
            low=float(finite.min()) if finite.size else none,
            high=float(finite.max()) if finite.size else none,
            mean_interval=interval("mean"),
            iqm_interval=interval("iqm"),
            confidence=confidence,
        )


def interquartile_mean(values: ArrayLike) -> float:
    """Mean of the middle half: ``scipy.stats.trim_mean(values, 0.25)``, as rliable's ``aggregate_iqm``.

    Of n values the ``int(n / 4)`` least and as many largest are left out. It is less swayed by single lucky runs
    than the mean, and less wasteful of data than the median (Agarwal et al., 2021).

    Args:
        values: (n,); those that are not finite are left out. NaN of nothing.
    """
    given = np.asarray(values, np.float64).ravel()
    return float(center(given[np.isfinite(given)], "iqm"))


def center(values: ArrayLike, statistic: Statistic = "iqm") -> Floats:
    """A statistic along the first axis.

    All three are trimmed means: they differ in how many of the least and largest values are left out.

    Args:
        values: (n, ...), finite; NaN makes its column NaN.
        statistic: interquartile mean, mean or median.

    Returns:
        (...), NaN where n is 0.
    """
    ordered = np.sort(np.asarray(values, np.float64), axis=0)
    n = ordered.shape[0]
    if n == 0:
        return np.full(ordered.shape[1:], math.nan)
    cut = _cut(statistic, n)
    with np.errstate(all="ignore"):  # the mean is infinite where the sum is
        found: Floats = ordered[cut : n - cut].mean(axis=0)
    return np.where(np.isnan(ordered[-1]), math.nan, found)  # NaN is sorted to the end


def bootstrap_interval(
    values: ArrayLike,
    statistic: Statistic = "iqm",
    *,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
    strata: ArrayLike | None = None,
) -> tuple[Floats, Floats]:
    """Percentile bootstrap interval of a statistic along the first axis.

    The method of rliable, ``get_interval_estimates(..., method="percentile")``: rows are resampled with replacement,
    the same rows for all columns, so that a run is resampled as a whole, and those of each task among themselves
    (stratified: Agarwal et al., 2021, section 4.1). Where all possible resamples are at most 1,716, as of up to 7 rows,
    they are counted, each with its probability, so the result is exact. Else of up to 2,000 rows, or of strata, some
    are drawn. Of more the interval is that which the bootstrap tends to: the normal one with the standard error from
    the winsorised variance (Tukey and McLaughlin, Sankhya A 25, 1963), for the median that of the binomial ranks.

    Args:
        values: (n, ...), a row for each run (or episode), finite; NaN makes its column NaN.
        statistic: interquartile mean, mean or median.
        confidence: between 0 and 1.
        resamples: how many to draw where some are drawn.
        seed: of the drawing; the same gives the same interval.
        strata: (n,) the task of each row, as a number or a name; by default they are all of one.

    Returns:
        The lower and upper ends, (...) each. NaN where n is less than 2, or each row the only one of its task: of one
        value there is no interval.
    """
    given = np.asarray(values, np.float64)
    n, shape = given.shape[0], given.shape[1:]
    groups = members(np.zeros(n, np.int64) if strata is None else strata)
    if max((group.size for group in groups), default=0) < 2 or 0 in shape:
        return np.full(shape, math.nan), np.full(shape, math.nan)
    columns, cut, tail = given.reshape(n, -1), _cut(statistic, n), (1 - confidence) / 2
    if n > _MOST_DRAWN and len(groups) == 1:
        low, high = _limit(np.sort(columns, axis=0), cut, -NormalDist().inv_cdf(tail))
    else:
        estimates, weights = _bootstrap(columns, cut, resample(groups, resamples, seed))
        low, high = quantile(estimates, weights, tail), quantile(estimates, weights, 1 - tail)
    gap = np.isnan(columns).any(axis=0)
    low[gap] = high[gap] = math.nan
    return low.reshape(shape), high.reshape(shape)


def _cut(statistic: Statistic, n: int) -> int:
    """How many of n ordered values a statistic leaves out at either end."""
    return {"mean": 0, "iqm": n // 4, "median": (n - 1) // 2}[statistic]


def _limit(ordered: Floats, cut: int, z: float) -> tuple[Floats, Floats]:
    """What the percentile interval of a trimmed mean of many ordered rows tends to, ``z`` standard errors to a side."""
    n = ordered.shape[0]
    if cut == _cut("median", n):
        reach = z * math.sqrt(n) / 2
        return ordered[math.floor(n / 2 - reach)], ordered[min(n - 1, math.ceil(n / 2 + reach))]
    with np.errstate(all="ignore"):
        middle = ordered[cut : n - cut].mean(axis=0)
        error = np.clip(ordered, ordered[cut], ordered[n - cut - 1]).std(axis=0) / ((1 - 2 * cut / n) * math.sqrt(n))
        return middle - z * error, middle + z * error


def _bootstrap(columns: Floats, cut: int, drawn: Iterator[Resamples]) -> tuple[Floats, Floats]:
    """The trimmed means of resamples, (resamples, columns), and the resamples' probabilities.

    With rows in order of their values, what is left of a resample after trimming is how its running count grows between
    ``cut`` and ``n - cut``: there is nothing to sort anew.
    """
    n = columns.shape[0]
    order = np.argsort(columns, axis=0)
    estimates: list[Floats] = []
    weights: list[Floats] = []
    with np.errstate(all="ignore"):
        for counts, weight in drawn:
            part = np.empty((counts.shape[0], columns.shape[1]))
            for column, rows in enumerate(order.T):
                part[:, column] = _trimmed(counts[:, rows], cut) @ columns[rows, column] / (n - 2 * cut)
            estimates.append(part)
            weights.append(weight)
    return np.concatenate(estimates), np.concatenate(weights)


def _trimmed(counts: Counts, cut: int) -> Floats:
    """How often each of n ordered rows is left in resamples of n, (resamples, n), after ``cut`` at either end."""
    if not cut:
        return counts.astype(np.float64)
    n = counts.shape[1]
    running = np.clip(np.cumsum(counts, axis=1, dtype=np.float64), cut, n - cut)
    kept: Floats = np.diff(running, axis=1, prepend=cut)
    return kept


# --- resamples --------------------------------------------------------------------------------------------


def members(strata: ArrayLike) -> list[NDArray[np.intp]]:
    """Which of n rows are of each stratum, given that of each row, (n,)."""
    given = np.asarray(strata)
    return [np.flatnonzero(given == each) for each in np.unique(given)]


def resample(groups: Sequence[NDArray[np.intp]], resamples: int, seed: int) -> Iterator[Resamples]:
    """Resamples with replacement within each of some groups of rows, in pieces: all that differ, or some drawn.

    Args:
        groups: the rows of each stratum; together they are 0 to n - 1. Each has at least one.
        resamples: how many to draw where there are more than 1,716.
        seed: of the drawing.

    Yields:
        How often a resample has each row, (some, n), and the probability of each resample, (some,).
    """
    if math.prod(math.comb(2 * group.size - 1, group.size) for group in groups) <= _MOST_EXACT:
        yield _exact(groups)
        return
    random, n = np.random.default_rng(seed), sum(group.size for group in groups)
    most = max(1, _CHUNK // n)
    for begin in range(0, resamples, most):
        size = min(most, resamples - begin)
        counts = np.empty((size, n), np.int64)
        for group in groups:
            rows = random.integers(group.size, size=(size, group.size)) + np.arange(size)[:, None] * group.size
            counts[:, group] = np.bincount(rows.ravel(), minlength=size * group.size).reshape(size, group.size)
        yield counts, np.full(size, 1 / resamples)


def _exact(groups: Sequence[NDArray[np.intp]]) -> Resamples:
    """Every resample that differs, with its probability."""
    counts = np.zeros((1, sum(group.size for group in groups)), np.int64)
    weights = np.ones(1)
    for group in groups:
        own, probable = _exact_of(group.size)
        counts = np.repeat(counts, len(own), axis=0)
        counts[:, group] = np.tile(own, (len(weights), 1))
        weights = np.outer(weights, probable).ravel()
    return counts, weights


def _exact_of(n: int) -> Resamples:
    """Every resample of n rows that differs, with its probability."""
    counters = [Counter(rows) for rows in combinations_with_replacement(range(n), n)]
    counts = np.array([[counter[row] for row in range(n)] for counter in counters], np.int64)
    ways = [math.factorial(n) // math.prod(map(math.factorial, row)) for row in counts.tolist()]
    return counts, np.array(ways) / n**n


def quantile(estimates: Floats, weights: Floats, share: float) -> Floats:
    """In each column the least estimate that is not exceeded with a probability of at least ``share``.

    Args:
        estimates: (resamples, columns).
        weights: (resamples,) their probabilities.
        share: from 0 to 1.

    Returns:
        (columns,)
    """
    order = np.argsort(estimates, axis=0)
    reached = np.cumsum(weights[order], axis=0) >= share - 1e-12  # probabilities are rounded
    found: Floats = np.take_along_axis(estimates, order, axis=0)[reached.argmax(axis=0), np.arange(estimates.shape[1])]
    return found
