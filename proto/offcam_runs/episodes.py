"""The episodes of a run as columns: read by one SELECT, for statistics, curves, tables and files alike."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import InitVar, dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, NamedTuple, get_args, overload

import numpy as np

from offcam_proto.errors import ConfigError
from offcam_runs.analysis import Axis, Curve, PerStep, SuccessRate, Summary, curve, per_step, success_rate, summary
from offcam_runs.analysis.success import SUCCESS_VALUES, SuccessRule

if TYPE_CHECKING:
    import sqlite3

    from numpy.typing import NDArray

    from offcam_runs.running import EpisodeTotals, RunningStats

Quantity = Literal["return", "length", "duration"]
"""Numbers of an episode that every run has, for statistics and curves."""

ORDERS: Final = {
    "arrival": "id {0}",
    "episode": "stream_id {0}, episode {0}, id {0}",
    "return": "return {0}, id {0}",
    "length": "length {0}, id {0}",
    "duration": "duration {0}, id {0}",
}
"""SQL of the orders in which episodes can be read, to be formatted with ``ASC`` or ``DESC``. NaN is the least."""

SELECT: Final = """
SELECT id - 1, stream_id, env_index, episode, return, length, duration, started, terminated, truncated, seed, info
FROM episodes
"""
"""Columns in the order of `Episode`, but that the stream is named by its key, and its info is JSON or NULL."""

_COUNT: Final = "SELECT count(*) FROM (SELECT 1 FROM episodes WHERE {0} LIMIT :limit OFFSET :offset)"

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
    info: dict[str, float]


_COLUMNS: Final = tuple(name for name in Episode._fields if name != "info")
_TYPES: Final = ("i8", "i8", "i8", "i8", "f8", "i8", "f8", "f8", "?", "?", "O")


@dataclass(frozen=True, eq=False, repr=False)
class EpisodeTable:
    """A run's finished episodes: arrays of shape (episodes,) that cannot be written to.

    Indexed by a place it gives an `Episode`, by a slice a table: ``episodes[-100:]`` are the last hundred. The table of
    a whole run has the run's ``totals``, which daemon, API and page use, too: so all show the same digits.

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
        info: what the last step's ``info`` said of them, as ``is_success``: by name float64, NaN where it is not
            known. Only names that an episode has; flags are 0 and 1.
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
    info: Mapping[str, NDArray[np.float64]] = field(default_factory=dict, kw_only=True)
    _totals: ClassVar[EpisodeTotals | None] = None  # the totals, for the table of a whole run
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
            info = {name: column[place] for name, column in self.info.items()}
            return EpisodeTable(*(column[place] for column in self._plain()), info=_known(info))
        known = {name: column.item(place) for name, column in self.info.items() if not np.isnan(column[place])}
        return Episode._make((*(column.item(place) for column in self._plain()), known))

    def __iter__(self) -> Iterator[Episode]:
        columns = [column.tolist() for column in self._plain()]
        return map(Episode._make, zip(*columns, self._values_of_each(), strict=True))

    def _values_of_each(self) -> Iterator[dict[str, float]]:
        if not self.info:
            return ({} for _ in range(len(self)))
        of_each = zip(*(column.tolist() for column in self.info.values()), strict=True)
        return ({n: v for n, v in zip(self.info, each, strict=True) if v == v} for each in of_each)  # noqa: PLR0124 - NaN

    def __repr__(self) -> str:
        return f"<{len(self):,} episodes>"

    def _plain(self) -> list[NDArray[Any]]:
        return [getattr(self, name) for name in _COLUMNS]

    def _arrays(self) -> list[NDArray[Any]]:
        return [*self._plain(), *self.info.values()]

    @property
    def nbytes(self) -> int:
        """Memory that the columns take, in bytes."""
        return sum(column.nbytes for column in self._arrays())

    @property
    def ended(self) -> NDArray[np.float64]:
        """When each ended, in seconds since the epoch: when it began where its duration is not known."""
        return self.started + np.nan_to_num(self.duration, nan=0.0, posinf=0.0, neginf=0.0)

    def column(self, quantity: str) -> NDArray[Any]:
        """One of the columns that statistics can be of, (episodes,): a `Quantity`, or one of `info`.

        Raises:
            ConfigError: no episode has a value by this name.
        """
        if quantity not in get_args(Quantity):
            if quantity not in self.info:
                there = f"there are {', '.join(self.info)}" if self.info else "record it with `info_keywords`"
                raise ConfigError(f"no episode has a value {quantity!r}: {there}")
            return self.info[quantity]
        column: NDArray[Any] = getattr(self, "return_" if quantity == "return" else quantity)
        return column

    def curve(self, quantity: str = "return", axis: Axis = "episode", *, began: float) -> Curve:
        """The learning curve of these episodes, of a run that began at a time; see `Run.curve`."""
        return curve(self.column(quantity), self.length, self.ended, axis, began=began)

    def summary(self, quantity: str = "return", *, confidence: float = 0.95, intervals: bool = True) -> Summary:
        """Mean, standard deviation, median and interquartile mean over episodes, with bootstrap intervals.

        Values that are not finite are left out and counted. How it is computed, and after whom, is said at
        `offcam_runs.analysis.summary`.

        Args:
            quantity: returns, lengths in steps, durations in seconds, or a value by its name in `info`.
            confidence: of the intervals, between 0 and 1.
            intervals: whether to compute them, which takes most of the time; otherwise they are NaN.
        """
        found = summary(self.column(quantity), confidence=confidence, intervals=intervals)
        if self._totals is None or not found.count or quantity not in get_args(Quantity):
            return found
        stats: RunningStats = getattr(self._totals, f"{quantity}s")
        return replace(found, count=stats.count, mean=stats.mean, std=stats.std)

    @property
    def success_rule(self) -> str | None:
        """What success is by the env's own word, ``is_success`` or ``success``; None where it says neither."""
        return next((name for name in SUCCESS_VALUES if name in self.info), None)

    def success_rate(self, rule: str | SuccessRule | None = None, *, confidence: float = 0.95) -> SuccessRate:
        """The share of episodes that succeeded, with Wilson's interval.

        Args:
            rule: what success is, such as ``"terminated and return >= 200"``; see `SuccessRule` for what it can say. By
                default what the env said, as in `success_rule`.
            confidence: of the interval, between 0 and 1.

        Raises:
            ConfigError: the rule cannot be understood, or is of a value that no episode has; or there is none, and the
                env did not say either.
        """
        rule = self.success_rule if rule is None else rule
        if rule is None:
            raise ConfigError(
                "nobody said what success is: give a rule, as success_rate('terminated and return >= 200'), or have "
                "the env put `is_success` into the info of an episode's last step"
            )
        columns = {"return": self.return_, "length": self.length}
        flags = {"terminated": self.terminated, "truncated": self.truncated}
        rule = SuccessRule(rule) if isinstance(rule, str) else rule
        return success_rate({**self.info, **columns, **flags}, rule, confidence=confidence)

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
    asked = {**(values or {}), "limit": limit, "offset": offset}
    count = limit
    if not 0 <= limit <= _BATCH:  # read once into place, so that the rows are never in memory twice
        (count,) = database.execute(_COUNT.format(condition), asked).fetchone()
    table = {name: np.empty(count, kind) for name, kind in zip(_COLUMNS, _TYPES, strict=True)}
    info: dict[str, NDArray[np.float64]] = {}
    where = f"WHERE {condition} ORDER BY {order} LIMIT :limit OFFSET :offset"
    if offset and count == limit:  # those that are passed over are not read but for their place in the order
        where = f"WHERE id IN (SELECT id FROM episodes {where}) ORDER BY {order}"  # noqa: S608 - see above
    cursor = database.execute(f"{SELECT} {where}", asked)
    begin = 0
    while rows := cursor.fetchmany(_BATCH):
        end = begin + len(rows)
        *read, texts = zip(*rows, strict=True)
        for column, kind, each in zip(table.values(), _TYPES, read, strict=True):
            column[begin:end] = np.array(each, kind)  # None becomes NaN
        _take_values(info, texts, begin, count)
        begin = end
    keys = np.fromiter(streams, np.int64, len(streams))
    table["stream"] = np.searchsorted(keys, table["stream"])
    columns = (column[:begin] for column in table.values())
    return EpisodeTable(*columns, info={name: column[:begin] for name, column in info.items()})


def _take_values(info: dict[str, NDArray[np.float64]], texts: Sequence[str | None], begin: int, count: int) -> None:
    """Put a batch of episodes' values, as the index has them (JSON or NULL), into the columns from ``begin`` on."""
    for place, text in enumerate(texts, begin):
        for name, value in () if text is None else _items(text):
            if name not in info:
                info[name] = np.full(count, np.nan)
            info[name][place] = value


@lru_cache(1024)  # where there are only flags, there are few different ones
def _items(text: str) -> tuple[tuple[str, float], ...]:
    return tuple(json.loads(text).items())


def _behind(parts: Sequence[tuple[int, Mapping[str, NDArray[np.float64]]]]) -> dict[str, NDArray[np.float64]]:
    """Put the values of several tables one behind the other; each part is its number of episodes and its columns."""
    names = dict.fromkeys(name for _, info in parts for name in info)
    return {
        name: np.concatenate([info[name] if name in info else np.full(size, np.nan) for size, info in parts])
        for name in names
    }


def _known(values: Mapping[str, NDArray[np.float64]]) -> dict[str, NDArray[np.float64]]:
    """The columns in which any episode has a value."""
    return {name: column for name, column in values.items() if not np.isnan(column).all()}


def no_episodes() -> EpisodeTable:
    """An empty table."""
    return EpisodeTable(*(np.empty(0, kind) for kind in _TYPES))


def joined(one: EpisodeTable, later: EpisodeTable) -> EpisodeTable:
    """Both tables one behind the other."""
    columns = map(np.concatenate, zip(one._plain(), later._plain(), strict=True))  # noqa: SLF001 - of the same class
    return EpisodeTable(*columns, info=_behind([(len(one), one.info), (len(later), later.info)]))
