"""Runs' moving averages, for curves of several runs together: worked out once, then only for what is new."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, get_args

import numpy as np

from offcam_runs.analysis import Axis, Smooth, moving_average
from offcam_runs.episodes import Quantity, read_episodes
from offcam_runs.pending import committed
from offcam_runs.streams import Stream, began
from offcamd.web.lru import LruCache

if TYPE_CHECKING:
    import sqlite3
    from pathlib import Path

    from offcam_runs.analysis.statistics import Floats
    from offcam_runs.episodes import EpisodeTable

MOST_BYTES: Final = 64 << 20
"""Most bytes that are kept, of all runs together, at 24 for each episode: a third of what its row takes."""

_NOTHING: Final = np.empty(0)


@dataclass(frozen=True)
class _Kept:
    """A run's moving average up to an episode, and what those behind it need.

    Attributes:
        first_stream: id of the run's first stream: another one means another run.
        last: ``episodes.id`` of that episode.
        known: whether any episode has the value.
        steps: of all episodes.
    """

    first_stream: str = ""
    last: int = 0
    known: bool = False
    steps: float = 0.0
    smooth: Smooth = field(default_factory=lambda: Smooth(_NOTHING, _NOTHING, _NOTHING))

    def behind(self, new: EpisodeTable, y_name: str, x_name: Axis, window: int, start: float) -> _Kept:
        """The same with further episodes; ``start`` is when the run began."""
        before, there = self.smooth, y_name in get_args(Quantity) or y_name in new.info
        y = np.array(new.column(y_name) if there else np.full(len(new), np.nan), np.float64)
        y[~np.isfinite(y)] = np.nan
        lead = before.y[max(before.y.size - window + 1, 0) :]
        average = moving_average(np.concatenate([lead, y]), window)[lead.size :]
        steps = self.steps + np.cumsum(new.length, dtype=np.float64)
        if x_name == "episode":
            x = np.arange(before.x.size, before.x.size + y.size, dtype=np.float64)
        elif x_name == "step":
            x = steps
        else:
            seconds = np.where(np.isfinite(new.ended), new.ended - start, 0.0)
            x = np.maximum.accumulate(np.concatenate([before.x[-1:], seconds]))[-seconds.size :]
        return _Kept(
            first_stream=self.first_stream,
            last=int(new.number[-1]) + 1,
            known=self.known or there,
            steps=float(steps[-1]),
            smooth=Smooth(_joined(before.x, x), _joined(before.y, y), _joined(before.average, average)),
        )


class _Place:
    """Where one is kept; ``lock`` guards it."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.kept = _Kept()


class SmoothCache:
    """Keeps the moving averages that were last asked for. Thread-safe."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._places: LruCache[tuple[object, ...], _Place] = LruCache(
            most_bytes, lambda place: 24 * place.kept.smooth.x.size
        )

    def get(
        self,
        folder: Path,
        database: sqlite3.Connection,
        streams: Mapping[int, Stream],
        *,
        y_name: str,
        x_name: Axis,
        window: int,
    ) -> Smooth | None:
        """A run's curve as its index is at this moment; None if no episode has the value, though there are some.

        Args:
            folder: of the run.
            database: its index, in a read transaction.
            streams: all streams in it, or those of a session.
            y_name: the quantity, or the value's name.
            x_name: the axis.
            window: of the moving average, in episodes.
        """
        sessions = frozenset(stream.session for stream in streams.values())
        place = self._places.get((folder, sessions, y_name, x_name, window), _Place)
        start, last = began(streams.values()), committed(database)
        first = next((stream.stream for stream in streams.values()), "")
        with place.lock:
            kept = place.kept
            if kept.first_stream != first or last < kept.last:  # another run, or this transaction is older
                kept = _Kept(first_stream=first)
            bounds = {"had": kept.last, "last": last}
            if len(new := read_episodes(database, streams, "id > :had AND id <= :last", bounds)):
                kept = kept.behind(new, y_name, x_name, window, start)
            place.kept = kept
        self._places.trim()
        pending = read_episodes(database, streams, "id > :last", {"last": last})  # not kept: their order may change
        if len(pending):
            kept = kept.behind(pending, y_name, x_name, window, start)
        return kept.smooth if kept.known or not kept.smooth.x.size else None


def _joined(before: Floats, new: Floats) -> Floats:
    return np.concatenate([before, new]) if before.size else new
