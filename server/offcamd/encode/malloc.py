"""Returns freed memory to the system. Of what finished clips' encoders free, glibc keeps more and more in pieces."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable

INTERVAL_SECONDS = 1.0
"""Least time between two trims. Each takes a millisecond or two, in which other threads may wait."""


class MallocTrimmer:
    """Has malloc return free memory to the system. Thread-safe: two trims at once do no harm."""

    def __init__(self) -> None:
        self._next = 0.0
        # only glibc has it; other C libraries trim by themselves, or cannot
        self._malloc_trim: Callable[[int], int] | None = getattr(ctypes.CDLL(None), "malloc_trim", None)

    def trim(self) -> None:
        """Return free memory, unless that was done a moment ago."""
        now = time.monotonic()
        if self._malloc_trim is not None and now >= self._next:
            self._next = now + INTERVAL_SECONDS
            self._malloc_trim(0)
