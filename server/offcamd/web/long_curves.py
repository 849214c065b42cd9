"""The page's curve of a long run: made from sums over its episodes, not from all of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from offcam_runs.analysis import Axis, moving_average
from offcam_runs.blocks import BLOCK, steps_and_end, sums
from offcam_runs.episodes import Quantity, read_episodes
from offcamd.web.buckets import buckets, thinned

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from offcam_runs.analysis.statistics import Floats
    from offcam_runs.blocks import Blocks
    from offcam_runs.clip_episodes import ClipEpisodes
    from offcam_runs.streams import Stream

MOST_READ = 100_000
"""A part of a run with at most so many episodes is read and drawn as in a short run."""


@dataclass(frozen=True)
class LongCurve:
    """One curve of a long run, for one answer.

    Attributes:
        database: the run's index, in a read transaction.
        streams: of the run, see `read_streams`.
        blocks: of its episodes.
        count: how many episodes these are.
        x_name: name of its axis.
        y_name: name of its quantity.
        window: of the moving average, in episodes.
        points: how many points at most.
    """

    database: sqlite3.Connection
    streams: Mapping[int, Stream]
    blocks: Blocks
    count: int
    x_name: Axis
    y_name: str
    window: int
    points: int

    def part(self, begin: float | None, end: float | None, clips: ClipEpisodes) -> dict[str, Any] | None:
        """The part of the curve between two places of the axis; None if no episode has such a value.

        A part with more than `MOST_READ` episodes begins and ends at the borders of blocks.
        """
        if self.y_name not in get_args(Quantity) and not self._sums[:, 0].any():
            return None
        ends = self._ends
        first = 0 if begin is None else int(np.searchsorted(ends, begin, side="left")) * BLOCK
        last = ends.size if end is None else int(np.searchsorted(ends, end, side="right")) + 1
        behind = max(first, min(last * BLOCK, self.count))
        if behind - first > MOST_READ:
            found = self._of_blocks(first, behind)
        else:
            found, first, behind = self._read(first, behind, begin, end)
        return {**found, "recorded": self._recorded(clips, first, behind)}

    @cached_property
    def _sums(self) -> Floats:
        return self.blocks.sums(self.database, self.y_name, self.count)

    @cached_property
    def _ends(self) -> Floats:
        return self.blocks.ends(self.database, self.x_name, self.count)

    def _read(self, first: int, behind: int, begin: float | None, end: float | None) -> tuple[dict[str, Any], int, int]:
        """The curve of so few episodes that they can be read, exactly between two places; and which these are."""
        lead = min(first, self.window)
        asked = {"begin": self.blocks.before + first - lead, "end": self.blocks.before + behind}
        episodes = read_episodes(self.database, self.streams, "id > :begin AND id <= :end", asked)
        known = self.y_name in get_args(Quantity) or self.y_name in episodes.info
        y = np.array(episodes.column(self.y_name) if known else np.full(len(episodes), np.nan), np.float64)
        y[~np.isfinite(y)] = np.nan
        average, y, own = moving_average(y, self.window)[lead:], y[lead:], episodes[lead:]
        seconds = own.ended - self.blocks.began
        before = self._ends[first // BLOCK - 1] if first else None
        if self.x_name == "episode":
            x = np.arange(first, first + y.size, dtype=np.float64)
        elif self.x_name == "step":
            x = (before or 0.0) + np.cumsum(own.length, dtype=np.float64)
        else:
            seconds = np.where(np.isfinite(seconds), seconds, 0.0)
            x = np.maximum.accumulate(seconds if before is None else np.maximum(seconds, before))
        low = 0 if begin is None else int(np.searchsorted(x, begin, side="left"))
        high = x.size if end is None else int(np.searchsorted(x, end, side="right"))
        part = slice(low, max(low, high))
        found = buckets(own.number[part], x[part], y[part], average[part], self.points)
        return found, first + part.start, first + part.stop

    def _of_blocks(self, first: int, behind: int) -> dict[str, Any]:
        """The curve of whole blocks, several in each bucket if necessary."""
        low, high = first // BLOCK, -(-behind // BLOCK)
        size = max(1, -(-(high - low) // self.points))
        starts = np.arange(low, high, size)
        stops = np.minimum(starts + size, high)
        count, total, least, most = self._sums[low:high].T
        with np.errstate(all="ignore"):  # 0/0 in a bucket without a finite value, overflow: in JSON both are null
            mean = np.add.reduceat(total, starts - low) / np.add.reduceat(count, starts - low)
        firsts, behinds = starts * BLOCK, np.minimum(stops * BLOCK, behind)
        x_firsts, x_lasts = self._x(firsts), self._ends[stops - 1]
        return {
            "total": behind - first,
            "decimated": True,
            "first": (firsts + self.blocks.before).tolist(),
            "count": (behinds - firsts).tolist(),
            "xs": (x_firsts + (x_lasts - x_firsts) / 2).tolist(),
            "mean": mean.tolist(),
            "min": np.fmin.reduceat(least, starts - low).tolist(),
            "max": np.fmax.reduceat(most, starts - low).tolist(),
            "average": [self._average(end) for end in behinds.tolist()],
        }

    def _average(self, end: int) -> float:
        """The moving average up to the episode before ``end``."""
        if end < self.window:
            return np.nan
        begin, before = end - self.window, self.blocks.before
        whole = -(-begin // BLOCK)  # the first block that lies wholly in the window
        edge = min(whole * BLOCK, end)
        count, total, *_ = sums(self.database, self.y_name, before + begin, before + edge)
        inner = self._sums[whole : -(-end // BLOCK)] if edge < end else np.empty((0, 4))
        count, total = count + inner[:, 0].sum(), total + inner[:, 1].sum()
        return float(total / count) if count else np.nan

    def _x(self, places: NDArray[np.int64]) -> Floats:
        """Where episodes stand on the axis, by their order of arrival in the run, from 0."""
        if self.x_name == "episode":
            return places.astype(np.float64)
        found = []
        for place in places.tolist():
            block = place // BLOCK
            begin, end = self.blocks.before + block * BLOCK, self.blocks.before + place + 1
            steps, seconds = steps_and_end(self.database, begin, end, self.blocks.began)
            if self.x_name == "step":
                found.append((self._ends[block - 1] if block else 0.0) + steps)
            else:
                found.append(max(seconds, self._ends[block - 1]) if block else seconds)
        return np.array(found, np.float64)

    def _recorded(self, clips: ClipEpisodes, first: int, behind: int) -> dict[str, Any]:
        """The recorded episodes (those that a clip shows) of a part, see `thinned`."""
        arrived = clips.episodes.number - self.blocks.before
        places = thinned(np.flatnonzero((clips.shown >= 0) & (arrived >= first) & (arrived < behind)))
        known = self.y_name in get_args(Quantity) or self.y_name in clips.episodes.info
        y = clips.episodes.column(self.y_name) if known else np.full(len(clips.episodes), np.nan)
        return {
            "keys": [clips.clips[clip].key for clip in clips.shown[places]],
            "reasons": [clips.clips[clip].keep_reason for clip in clips.shown[places]],
            "numbers": clips.episodes.number[places].tolist(),
            "xs": self._x(arrived[places]).tolist(),
            "ys": np.asarray(y, np.float64)[places].tolist(),
        }
