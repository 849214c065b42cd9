"""Who is encoded next: clips in line for a worker, those with small pictures one at a time. No threads in here."""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

from offcam_proto.limits import KIB

LIGHT_BYTES = 128 * KIB
"""Pictures of up to so many bytes are encoded by one worker at a time.

Most of the time for one is Python's, of which one thread runs at a time: from 84x84 to 160x210, a second worker made
them no faster and took half as much CPU again. At 320x240 it pays.
"""

LIGHT_SECONDS = 0.05
"""A turn of such a clip that takes longer waits for something else: a disk, say. The next one is let in beside it."""

T = TypeVar("T")


class Scheduler(Generic[T]):
    """Clips in line, first come, first served, but for light ones behind a light one that has its turn."""

    def __init__(self) -> None:
        self._count = 0
        self._heavy: deque[tuple[int, T]] = deque()
        self._light: deque[tuple[int, T]] = deque()
        self._lane: T | None = None  # the light one that has its turn
        self._since = 0.0

    def add(self, clip: T, *, light: bool) -> None:
        """Line a clip up that is not in line."""
        self._count += 1
        (self._light if light else self._heavy).append((self._count, clip))

    def take(self, now: float) -> T | None:
        """Whose turn it is, or None if there is nobody who may have it. The caller has to call `done`."""
        light = self._open(now)
        if not light and not self._heavy:
            return None
        if light and (not self._heavy or self._light[0] < self._heavy[0]):
            _, self._lane = self._light.popleft()
            self._since = now
            return self._lane
        return self._heavy.popleft()[1]

    def done(self, clip: T) -> None:
        """A clip's turn is over."""
        if clip is self._lane:
            self._lane = None

    def ready(self, now: float) -> bool:
        """Whether somebody may have a turn."""
        return bool(self._heavy) or self._open(now)

    def patience(self, now: float) -> float | None:
        """After how many seconds somebody will be let in if no turn ends before; None where nobody waits for that."""
        if not self._light or self._lane is None:
            return None
        return max(0.0, self._since + LIGHT_SECONDS - now)

    def _open(self, now: float) -> bool:
        return bool(self._light) and (self._lane is None or now >= self._since + LIGHT_SECONDS)
