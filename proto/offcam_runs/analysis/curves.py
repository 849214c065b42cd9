"""Learning curves: smoothing one, and putting those of several runs on a common axis with a band around them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from offcam_runs.analysis.statistics import Floats, Statistic, bootstrap_interval, center

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

Axis = Literal["episode", "step", "time"]

GUIDE_WINDOW = 100
"""Episodes of the moving average in Gymnasium's guide "Recording Agents"."""


@dataclass(frozen=True, slots=True)
class Curve:
    """One run's episodes, in ascending order of x.

    Attributes:
        x: (n,) where each episode stands: its number from 0, or where it ended, in steps or in seconds since the run
            began.
        y: (n,) a number of each episode, such as its return. NaN where it has none.
    """

    x: Floats
    y: Floats


@dataclass(frozen=True, slots=True)
class Smooth:
    """A curve with its moving average, at all of its episodes or at some.

    Attributes:
        x: (n,) as in `Curve`.
        y: (n,) as in `Curve`.
        average: (n,) the mean of the episodes up to each, see `moving_average`.
    """

    x: Floats
    y: Floats
    average: Floats


@dataclass(frozen=True, slots=True)
class Aligned:
    """Several curves on a common axis.

    Attributes:
        x: (points,) ascending, from where the last of the curves begins to where the first of them ends.
        values: (runs, points), a row for each curve that has any value, in the order given.
        runs: (runs,) the index of each row's curve among those given.
    """

    x: Floats
    values: Floats
    runs: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Band:
    """A statistic over runs, and its confidence interval, at each point of an axis.

    Attributes:
        center: (points,) the statistic.
        low: (points,) lower end of its bootstrap interval, NaN where there is one run alone.
        high: (points,) upper end.
    """

    center: Floats
    low: Floats
    high: Floats


def curve(y: ArrayLike, lengths: ArrayLike, ended: ArrayLike, axis: Axis = "episode", *, began: float = 0.0) -> Curve:
    """The learning curve of a run from its episodes in order of arrival.

    Args:
        y: (n,) a number of each episode, such as its return. Infinite ones become NaN.
        lengths: (n,) steps of each.
        ended: (n,) when each ended, in seconds since the epoch.
        axis: by ``"episode"``, the number of each in order of arrival, from 0; by ``"step"``, the steps of all of them
            so far, over all streams of the run; by ``"time"``, seconds since ``began``. An episode without a time, or
            that ended before one that arrived earlier, stands where the one before it does, the first at 0.
        began: when the run began, in seconds since the epoch.
    """
    values = np.array(y, np.float64)
    values[~np.isfinite(values)] = math.nan
    if axis == "episode":
        return Curve(np.arange(values.size, dtype=np.float64), values)
    if axis == "step":
        return Curve(np.cumsum(np.asarray(lengths, np.float64)), values)
    seconds = np.asarray(ended, np.float64) - began
    return Curve(np.maximum.accumulate(np.where(np.isfinite(seconds), seconds, 0.0)), values)


def default_window(episodes: int) -> int:
    """A window for a curve of so many episodes: 100 as in the guide, a tenth of them where they are under 1,000."""
    return max(1, min(GUIDE_WINDOW, episodes // 10))


def moving_average(values: ArrayLike, window: int) -> Floats:
    """Mean of the last ``window`` values, at each value.

    At index i it is the mean of ``values[i - window + 1 : i + 1]``, of those that are finite. It is NaN where none is,
    and before index ``window - 1``, so nothing is averaged over less than the window. As
    ``pandas.Series.rolling(window, min_periods=1).mean()`` from there on.

    Each window is summed from a suffix of one block and a prefix of the next (van Herk, "A fast algorithm for local
    minimum and maximum filters", Pattern Recognition Letters 13, 1992): nothing is subtracted, so one huge value
    spoils no window but those that hold it.

    Args:
        values: (n,) in order.
        window: at least 1.

    Returns:
        (n,)

    Raises:
        ValueError: the window is less than 1.
    """
    if window < 1:
        raise ValueError(f"a moving average needs a window of at least 1 value, got {window}")
    given = np.asarray(values, np.float64)
    averages = np.full(given.size, math.nan)
    if given.size >= window:
        finite = np.isfinite(given)
        there = np.cumsum(finite, dtype=np.int32)
        there[window:] -= there[:-window].copy()
        with np.errstate(all="ignore"):
            averages[window - 1 :] = _sums(np.where(finite, given, 0.0), window) / there[window - 1 :]
    return averages


def smooth(curve: Curve, window: int) -> Smooth:
    """A curve with its moving average over ``window`` episodes."""
    return Smooth(curve.x, curve.y, moving_average(curve.y, window))


def align(curves: Sequence[Smooth], *, points: int = 500) -> Aligned:
    """Put runs' moving averages on a common axis.

    At each point of the axis a curve has the average at the last episode that had ended by then: nothing is
    interpolated. The axis spans what all curves have, so that the number of runs is the same everywhere; a curve
    without a single value takes no part, and is not in ``runs``.

    Args:
        curves: of the runs, with the same axis.
        points: most points of the axis. They are the ends of all runs' episodes, or of each n-th where there are more.

    Returns:
        The curves; with no points where they have no part of the axis in common.
    """
    begun = [(number, _begun(item.x, item.average)) for number, item in enumerate(curves)]
    taken = [(number, item) for number, item in begun if item.x.size]
    if not taken:
        return Aligned(np.empty(0), np.empty((0, 0)), ())
    begin, end = max(item.x[0] for _, item in taken), min(item.x[-1] for _, item in taken)
    x = np.unique(np.concatenate([item.x[(item.x >= begin) & (item.x <= end)] for _, item in taken]))
    if x.size > points:
        x = x[np.linspace(0, x.size - 1, points).round().astype(np.intp)]
    values = [item.y[np.searchsorted(item.x, x, side="right") - 1] for _, item in taken]
    return Aligned(x, np.stack(values), tuple(number for number, _ in taken))


def _begun(x: Floats, y: Floats) -> Curve:
    """A curve from its first value on; empty where there is none."""
    finite = np.isfinite(y)
    begin = int(finite.argmax()) if finite.any() else y.size
    return Curve(x[begin:], y[begin:])


def band(
    values: Floats,
    statistic: Statistic = "iqm",
    *,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
    strata: ArrayLike | None = None,
) -> Band:
    """A statistic over runs with its bootstrap interval, see `bootstrap_interval`.

    Args:
        values: (runs, points), as in `Aligned`.
        statistic: interquartile mean, mean or median over the runs.
        confidence: of the interval, between 0 and 1.
        resamples: how many to draw where not all are counted.
        seed: of the drawing; the same gives the same band.
        strata: (runs,) the task of each run; by default they are all of one.
    """
    low, high = bootstrap_interval(
        values, statistic, confidence=confidence, resamples=resamples, seed=seed, strata=strata
    )
    return Band(center(values, statistic), low, high)


def _sums(values: Floats, window: int) -> Floats:
    """The sums of all windows of n values, (n - window + 1,)."""
    n = values.size
    blocks = np.pad(values, (0, -n % window)).reshape(-1, window)
    prefix = np.cumsum(blocks, axis=1).ravel()
    suffix = np.cumsum(blocks.ravel()[::-1].reshape(-1, window), axis=1).ravel()[::-1]
    suffix[::window] = 0.0  # such a window is a whole block, which the prefix has
    return prefix[window - 1 : n] + suffix[: n - window + 1]
