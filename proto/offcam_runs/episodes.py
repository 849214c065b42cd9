"""The episodes of a run as columns: read by one SELECT, for statistics, curves, tables and files alike."""

from __future__ import annotations

from dataclasses import InitVar, dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, NamedTuple, overload

import numpy as np

from offcam_runs.analysis import curve, per_step, success_rate, summary
from offcam_runs.analysis.success import SuccessRule

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Iterator, Mapping

    from numpy.typing import NDArray

    from offcam_runs.analysis import Axis, Curve, PerStep, SuccessRate, Summary
    from offcam_runs.running import EpisodeTotals, RunningStats

Quantity = Literal["return", "length", "duration"]
"""What statistics and curves can be of."""

ORDERS: Final = {
    "arrival": "id {0}",
    "episode": "stream_id {0}, episode {0}, id {0}",
    "return": "return {0}, id {0}",
    "length": "length {0}, id {0}",
    "duration": "duration {0}, id {0}",
}
"""SQL of the orders that episodes can be read in, to be formatted with ``ASC`` or ``DESC``. NaN is the least."""

SELECT: Final = """
SELECT id - 1, stream_id, env_index, episode, return, length, duration, started, terminated, truncated, seed
FROM episodes
"""
"""Columns in the order of `Episode`, but that the stream is named by its key."""

_BATCH = 2_000  # rows at a time: few enough to stay in the processor's cache until they are numbers


class Episode(NamedTuple):
    """One episode: a row of an `EpisodeTable`, whose columns say what each value is."""

    number: int
    stream: int
    env_index: int
    episode: int
    return_: float
    length: int
    duration: float
    started: float
    terminated: bool
    truncated: bool
    seed: int | str | None


_ROW = np.dtype(
    list(zip(Episode._fields, ("i8", "i8", "i8", "i8", "f8", "i8", "f8", "f8", "?", "?", "O"), strict=True))
)


@dataclass(frozen=True, eq=False, repr=False)
class EpisodeTable:
    """A run's finished episodes: arrays of shape (episodes,) that cannot be written to.

    Indexed by a place it gives an `Episode`, by a slice a table: ``episodes[-100:]`` are the last hundred.
    That of a whole run is made with its ``totals``, by which the daemon, the API and the page count, too: so the
    digits are the same.

    Attributes:
        number: order of arrival in the run, from 0, int64.
        stream: place of its stream in `Run.streams`, int64.
        env_index: sub-environment, 0 for a single one, int64.
        episode: number of the episode in its (sub-)environment, from 0, int64.
        return_: sums of rewards, float64; may be NaN or infinite.
        length: in steps, int64.
        duration: from the reset to the last step in seconds, float64, NaN where it is not known.
        started: time of the reset in seconds since the epoch, float64, NaN where it is not known.
        terminated: flag of the last step, bool.
        truncated: flag of the last step, bool.
        seed: given to the reset, object: int or None, text where it exceeds 63 bits.
    """

    number: NDArray[np.int64]
    stream: NDArray[np.int64]
    env_index: NDArray[np.int64]
    episode: NDArray[np.int64]
    return_: NDArray[np.float64]
    length: NDArray[np.int64]
    duration: NDArray[np.float64]
    started: NDArray[np.float64]
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]
    seed: NDArray[np.object_]
    _totals: ClassVar[EpisodeTotals | None] = None  # until it is made with some
    totals: InitVar[EpisodeTotals | None] = field(default=None, kw_only=True)

    def __post_init__(self, totals: EpisodeTotals | None) -> None:
        object.__setattr__(self, "_totals", totals)
        for column in self._arrays():
            column.flags.writeable = False

    def __len__(self) -> int:
        return self.number.size

    @overload
    def __getitem__(self, place: int) -> Episode: ...

    @overload
    def __getitem__(self, place: slice) -> EpisodeTable: ...

    def __getitem__(self, place: int | slice) -> Episode | EpisodeTable:
        if isinstance(place, slice):
            return EpisodeTable(*(column[place] for column in self._arrays()))
        return Episode(*(column.item(place) for column in self._arrays()))

    def __iter__(self) -> Iterator[Episode]:
        return map(Episode._make, zip(*(column.tolist() for column in self._arrays()), strict=True))

    def __repr__(self) -> str:
        return f"<{len(self):,} episodes>"

    def _arrays(self) -> list[NDArray[Any]]:
        return [getattr(self, name) for name in Episode._fields]

    @property
    def nbytes(self) -> int:
        """Memory that the columns take, in bytes."""
        return sum(column.nbytes for column in self._arrays())

    @property
    def ended(self) -> NDArray[np.float64]:
        """When each ended, in seconds since the epoch: when it began where its duration is not known."""
        return self.started + np.nan_to_num(self.duration, nan=0.0, posinf=0.0, neginf=0.0)

    def column(self, quantity: Quantity) -> NDArray[Any]:
        """One of the columns that statistics can be of, (episodes,)."""
        column: NDArray[Any] = getattr(self, "return_" if quantity == "return" else quantity)
        return column

    def curve(self, quantity: Quantity = "return", axis: Axis = "episode", *, began: float) -> Curve:
        """The learning curve of these episodes, of a run that began at a time; see `Run.curve`."""
        return curve(self.column(quantity), self.length, self.ended, axis, began=began)

    def summary(self, quantity: Quantity = "return", *, confidence: float = 0.95, intervals: bool = True) -> Summary:
        """Mean, standard deviation, median and interquartile mean over episodes, with bootstrap intervals.

        Values that are not finite are left out and counted. How it is computed, and after whom, is said at
        `offcam_runs.analysis.summary`.

        Args:
            quantity: returns, lengths in steps, or durations in seconds.
            confidence: of the intervals, between 0 and 1.
            intervals: whether to compute them, which takes most of the time; otherwise they are NaN.
        """
        found = summary(self.column(quantity), confidence=confidence, intervals=intervals)
        if self._totals is None or not found.count:
            return found
        stats: RunningStats = getattr(self._totals, f"{quantity}s")
        return replace(found, count=stats.count, mean=stats.mean, std=stats.std)

    def success_rate(self, rule: str | SuccessRule, *, confidence: float = 0.95) -> SuccessRate:
        """The share of episodes that succeeded, with Wilson's interval.

        Args:
            rule: what success is, such as ``"terminated and return >= 200"``; see `SuccessRule` for what it can say.
            confidence: of the interval, between 0 and 1.

        Raises:
            ConfigError: the rule cannot be understood.
        """
        columns = {"return": self.return_, "length": self.length}
        flags = {"terminated": self.terminated, "truncated": self.truncated}
        rule = SuccessRule(rule) if isinstance(rule, str) else rule
        return success_rate({**columns, **flags}, rule, confidence=confidence)

    def per_step(self) -> PerStep:
        """Mean reward and time of a step, over all steps."""
        return per_step(self.return_, self.length, self.duration)


def read_episodes(
    database: sqlite3.Connection,
    streams: Collection[int],
    condition: str = "TRUE",
    values: Mapping[str, object] | None = None,
    *,
    order: str = "id",
    limit: int = -1,
    offset: int = 0,
) -> EpisodeTable:
    """Episodes of an index that is open.

    Args:
        database: from `database.open_to_read`.
        streams: the keys of all its streams, ascending; see `read_streams`.
        condition: SQL over the columns of ``episodes``. Never from outside; what is goes into ``values``.
        values: for its named parameters.
        order: SQL of the order, likewise; see `ORDERS`.
        limit: most episodes to return, -1 for all.
        offset: episodes to pass over.
    """
    query = f"{SELECT} WHERE {condition} ORDER BY {order} LIMIT :limit OFFSET :offset"
    cursor = database.execute(query, {**(values or {}), "limit": limit, "offset": offset})
    parts = [np.empty(0, _ROW)]
    while rows := cursor.fetchmany(_BATCH):
        parts.append(np.array(rows, _ROW))  # None becomes NaN
    table = np.concatenate(parts)
    keys = np.fromiter(streams, np.int64, len(streams))
    table["stream"] = np.searchsorted(keys, table["stream"])
    return EpisodeTable(*(np.ascontiguousarray(table[name]) for name in Episode._fields))


def no_episodes() -> EpisodeTable:
    """An empty table."""
    return EpisodeTable(*(np.empty(0, _ROW[name]) for name in Episode._fields))


def joined(one: EpisodeTable, later: EpisodeTable) -> EpisodeTable:
    """A table of both."""
    return EpisodeTable(*map(np.concatenate, zip(one._arrays(), later._arrays(), strict=True)))  # noqa: SLF001 - of the same class
