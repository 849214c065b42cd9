"""Points of a curve as the page gets them: few enough to be drawn, and numbers that JSON can hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from offcam_runs.analysis.statistics import Floats

MOST_RECORDED = 500
"""Most marks of recorded episodes on a curve; more could not be told apart."""


def buckets(number: NDArray[np.int64], x: Floats, y: Floats, average: Floats, points: int) -> dict[str, Any]:
    """Group consecutive episodes into at most ``points`` buckets of equal size."""
    n = x.size
    size = max(1, -(-n // points))
    starts = np.arange(0, n, size)
    ends = np.minimum(starts + size, n) - 1
    there = np.isfinite(y)
    if n:
        with np.errstate(all="ignore"):  # 0/0 in a bucket without a finite value, overflow: `numbers` makes both None
            mean = np.add.reduceat(np.where(there, y, 0.0), starts) / np.add.reduceat(there.astype(float), starts)
        low, high = np.fmin.reduceat(y, starts), np.fmax.reduceat(y, starts)
    else:
        mean = low = high = y
    return {
        "total": n,
        "decimated": size > 1,
        "first": number[starts].tolist(),
        "count": (ends - starts + 1).tolist(),
        "xs": numbers(x[starts] + (x[ends] - x[starts]) / 2),
        "mean": numbers(mean),
        "min": numbers(low),
        "max": numbers(high),
        "average": numbers(average[ends]),
    }


def thinned(places: NDArray[np.intp]) -> NDArray[np.intp]:
    """Some of the places of recorded episodes, evenly chosen if there are many."""
    if places.size <= MOST_RECORDED:
        return places
    return places[np.linspace(0, places.size - 1, MOST_RECORDED).astype(np.intp)]


def numbers(values: Floats) -> list[float | None]:
    """Values for JSON: None for those that are not finite."""
    listed: list[float | None] = np.where(np.isfinite(values), values, None).tolist()  # type: ignore[call-overload]  # an array of objects
    return listed
