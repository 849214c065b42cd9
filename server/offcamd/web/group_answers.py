"""Curves of several runs together, kept for all who look at them until one of the runs changes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from offcamd.web.lru import LruCache
from offcamd.web.reading import signature

if TYPE_CHECKING:
    from offcamd.web.reading import AskedRun

MOST_KEPT = 64
"""Most answers that are kept; one is some tens of kilobytes."""


@dataclass
class _Kept:
    lock: threading.Lock = field(default_factory=threading.Lock)
    signatures: tuple[object, ...] = ()
    answer: bytes = b""


class GroupAnswers:
    """The answers. Thread-safe."""

    def __init__(self) -> None:
        self._kept: LruCache[str, _Kept] = LruCache(MOST_KEPT)

    def get(self, question: str, runs: Sequence[AskedRun], make: Callable[[], bytes]) -> bytes:
        """The answer to a question as the runs are now; who asks while it is made waits for it.

        Args:
            question: all that the answer depends on, but for what is in the runs.
            runs: what it is about.
            make: works the answer out.
        """
        kept = self._kept.get(question, _Kept)
        with kept.lock:
            now = tuple(signature(run.folder) for run in runs)  # before they are read: what comes meanwhile is news
            if now != kept.signatures:
                kept.answer, kept.signatures = make(), now
            return kept.answer
