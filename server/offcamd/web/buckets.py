"""Points of a curve as the page gets them: few enough to be drawn."""

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
        with np.errstate(all="ignore"):  # 0/0 in a bucket without a finite value, overflow: in JSON both are null
            mean = np.add.reduceat(np.where(there, y, 0.0), starts) / np.add.reduceat(there.astype(float), starts)
        low, high = np.fmin.reduceat(y, starts), np.fmax.reduceat(y, starts)
    else:
        mean = low = high = y
    return {
        "total": n,
        "decimated": size > 1,
        "first": number[starts].tolist(),
        "count": (ends - starts + 1).tolist(),
        "xs": (x[starts] + (x[ends] - x[starts]) / 2).tolist(),
        "mean": mean.tolist(),
        "min": low.tolist(),
        "max": high.tolist(),
        "average": average[ends].tolist(),
    }


def thinned(places: NDArray[np.intp]) -> NDArray[np.intp]:
    """Some of the places of recorded episodes, evenly chosen if there are many."""
    if places.size <= MOST_RECORDED:
        return places
    return places[np.linspace(0, places.size - 1, MOST_RECORDED).astype(np.intp)]
