"""Giving memory back: a finished clip's encoder frees megabytes, of which glibc keeps more and more in pieces."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable

INTERVAL_SECONDS = 1.0
"""Memory is given back at most so often: each time takes a millisecond or two, in which other threads may wait."""


class MallocTrimmer:
    """Has malloc give back to the system what is free. From any thread; two at once do no harm."""

    def __init__(self) -> None:
        self._next = 0.0
        # glibc's alone; other C libraries do it by themselves, or cannot
        self._malloc_trim: Callable[[int], int] | None = getattr(ctypes.CDLL(None), "malloc_trim", None)

    def trim(self) -> None:
        """Give back what is free, unless that was done a moment ago."""
        now = time.monotonic()
        if self._malloc_trim is not None and now >= self._next:
            self._next = now + INTERVAL_SECONDS
            self._malloc_trim(0)
