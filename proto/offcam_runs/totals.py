"""Totals of a run's episodes: the index keeps them up to some episode, and readers count on from there.

So they cost the same for a long run as for a short one, and are the same to the last digit for all readers.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from offcam_runs.format import TOTALS_KEY, real_from_sql
from offcam_runs.running import RECENT, EpisodeTotals, RunningStats, recent_episodes

if TYPE_CHECKING:
    import sqlite3
    from collections import deque

KEEP_EPISODES: Final = 1000
"""After so many new episodes the index is given the totals anew."""

RECENT_STREAMS: Final = 100
"""For so many of the latest streams, the last episodes are read again when a run is opened to be written."""

_NUMBERS = ("steps", "non_finite", "timed_steps")
_STATS = ("returns", "lengths", "durations")

_KEPT = """
SELECT stream, value, session FROM meta JOIN streams ON stream = substr(key, 1 + length(:begin))
WHERE key > :begin AND key < :end
"""
_KEEP = "INSERT OR REPLACE INTO meta (key, value) VALUES (:key, :value)"
_LATER = """
SELECT episodes.id, stream, return, length, duration, session
FROM episodes CROSS JOIN streams ON streams.id = stream_id
WHERE episodes.id > :last ORDER BY episodes.id LIMIT :most
"""
_RECENT = "SELECT return, length FROM episodes WHERE id <= :last ORDER BY id DESC LIMIT :most"
# Beginning with the session's first episode: there may be many before it.
_RECENT_OF_SESSION = """
WITH own AS (SELECT id FROM streams WHERE session = :session)
SELECT return, length FROM episodes
WHERE id BETWEEN
        (SELECT min((SELECT id FROM episodes WHERE stream_id = own.id ORDER BY seq LIMIT 1)) FROM own)
        AND :last
    AND +stream_id IN (SELECT id FROM own)
ORDER BY id DESC LIMIT :most
"""
_RECENT_OF_STREAM = """
SELECT return, length FROM episodes
WHERE stream_id = (SELECT id FROM streams WHERE stream = :stream) AND +id <= :last ORDER BY seq DESC LIMIT :most
"""


@dataclass(slots=True)
class RunTotals:
    """Statistics of a run's episodes up to one of them. Not thread-safe.

    Attributes:
        last: id of the latest episode that is included, 0 for none.
        streams: the totals of each stream, by its id in hexadecimal digits.
        session: number of the newest session, which `total` and ``recent`` are of; None for all streams that can be
            seen, as through the views of a chosen session.
        recent: return and length of the last `RECENT` episodes, in order of arrival.
    """

    last: int = 0
    streams: dict[str, EpisodeTotals] = field(default_factory=dict)
    session: int | None = None
    recent: deque[tuple[float, int]] = field(default_factory=recent_episodes)
    _lasts: dict[str, int] = field(default_factory=dict)  # the latest episode of each stream
    _sessions: dict[str, int] = field(default_factory=dict)
    _kept: int = 0  # the latest episode in the totals that the index keeps

    @classmethod
    def kept(cls, database: sqlite3.Connection, *, newest: bool = False) -> RunTotals:
        """The totals that an index keeps, which may lack its latest episodes.

        Args:
            database: an open index of this version.
            newest: whether to count only the newest session, and to turn to a newer one when that begins.
        """
        session = newest_session(database) if newest else None
        found = cls(session=session)
        with suppress(ValueError, TypeError, LookupError):  # totals that another program has changed are of no use
            found._load(database)
            return found
        return cls(session=session)

    def _load(self, database: sqlite3.Connection) -> None:
        begin = f"{TOTALS_KEY}:"
        for stream, value, session in database.execute(_KEPT, {"begin": begin, "end": f"{TOTALS_KEY};"}):
            entry: dict[str, Any] = json.loads(value)
            self._sessions[stream] = session
            self._lasts[stream] = entry.pop("last")
            entry.update((name, RunningStats(*entry[name])) for name in _STATS)
            self.streams[stream] = EpisodeTotals(**entry)
        self.last = self._kept = max(self._lasts.values(), default=0)
        query = _RECENT if self.session is None else _RECENT_OF_SESSION
        self.recent.extend(_episodes(database, query, last=self.last, session=self.session))

    def load_recent(self, database: sqlite3.Connection) -> None:
        """Read the last episodes of the latest streams, of which the index keeps only totals."""
        for stream in sorted(self.streams, key=self._lasts.__getitem__)[-RECENT_STREAMS:]:
            self._load_recent(database, stream)

    def _load_recent(self, database: sqlite3.Connection, stream: str) -> None:
        self.streams[stream].recent.extend(_episodes(database, _RECENT_OF_STREAM, last=self.last, stream=stream))

    def advance(self, database: sqlite3.Connection, most: int = -1, *, of_streams: bool = True) -> bool:
        """Take in later episodes, at most ``most`` or all of them; returns whether there may be more.

        Args:
            database: the index.
            most: how many, -1 for all.
            of_streams: whether each stream's ``recent`` is wanted, too: that is a query for each that has played.
        """
        count = 0
        rows = database.execute(_LATER, {"last": self.last, "most": most})
        for count, (last, stream, return_, length, duration, session) in enumerate(rows, 1):  # noqa: B007 - the last one's
            if of_streams and stream in self.streams and not self.streams[stream].recent:
                self._load_recent(database, stream)
            self.add(stream, real_from_sql(return_), length, real_from_sql(duration), session)
            self._lasts[stream] = self.last = last
        return count == most

    def add(self, stream: str, return_: float, length: int, duration: float, session: int = 1) -> None:
        """Take in one episode of a stream, the latest of the run; see `EpisodeTotals.add`."""
        totals = self.streams.get(stream)
        if totals is None:
            totals = self.streams[stream] = EpisodeTotals()
            self._sessions[stream] = session
        totals.add(return_, length, duration)
        self.begin(session)
        if self.shows(stream):
            self.recent.append(totals.recent[-1])

    def begin(self, session: int) -> None:
        """A session has begun: totals of the newest session are of that one from now on."""
        if self.session is not None and session > self.session:
            self.session = session
            self.recent.clear()

    def shows(self, stream: str) -> bool:
        """Whether `total` includes a stream that has episodes."""
        return self.session is None or self._sessions[stream] == self.session

    @property
    def unkept(self) -> int:
        """Number of episodes since the totals that the index keeps."""
        return self.last - self._kept

    def keep(self, database: sqlite3.Connection) -> None:
        """Store the totals in the index, in the caller's transaction; call `was_kept` once that is committed."""
        for stream, last in self._lasts.items():
            if last > self._kept:
                totals = self.streams[stream]
                entry: dict[str, Any] = {"last": last, **{name: getattr(totals, name) for name in _NUMBERS}}
                for name in _STATS:
                    stats = getattr(totals, name)
                    entry[name] = (stats.count, stats.mean, stats.squares, stats.low, stats.high)
                database.execute(_KEEP, {"key": f"{TOTALS_KEY}:{stream}", "value": json.dumps(entry)})

    def was_kept(self) -> None:
        """The index has these totals now."""
        self._kept = self.last

    def total(self) -> EpisodeTotals:
        """The statistics of the run, or its newest session: its streams' merged, by their ids. The caller's own."""
        total = EpisodeTotals()
        for stream in filter(self.shows, sorted(self.streams)):
            total.merge(self.streams[stream])
        total.recent = self.recent.copy()
        return total

    def as_dict(self) -> dict[str, Any]:
        """What `total` has, as `EpisodeTotals.as_dict` has it."""
        return self.total().as_dict()


def run_totals(database: sqlite3.Connection) -> RunTotals:
    """The totals of all episodes of a run, from an open index of this version; those of streams have no ``recent``."""
    totals = RunTotals.kept(database)
    totals.advance(database, of_streams=False)
    return totals


def newest_session(database: sqlite3.Connection) -> int:
    """The number of the newest session of an open index, 0 where there is none yet."""
    return int(database.execute("SELECT ifnull(max(session), 0) FROM streams").fetchone()[0])


def _episodes(database: sqlite3.Connection, query: str, **values: object) -> list[tuple[float, int]]:
    """Return and length of the last `RECENT` episodes, the latest last."""
    rows = database.execute(query, {"most": RECENT, **values}).fetchall()
    return [(real_from_sql(return_), length) for return_, length in reversed(rows)]
