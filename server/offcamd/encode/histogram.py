"""Histograms of durations, as Prometheus has them."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

ENCODE_BOUNDS = (0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1.0)
"""Buckets for the seconds that one frame takes to convert and encode."""

WAIT_BOUNDS = (0.001, 0.005, 0.02, 0.1, 0.5, 1.0, 2.0, 5.0, 15.0, 60.0, 300.0)
"""Buckets for the seconds that a frame waits for its encoder, in memory and on disk."""


class Histogram:
    """How many observations were up to each bound. Thread-safe.

    Args:
        bounds: upper bounds of the buckets, ascending; a last one, infinity, is implied.
    """

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self._counts = [0] * (len(self.bounds) + 1)
        self._sum = 0.0
        self._lock = threading.Lock()

    def observe(self, value: float) -> None:
        """Count one finite value."""
        place = bisect_left(self.bounds, value)
        with self._lock:
            self._counts[place] += 1
            self._sum += value

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready: ``count``, ``sum``, and ``buckets`` as pairs of a bound and how many values were up to it."""
        with self._lock:
            counts, total = list(self._counts), self._sum
        up_to = list(accumulate(counts))
        buckets = [list(pair) for pair in zip(self.bounds, up_to[:-1], strict=True)]
        return {"count": up_to[-1], "sum": total, "buckets": buckets}
