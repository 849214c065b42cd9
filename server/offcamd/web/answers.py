"""Answers about a run that are given again as long as nothing in its folder has changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from offcamd.web.lru import LruCache
from offcamd.web.reading import settled_signature

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MOST_BYTES = 16 << 20
"""Of the answers that are kept, of all runs together."""

_LEAST_BYTES = 1 << 16  # what each counts as, so that there are not many small ones


class Answers:
    """Keeps the answers that were given last. Thread-safe.

    Nothing needs to be told that a run has changed: its folder's `settled_signature` is a part of what an answer is
    kept by.
    """

    def __init__(self) -> None:
        self._kept: LruCache[tuple[str, object], bytes] = LruCache(
            MOST_BYTES, lambda answer: max(len(answer), _LEAST_BYTES)
        )

    def get(self, folder: Path, request: str, make: Callable[[], bytes]) -> bytes:
        """The answer to a request, made where it is not known from before, or where the run is changing.

        Args:
            folder: of the run, whose index and pins are all that the answer depends on.
            request: what was asked.
            make: makes the answer.
        """
        found = settled_signature(folder)  # before the run is read: what changes meanwhile is news the next time
        return make() if found is None else self._kept.get((request, found), make)
