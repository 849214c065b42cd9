"""Keeps the log readable when something happens without end: the first is told, then now and then how many more."""

from __future__ import annotations

import time
from typing import TypeAlias

Key: TypeAlias = tuple[str, ...]

SECONDS = 10.0
"""Like events are told no more often than this."""

MOST_KEYS = 256
"""Kinds of events that are kept apart; of more, the one that was told the longest ago is forgotten."""


class Throttle:
    """Says which of many events are worth a line in the log. Not thread-safe.

    Args:
        seconds: between two lines about like events.
    """

    def __init__(self, seconds: float = SECONDS) -> None:
        self._seconds = seconds
        self._told: dict[Key, float] = {}  # in order of telling
        self._unsaid: dict[Key, int] = {}

    def admit(self, *key: str) -> bool:
        """Whether to tell of an event now; if not it is counted."""
        now = time.monotonic()
        if key in self._told and now - self._told[key] < self._seconds:
            self._unsaid[key] = self._unsaid.get(key, 0) + 1
            return False
        self._tell(key, now)
        return True

    def unsaid(self) -> dict[Key, int]:
        """How many events of each kind are to be told of now, as nobody was told of them for a while."""
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
