"""The episodes of a run as columns, read once and then only what is new."""

from __future__ import annotations

import contextlib
import threading
from collections import OrderedDict, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from offcam_proto.errors import RunFolderError
from offcamd.web.reading import reading

if TYPE_CHECKING:
    import sqlite3
    from pathlib import Path

    from offcam_runs.clip_episodes import ShownClip

Floats = NDArray[np.float64]
Places = NDArray[np.intp]

MOST_BYTES = 64 << 20
"""Columns of all runs that are kept, one run at least: 64 bytes an episode."""

MOST_AHEAD = 8
"""Runs that wait to be read before they are asked for; of more, the latest."""

_FETCH = 2_000  # rows at a time: few enough to stay in the processor's cache until they are numbers
_NAMES = ("id", "stream_id", "env_index", "episode", "length", "return", "duration", "started")
_NEW = f"SELECT {', '.join(_NAMES)} FROM episodes WHERE id > ? ORDER BY id"  # noqa: S608 - from the line above


@dataclass(frozen=True, slots=True)
class Chain:
    """Episodes of one sub-environment, in order of their numbers.

    Attributes:
        places: (n,) where they are among all.
        numbers: (n,) their numbers.
        steps: (n,) steps up to the end of each.
        ended: (n,) when each ended, in seconds since the epoch.
    """

    places: Places
    numbers: Floats
    steps: Floats
    ended: Floats


@dataclass
class Columns:
    """All episodes in order of arrival. Read-only, of any thread.

    Attributes:
        table: (n, 8) float64, whole numbers up to 2^53 exact. NaN where the index has none.
        shown_before: clips, and which of them shows each episode; kept by `offcam_runs.clip_episodes`.
    """

    table: Floats
    shown_before: tuple[list[ShownClip], Places] | None = None
    _chains: dict[int, Chain] = field(default_factory=dict)
    _others: dict[int, Places] = field(default_factory=dict)

    def __len__(self) -> int:
        """Number of episodes."""
        return int(self.table.shape[0])

    def __getitem__(self, name: str) -> Floats:
        """(n,) a column of ``episodes`` by its name there."""
        column: Floats = self.table[:, _NAMES.index(name)]
        return column

    @property
    def number(self) -> Floats:
        """(n,) order of arrival, from 0."""
        return self["id"] - 1

    @property
    def ended(self) -> Floats:
        """(n,) when each ended, in seconds since the epoch."""
        return self["started"] + np.nan_to_num(self["duration"], nan=0.0, posinf=0.0, neginf=0.0)

    def chain(self, stream: int) -> Chain:
        """The episodes of a stream's first sub-environment."""
        if stream not in self._chains:
            places = np.flatnonzero((self["stream_id"] == stream) & (self["env_index"] == 0))
            places = places[np.argsort(self["episode"][places], kind="stable")]
            steps = np.cumsum(self["length"][places])
            self._chains[stream] = Chain(places, self["episode"][places], steps, self.ended[places])
        return self._chains[stream]

    def others(self, stream: int) -> Places:
        """Where the episodes of a stream's other sub-environments are, in order of their ends."""
        if stream not in self._others:
            places = np.flatnonzero((self["stream_id"] == stream) & (self["env_index"] > 0))
            self._others[stream] = places[np.argsort(self.ended[places], kind="stable")]
        return self._others[stream]


@dataclass
class _Kept:
    lock: threading.Lock = field(default_factory=threading.Lock)
    first_stream: str = ""
    columns: Columns = field(default_factory=lambda: Columns(np.empty((0, len(_NAMES)))))


class ColumnCache:
    """Keeps the columns of the runs that were asked for last. Of any thread."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self._runs: OrderedDict[Path, _Kept] = OrderedDict()

    def get(self, folder: Path, database: sqlite3.Connection) -> Columns:
        """The columns of a run as its index is at this moment.

        Args:
            folder: of the run.
            database: its index, in a read transaction.
        """
        with self._lock:
            kept = self._runs.setdefault(folder, _Kept())
            self._runs.move_to_end(folder)
        with kept.lock:
            columns = _up_to_date(kept, database)
        with self._lock:
            while (
                len(self._runs) > 1
                and sum(each.columns.table.nbytes for each in self._runs.values()) > self._most_bytes
            ):
                self._runs.popitem(last=False)
        return columns


class ReadAhead:
    """Reads runs' columns before somebody asks for them, the latest first, on a thread that ends with the last of them.

    Args:
        cache: where they are kept.
    """

    def __init__(self, cache: ColumnCache) -> None:
        self._cache = cache
        self._lock = threading.Lock()
        self._waiting: deque[Path] = deque(maxlen=MOST_AHEAD)
        self._reading = False

    def add(self, folder: Path) -> None:
        """Have a run read. Of any thread; returns at once."""
        with self._lock:
            self._waiting.append(folder)
            if self._reading:
                return
            self._reading = True
        threading.Thread(target=self._read, name="offcam-ahead", daemon=True).start()

    def _read(self) -> None:
        while (folder := self._next()) is not None:
            # whoever asks for it is told what is wrong with it
            with contextlib.suppress(RunFolderError), reading(folder) as database:
                self._cache.get(folder, database)

    def _next(self) -> Path | None:
        with self._lock:
            self._reading = bool(self._waiting)
            return self._waiting.pop() if self._waiting else None


def _up_to_date(kept: _Kept, database: sqlite3.Connection) -> Columns:
    first = database.execute("SELECT stream FROM streams ORDER BY id LIMIT 1").fetchone()
    (last,) = database.execute("SELECT ifnull(max(id), 0) FROM episodes").fetchone()
    identity = first[0] if first else ""
    if identity != kept.first_stream:  # the folder was emptied and used again
        kept.first_stream, kept.columns = identity, Columns(np.empty((0, len(_NAMES))))
    ids = kept.columns["id"]
    had = int(ids[-1]) if ids.size else 0
    if last < had:  # another thread looked a moment later: none is ever removed
        return Columns(kept.columns.table[: np.searchsorted(ids, last, side="right")])
    if last > had:
        kept.columns = Columns(np.concatenate([kept.columns.table, *_new(database, had)]))
    return kept.columns


def _new(database: sqlite3.Connection, after: int) -> list[Floats]:
    cursor = database.execute(_NEW, (after,))
    parts = []
    while rows := cursor.fetchmany(_FETCH):
        parts.append(np.array(rows, np.float64))
    return parts
