"""A cache of what was used last."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class LruCache(Generic[Key, Value]):
    """Keeps the values that were used last, one at least. Of any thread.

    Args:
        most: how many, or how much they may weigh together.
        weigh: what one of them weighs; each counts 1 without.
    """

    def __init__(self, most: int, weigh: Callable[[Value], int] | None = None) -> None:
        self._most = most
        self._weigh = weigh
        self._lock = threading.Lock()
        self._kept: OrderedDict[Key, Value] = OrderedDict()

    def get(self, key: Key, make: Callable[[], Value]) -> Value:
        """The value of a key, made where there is none; of two that are made at once the first is kept."""
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
        """Let go of what is too much; to be called where a value became heavier."""
        with self._lock:
            while len(self._kept) > 1 and self._weight() > self._most:
                self._kept.popitem(last=False)

    def _weight(self) -> int:
        return sum(map(self._weigh, self._kept.values())) if self._weigh else len(self._kept)
