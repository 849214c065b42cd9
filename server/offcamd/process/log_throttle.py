"""Keeps the log readable when something happens all the time: the first time is logged, then now and then a count."""

from __future__ import annotations

import time
from typing import TypeAlias

Key: TypeAlias = tuple[str, ...]

SECONDS = 10.0
"""Least seconds between two lines about like events."""

MOST_KEYS = 256
"""Most kinds of events that are told apart; beyond that, the one logged longest ago is forgotten."""


class Throttle:
    """Decides which of many events get a line in the log. Not thread-safe.

    Args:
        seconds: between two lines on the same kind of event.
    """

    def __init__(self, seconds: float = SECONDS) -> None:
        self._seconds = seconds
        self._told: dict[Key, float] = {}  # when each kind was logged last, in that order
        self._unsaid: dict[Key, int] = {}

    def admit(self, *key: str) -> bool:
        """Whether to log an event now; if not it is counted."""
        now = time.monotonic()
        if key in self._told and now - self._told[key] < self._seconds:
            self._unsaid[key] = self._unsaid.get(key, 0) + 1
            return False
        self._tell(key, now)
        return True

    def unsaid(self) -> dict[Key, int]:
        """How many events of each kind were not logged for a while, and should be now."""
        now = time.monotonic()
        due = {key: count for key, count in self._unsaid.items() if now - self._told[key] >= self._seconds}
        for key in due:
            self._tell(key, now)
        return due

    def _tell(self, key: Key, now: float) -> None:
        self._told.pop(key, None)
        self._unsaid.pop(key, None)
        self._told[key] = now
        if len(self._told) > MOST_KEYS:
            oldest = next(iter(self._told))
            del self._told[oldest]
            self._unsaid.pop(oldest, None)
