"""A cache of the most recently used values."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class LruCache(Generic[Key, Value]):
    """Keeps the most recently used values, at least one. Thread-safe.

    Args:
        most: how many values, or how much they may weigh together.
        weigh: the weight of a value; by default each weighs 1.
    """

    def __init__(self, most: int, weigh: Callable[[Value], int] | None = None) -> None:
        self._most = most
        self._weigh = weigh
        self._lock = threading.Lock()
        self._kept: OrderedDict[Key, Value] = OrderedDict()

    def get(self, key: Key, make: Callable[[], Value]) -> Value:
        """The value of a key, made if it is missing; of two made at the same time the first is kept."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        made = make()
        with self._lock:
            made = self._kept.setdefault(key, made)
        self.trim()
        return made

    def trim(self) -> None:
        """Drop values that are too many; call this after a value has become heavier."""
        with self._lock:
            while len(self._kept) > 1 and self._weight() > self._most:
                self._kept.popitem(last=False)

    def _weight(self) -> int:
        return sum(map(self._weigh, self._kept.values())) if self._weigh else len(self._kept)
