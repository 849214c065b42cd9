"""Which clip a worker encodes next: the first in line, but of clips with small pictures only one at a time."""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

from offcam_proto.limits import KIB

LIGHT_BYTES = 128 * KIB
"""A clip with pictures of up to so many bytes is light. Only one worker at a time encodes light clips.

Most of such a picture's time is Python code, which the GIL lets one thread run: from 84x84 to 160x210 pixels a second
worker was no faster and took half as much CPU again. At 320x240 it pays.
"""

LIGHT_SECONDS = 0.05
"""A light clip whose turn takes longer waits for something else, as a disk: the next one is let in beside it."""

PATIENCE_SECONDS = 0.1
"""How long a clip whose turn is not worth it yet waits for more frames."""

T = TypeVar("T")


class Scheduler(Generic[T]):
    """Clips in line: first come, first served, but a light clip waits while another has its turn. Not thread-safe.

    Some clips only one of the workers may encode. Some come too early: they join the line after `PATIENCE_SECONDS`.
    """

    def __init__(self) -> None:
        self._count = 0
        self._heavy: dict[int | None, deque[tuple[int, T]]] = {None: deque()}  # by worker; None for any
        self._light: deque[tuple[int, T]] = deque()
        self._lane: T | None = None  # the light clip that has its turn
        self._since = 0.0
        self._early: dict[int | None, dict[T, float]] = {}  # by worker: when they join the line, the first one first

    def add_early(self, clip: T, now: float, worker: int | None) -> None:
        """Put a clip that is not light in line in `PATIENCE_SECONDS`, or with `hasten`."""
        self._early.setdefault(worker, {})[clip] = now + PATIENCE_SECONDS

    def hasten(self, clip: T, worker: int | None) -> bool:
        """Put a clip in line that came too early. Returns False if it did not."""
        if self._early.get(worker, {}).pop(clip, None) is None:
            return False
        self.add(clip, light=False, worker=worker)
        return True

    def hasten_all(self) -> None:
        """Put all clips in line that came too early."""
        for worker, clips in self._early.items():
            for clip in list(clips):
                self.hasten(clip, worker)

    def due(self, worker: int) -> float | None:
        """When the next clip that came too early joins the line of a worker; None if there is none."""
        return next(iter(self._early.get(worker, {}).values()), None)

    def add(self, clip: T, *, light: bool, worker: int | None = None) -> None:
        """Put a clip in line that is not in line yet. One that is light is for any worker."""
        self._count += 1
        (self._light if light else self._heavy.setdefault(worker, deque())).append((self._count, clip))

    def take(self, now: float, worker: int | None = None) -> T | None:
        """Take the clip out whose turn at a worker it is, or None if there is none. Call `done` after the turn."""
        self._join(now, worker)
        lines = [line for line in (self._heavy[None], self._heavy.get(worker)) if line]
        if self._open(now):
            lines.append(self._light)
        if not lines:
            return None
        line = min(lines, key=lambda each: each[0][0])
        _, clip = line.popleft()
        if line is self._light:
            self._lane, self._since = clip, now
        return clip

    def done(self, clip: T) -> None:
        """End a clip's turn."""
        if clip is self._lane:
            self._lane = None

    def give_up(self, worker: int) -> None:
        """Let any worker encode what only this one could."""
        for clip in list(self._early.get(worker, {})):
            self.hasten(clip, worker)
        self._heavy[None] = deque(sorted([*self._heavy[None], *self._heavy.pop(worker, ())], key=lambda each: each[0]))

    def ready(self, now: float, worker: int | None = None) -> bool:
        """Whether `take` would return a clip."""
        self._join(now, worker)
        return bool(self._heavy[None] or self._heavy.get(worker)) or self._open(now)

    def patience(self, now: float) -> float | None:
        """Seconds until the next light clip is let in beside one whose turn takes too long; None if none waits."""
        if not self._light or self._lane is None:
            return None
        return max(0.0, self._since + LIGHT_SECONDS - now)

    def _join(self, now: float, worker: int | None) -> None:
        """Put a worker's clips in line that have waited long enough."""
        early = self._early.get(worker, {})
        for clip in [clip for clip, due in early.items() if due <= now]:
            self.hasten(clip, worker)

    def _open(self, now: float) -> bool:
        return bool(self._light) and (self._lane is None or now >= self._since + LIGHT_SECONDS)
