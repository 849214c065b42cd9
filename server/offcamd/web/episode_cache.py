"""The episodes of the runs that are looked at: read once, then only what is new."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from offcam_proto.errors import RunFolderError
from offcam_runs.blocks import Blocks
from offcam_runs.clip_episodes import ClipEpisodes, Spans
from offcam_runs.episodes import EpisodeTable, joined, no_episodes, read_episodes
from offcam_runs.long_clips import LongClips
from offcam_runs.long_run import Extent, long_extent
from offcam_runs.pending import committed
from offcam_runs.streams import Stream, began, read_streams
from offcamd.web.lru import LruCache
from offcamd.web.reading import reading

if TYPE_CHECKING:
    import sqlite3
    from pathlib import Path

    from offcam_runs.clip_episodes import ClipSpan


MOST_BYTES = 64 << 20
"""Most episodes that are kept, of all runs together, at 74 bytes each; those of one run are always kept."""

MOST_AHEAD = 8
"""Most runs that wait to be read ahead; the latest are kept."""


@dataclass
class _Kept:
    """What the cache has of one run, or of some of its sessions. ``lock`` guards all of it."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    first_stream: str = ""
    episodes: EpisodeTable = field(default_factory=no_episodes)
    clips: ClipEpisodes | None = None
    spans: Spans = field(default_factory=Spans)
    blocks: Blocks | None = None
    long_clips: LongClips = field(default_factory=LongClips)
    extent: Extent | None = None

    def renew(self, streams: Mapping[int, Stream]) -> None:
        """Forget everything if the folder was emptied and used again, which shows in its first stream."""
        first = next((stream.stream for stream in streams.values()), "")
        if first != self.first_stream:
            self.first_stream, self.episodes = first, no_episodes()
            self.clips = self.blocks = self.extent = None
            self.long_clips = LongClips()


class EpisodeCache:
    """Keeps the episodes of the runs that were last asked for. Thread-safe."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._runs: LruCache[tuple[Path, frozenset[int]], _Kept] = LruCache(
            most_bytes, lambda kept: kept.episodes.nbytes
        )

    def get(self, folder: Path, database: sqlite3.Connection, streams: Mapping[int, Stream]) -> EpisodeTable:
        """The episodes of a run as its index is at this moment, in order of arrival.

        Args:
            folder: of the run.
            database: its index, in a read transaction.
            streams: all streams in it, or those of a session.
        """
        kept = self._runs.get(_key(folder, streams), _Kept)
        with kept.lock:
            episodes = _up_to_date(kept, database, streams)
        self._runs.trim()
        return episodes

    def clips(
        self,
        folder: Path,
        database: sqlite3.Connection,
        streams: Mapping[int, Stream],
        *,
        only: ClipSpan | None = None,
    ) -> ClipEpisodes:
        """The same, with the clips that show them; for a long run, only episodes that clips show.

        Args:
            folder: as in `get`.
            database: likewise.
            streams: likewise.
            only: the clip whose `ClipEpisodes.episodes_of` is wanted, if nothing else is.
        """
        kept = self._runs.get(_key(folder, streams), _Kept)
        if (extent := long_extent(database)) is not None:
            return _clips_of_long(kept, database, streams, extent, only)
        episodes = self.get(folder, database, streams)
        with kept.lock:
            spans = kept.spans.read(database, streams) if only is None else None
            if kept.clips is None or kept.clips.episodes is not episodes or spans not in (None, kept.clips.clips):
                kept.clips = ClipEpisodes(episodes, spans or [])
            return kept.clips

    def blocks(self, folder: Path, streams: Mapping[int, Stream], extent: Extent) -> Blocks:
        """Sums over the episodes of a long run; ``extent`` says which these are."""
        kept = self._runs.get(_key(folder, streams), _Kept)
        with kept.lock:
            kept.renew(streams)
            if kept.blocks is None or kept.blocks.before != extent.before:
                kept.blocks = Blocks(extent.before, began(streams.values()))
            return kept.blocks


class ReadAhead:
    """Reads runs' episodes ahead, the latest run first, on a thread that ends after the last of them.

    Args:
        cache: the cache to read them into.
    """

    def __init__(self, cache: EpisodeCache) -> None:
        self._cache = cache
        self._lock = threading.Lock()
        self._waiting: deque[Path] = deque(maxlen=MOST_AHEAD)
        self._reading = False

    def add(self, folder: Path) -> None:
        """Have a run read ahead. On any thread; returns at once."""
        with self._lock:
            self._waiting.append(folder)
            if self._reading:
                return
            self._reading = True
        threading.Thread(target=self._read, name="offcam-ahead", daemon=True).start()

    def _read(self) -> None:
        while (folder := self._next()) is not None:
            # whoever asks for the run is told what is wrong with it
            with contextlib.suppress(RunFolderError), reading(folder) as database:
                if long_extent(database) is None:
                    self._cache.get(folder, database, read_streams(database))

    def _next(self) -> Path | None:
        with self._lock:
            self._reading = bool(self._waiting)
            return self._waiting.pop() if self._waiting else None


def _key(folder: Path, streams: Mapping[int, Stream]) -> tuple[Path, frozenset[int]]:
    """Identifies a run and the sessions of it that are shown."""
    return folder, frozenset(stream.session for stream in streams.values())


def _clips_of_long(
    kept: _Kept,
    database: sqlite3.Connection,
    streams: Mapping[int, Stream],
    extent: Extent,
    only: ClipSpan | None,
) -> ClipEpisodes:
    with kept.lock:
        kept.renew(streams)
        kept.episodes = no_episodes()  # from when the run was short: not used any more, and large
        if only is not None:
            return kept.long_clips.read(database, streams, [only])
        spans = kept.spans.read(database, streams)
        if kept.clips is None or extent != kept.extent or spans != kept.clips.clips:
            kept.extent, kept.clips = extent, kept.long_clips.read(database, streams, spans)
        return kept.clips


def _up_to_date(kept: _Kept, database: sqlite3.Connection, streams: Mapping[int, Stream]) -> EpisodeTable:
    last = committed(database)
    kept.renew(streams)
    numbers = kept.episodes.number
    had = int(numbers[-1]) + 1 if numbers.size else 0
    before = kept.episodes
    if last < had:  # this thread's transaction is older than the one that was cached: rows are never removed
        before = kept.episodes[: int(np.searchsorted(numbers, last))]
    elif last > had:
        new = read_episodes(database, streams, "id > :had AND id <= :last", {"had": had, "last": last})
        before = kept.episodes = joined(kept.episodes, new)
    (behind,) = database.execute("SELECT ifnull(max(id), 0) FROM episodes").fetchone()
    if behind == last:
        return before
    pending = read_episodes(database, streams, "id > :last", {"last": last})  # not cached: their order may change
    return joined(before, pending)
