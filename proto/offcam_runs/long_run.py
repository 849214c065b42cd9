"""Learning curves of runs that are too long to be read whole: a few points, each as if all episodes had been read."""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple, get_args

import numpy as np

from offcam_proto.errors import ConfigError
from offcam_runs.analysis import Smooth, moving_average
from offcam_runs.blocks import steps_and_end
from offcam_runs.database import open_to_read
from offcam_runs.episodes import Quantity
from offcam_runs.pending import committed
from offcam_runs.run import Run, read_run
from offcam_runs.streams import began, read_streams

if TYPE_CHECKING:
    import sqlite3

    from numpy.typing import NDArray

    from offcam_runs.analysis import Axis
    from offcam_runs.analysis.statistics import Floats
    from offcam_runs.sessions import Session

LONG: Final = 500_000
"""A run with more episodes is long: to read it whole takes more than 1 s and 40 MB."""

POINTS: Final = 2_000
"""Points of a long run's curve: as many as a figure has pixels across."""

_EXTENT = """
SELECT (SELECT id FROM main.episodes WHERE stream_id = own.id ORDER BY seq LIMIT 1),
    (SELECT id FROM main.episodes WHERE stream_id = own.id ORDER BY seq DESC LIMIT 1),
    own.id IN (SELECT id FROM streams)
FROM main.streams AS own
"""
_VALUES = "SELECT {0} FROM main.episodes WHERE id > :begin AND id <= :end ORDER BY id"


@dataclass(frozen=True, slots=True, eq=False)
class LongRun:
    """A long run, or one session of it, of which only what the points of a curve need is read.

    So ten million episodes cost hardly more than one. The axes by steps and by time are the exception: they count all
    episodes, which SQLite does in a tenth of the time that it takes to read them.

    Attributes:
        folder: the run folder.
        env_ids: of its streams, each once.
        began: when the first of its streams began, in seconds since the epoch.
        before: ``episodes.id`` of the episode before its first one.
        count: number of its episodes, whose ids follow each other.
    """

    folder: str
    env_ids: tuple[str, ...]
    began: float
    before: int
    count: int
    _x: dict[Axis, Floats] = field(default_factory=dict)

    @property
    def every(self) -> int:
        """Each how manieth episode is a point of the curve."""
        return -(-self.count // POINTS)

    def smooth(self, quantity: str, axis: Axis, window: int) -> Smooth:
        """The points of the curve and of its moving average, see `Run.smooth`; the last episode is always one.

        Raises:
            ConfigError: no episode that was read has a value by this name.
            RunFolderError: its index cannot be read.
        """
        ends = np.append(np.arange(self.every, self.count, self.every), self.count)  # episodes up to each point
        with open_to_read(self.folder, settled=True, session="all") as database:
            if axis not in self._x:
                self._x[axis] = self._axis(database, axis, ends)
            size = -(-window // self.every)  # of points whose windows overlap: so each episode is read twice at most
            groups = [ends[first : first + size] for first in range(0, ends.size, size)]
            parts = [self._averaged(database, quantity, group, window) for group in groups]
        values, averages = np.concatenate(parts, axis=1)
        if np.isnan(values).all() and quantity not in get_args(Quantity):
            raise ConfigError(f"no episode of {self.folder} has a value {quantity!r}: record it with `info_keywords`")
        return Smooth(self._x[axis], np.where(np.isfinite(values), values, np.nan), averages)

    def _averaged(
        self, database: sqlite3.Connection, quantity: str, ends: NDArray[np.int64], window: int
    ) -> NDArray[np.float64]:
        """The numbers of the episodes in ``ends``, and the averages up to them, (2, points)."""
        begin = max(0, int(ends[0]) - window)
        read = self._values(database, quantity, begin, int(ends[-1]))
        places = ends - begin - 1
        return np.stack([read[places], moving_average(read, window)[places]])

    def _values(self, database: sqlite3.Connection, quantity: str, begin: int, end: int) -> Floats:
        """A number of each of some consecutive episodes, (end - begin,)."""
        of_all = quantity in get_args(Quantity)
        asked = {"begin": self.before + begin, "end": self.before + end}
        rows = database.execute(_VALUES.format(quantity if of_all else "info"), asked)
        if of_all:
            numbers = (math.nan if value is None else value for (value,) in rows)
        else:
            numbers = (json.loads(text or "{}").get(quantity, math.nan) for (text,) in rows)
        return np.fromiter(numbers, np.float64, end - begin)

    def _axis(self, database: sqlite3.Connection, axis: Axis, ends: NDArray[np.int64]) -> Floats:
        """Where the episodes in ``ends`` stand on an axis, (points,), as in `offcam_runs.analysis.curve`."""
        if axis == "episode":
            return (ends - 1).astype(np.float64)
        begins, behind = np.append(0, ends[:-1]) + self.before, ends + self.before
        spans = zip(begins.tolist(), behind.tolist(), strict=True)
        steps, ended = np.array([steps_and_end(database, *span, self.began) for span in spans]).T
        return np.cumsum(steps) if axis == "step" else np.maximum.accumulate(ended)


class Extent(NamedTuple):
    """Which episodes belong to a run or a session: ``count`` consecutive ids, of which the first follows ``before``."""

    before: int
    size: int


def long_extent(database: sqlite3.Connection, long: int | None = None) -> Extent | None:
    """Which episodes are those of a long run whose index is open; None where it is to be read whole.

    That is so where it has no more than ``long`` episodes, by default `LONG`, or where episodes of other sessions lie
    among its own.
    Episodes that wait in clients' journals are left out: they may get other ids.
    """
    most, last = LONG if long is None else long, committed(database)
    if last <= most:
        return None
    spans = [span for span in database.execute(_EXTENT) if span[0] is not None]
    own = [(first, end) for first, end, shown in spans if shown]
    before, behind = min(own, default=(1, 0))[0] - 1, min(max((end for _, end in own), default=0), last)
    if behind - before <= most or any(end > before and first <= behind for first, end, shown in spans if not shown):
        return None
    return Extent(before, behind - before)


def long_run(database: sqlite3.Connection, folder: str | os.PathLike[str], extent: Extent) -> LongRun:
    """The long run whose index is open and whose episodes are in ``extent``."""
    streams = read_streams(database).values()
    env_ids = tuple(dict.fromkeys(stream.env_id for stream in streams))
    return LongRun(os.fspath(folder), env_ids, began(streams), *extent)


def run_to_plot(folder: str | os.PathLike[str], session: Session = None, *, long: int | None = None) -> Run | LongRun:
    """A run as it is at this moment, read whole unless it is long, see `long_extent`.

    Args:
        folder: of the run.
        session: which one; by default the newest.
        long: a run with more episodes than this is not read whole.

    Raises:
        What `read_run` raises.
    """
    with open_to_read(folder, settled=True, session=session) as database:
        extent = long_extent(database, long)
        if extent is not None:
            return long_run(database, folder, extent)
    return read_run(folder, session)
