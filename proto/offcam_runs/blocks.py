"""Sums over every few hundred episodes of a long run: what a curve of all of them is drawn from."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final, get_args

import numpy as np

from offcam_runs.episodes import Quantity

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    from offcam_runs.analysis import Axis
    from offcam_runs.analysis.statistics import Floats

BLOCK: Final = 250
"""Episodes of a block: few enough that a run of half a million has as many blocks as a curve has points."""

_VALUE_OF_INFO = "(SELECT value FROM json_each(info) WHERE key = :name)"
_SUMS = """
SELECT count(y), total(y), min(y), max(y) FROM (SELECT {0} AS y FROM main.episodes WHERE id > :begin AND id <= :end)
WHERE abs(y) <= 1.7976931348623157e308
"""
ENDED: Final = "started + CASE WHEN abs(duration) <= 1.7976931348623157e308 THEN duration ELSE 0 END"
"""SQL of when an episode ended, as `EpisodeTable.ended` has it; NULL where that is not known."""

_X = f"SELECT sum(length), max(ifnull({ENDED}, :began)) FROM main.episodes WHERE id > :begin AND id <= :end"  # noqa: S608 - of our own words

Four = tuple[float, float, float | None, float | None]


def sums(database: sqlite3.Connection, quantity: str, begin: int, end: int) -> Four:
    """Of the episodes with ids in (begin, end] and a finite number: how many, their sum, the least and the largest."""
    column = quantity if quantity in get_args(Quantity) else _VALUE_OF_INFO
    found: Four = database.execute(_SUMS.format(column), {"begin": begin, "end": end, "name": quantity}).fetchone()
    return found


def steps_and_end(database: sqlite3.Connection, begin: int, end: int, began: float) -> tuple[float, float]:
    """Of the episodes with ids in (begin, end]: their steps, and when the last one ended, in seconds from ``began``.

    An episode whose end is not known counts as ended when the run began, as in `offcam_runs.analysis.curve`.
    """
    steps, ended = database.execute(_X, {"begin": begin, "end": end, "began": began}).fetchone()
    seconds = np.nan if ended is None else ended - began
    return steps or 0.0, seconds if np.isfinite(seconds) else 0.0


class Blocks:
    """The blocks of a run whose episodes have consecutive ids. A full block never changes, and is kept. Thread-safe.

    Args:
        before: ``episodes.id`` of the episode before the first one.
        began: when the run began, in seconds since the epoch.
    """

    def __init__(self, before: int, began: float) -> None:
        self.before = before
        self.began = began
        self._full: dict[str, Floats] = {}
        self._lock = threading.Lock()

    def sums(self, database: sqlite3.Connection, quantity: str, count: int) -> Floats:
        """`sums` of each block of the first ``count`` episodes, (blocks, 4); the last block may have fewer."""
        return self._each(f"y:{quantity}", lambda begin, end: sums(database, quantity, begin, end), count)

    def ends(self, database: sqlite3.Connection, axis: Axis, count: int) -> Floats:
        """Where the last episode of each block stands on an axis, (blocks,), see `offcam_runs.analysis.curve`."""
        if axis == "episode":
            return np.minimum(np.arange(BLOCK, count + BLOCK, BLOCK), count) - 1.0
        found = self._each("x", lambda begin, end: steps_and_end(database, begin, end, self.began), count)
        return np.cumsum(found[:, 0]) if axis == "step" else np.maximum.accumulate(found[:, 1])

    def _each(self, name: str, read: Callable[[int, int], tuple[float | None, ...]], count: int) -> Floats:
        def block(number: int) -> tuple[float | None, ...]:
            return read(self.before + number * BLOCK, self.before + min((number + 1) * BLOCK, count))

        full = count // BLOCK
        last = [block(full)] if count % BLOCK else []
        with self._lock:
            had = self._full.get(name)
            new = [block(number) for number in range(0 if had is None else len(had), full)]
            if new:
                found = np.array(new, np.float64)
                had = self._full[name] = found if had is None else np.concatenate((had, found))
        kept = [] if had is None else [had[:full]]  # a reader that began earlier may see fewer blocks
        return np.concatenate([*kept, np.array(last, np.float64)] if last else kept)
