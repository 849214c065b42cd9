"""Learning curves for the page, in no more points than it asks for: of one run, or of several as one."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from offcam_proto.errors import ConfigError
from offcam_runs.analysis import Axis, Curve, align, bootstrap_interval, center, moving_average
from offcam_runs.episodes import Quantity
from offcam_runs.long_run import long_extent, long_run
from offcam_runs.pins import read_pins
from offcam_runs.streams import began, read_streams
from offcamd.web.buckets import buckets, thinned
from offcamd.web.long_curves import LongCurve
from offcamd.web.params import BadQuery
from offcamd.web.reading import AskedRun, reading

if TYPE_CHECKING:
    from collections.abc import Sequence

    from offcam_runs.clip_episodes import ClipEpisodes
    from offcam_runs.episodes import EpisodeTable
    from offcam_runs.streams import Stream
    from offcamd.web.episode_cache import EpisodeCache
    from offcamd.web.params import Query
    from offcamd.web.smooth_cache import SmoothCache

MOST_POINTS = 10_000
MOST_GROUP_POINTS = 2_000
MOST_WINDOW = 100_000
MOST_RUNS = 64

CONFIDENCE = 0.95

RESAMPLES = 1000
"""Resamples of the bootstrap over many runs: a fifth of those of `offcam plot`, so that the page need not wait."""

AXES: tuple[Axis, ...] = get_args(Axis)


def curve(asked: AskedRun, query: Query, cache: EpisodeCache) -> dict[str, Any]:
    """One run's curve, see ``GET /api/runs/{id}/curve``. Raises BadQuery and what `reading` does."""
    x_name, y_name = query.choice("x", AXES), query.text("y") or "return"
    points, window = query.whole("points", 2000, 1, MOST_POINTS), query.whole("window", 100, 1, MOST_WINDOW)
    begin, end = query.number("from"), query.number("to")
    with reading(asked.folder, asked.session) as database:
        streams = read_streams(database)
        clips = cache.clips(asked.folder, database, streams)
        if (extent := long_extent(database)) is not None:
            blocks = cache.blocks(asked.folder, streams, extent)
            long = LongCurve(
                database=database,
                streams=streams,
                blocks=blocks,
                count=extent.size,
                x_name=x_name,
                y_name=y_name,
                window=window,
                points=points,
            )
            found = long.part(begin, end, clips)
            if found is None:
                raise BadQuery(_no_value(y_name, clips.episodes.info))
            return _told(asked, {"x": x_name, "y": y_name, "window": window, **found})
    if (whole := _whole(clips.episodes, y_name, x_name, streams)) is None:
        raise BadQuery(_no_value(y_name, clips.episodes.info))
    average = moving_average(whole.y, window)
    first = 0 if begin is None else int(np.searchsorted(whole.x, begin, side="left"))
    behind = whole.x.size if end is None else int(np.searchsorted(whole.x, end, side="right"))
    part = slice(first, max(first, behind))
    return _told(
        asked,
        {
            "x": x_name,
            "y": y_name,
            "window": window,
            **buckets(clips.episodes.number[part], whole.x[part], whole.y[part], average[part], points),
            "recorded": _recorded(clips, part, whole),
        },
    )


def _told(asked: AskedRun, found: dict[str, Any]) -> dict[str, Any]:
    """A curve as the API has it: with which of its clips are pinned."""
    pins = read_pins(asked.folder)
    found["recorded"]["pinned"] = [key in pins for key in found["recorded"]["keys"]]
    return found


def group(runs: Sequence[AskedRun], query: Query, cache: SmoothCache) -> dict[str, Any]:
    """The curve of several runs together, see ``GET /api/group``. Raises BadQuery and what `reading` does.

    At each point of the axis a run counts with its latest moving average up to there. The answer has the mean and the
    interquartile mean (IQM) of these over the runs, and the IQM's bootstrap interval.
    """
    x_name, y_name = query.choice("x", AXES), query.text("y") or "return"
    points, window = query.whole("points", 500, 1, MOST_GROUP_POINTS), query.whole("window", 100, 1, MOST_WINDOW)
    curves = []
    for run in runs:
        with reading(run.folder, run.session) as database:
            if (extent := long_extent(database)) is not None:
                with contextlib.suppress(ConfigError):  # no episode of this run has the value
                    curves.append(long_run(database, run.folder, extent).smooth(y_name, x_name, window))
                continue
            streams = read_streams(database)
            found = cache.get(run.folder, database, streams, y_name=y_name, x_name=x_name, window=window)
        if found is not None:
            curves.append(found)
    if not curves:
        raise BadQuery(_no_value(y_name, ()))
    aligned = align(curves, points=points)
    low, high = bootstrap_interval(aligned.values, "iqm", confidence=CONFIDENCE, resamples=RESAMPLES)
    return {
        "x": x_name,
        "y": y_name,
        "window": window,
        "interval": CONFIDENCE,
        "runs": len(aligned.runs),
        "xs": aligned.x.tolist(),
        "mean": center(aligned.values, "mean").tolist(),
        "iqm": center(aligned.values, "iqm").tolist(),
        "low": low.tolist(),
        "high": high.tolist(),
    }


def _whole(episodes: EpisodeTable, y: str, x: Axis, streams: Mapping[int, Stream]) -> Curve | None:
    """A run's whole curve; None if no episode has such a value. A run without episodes may yet have it."""
    if len(episodes) and y not in get_args(Quantity) and y not in episodes.info:
        return None
    return episodes.curve(y if len(episodes) else "return", x, began=began(streams.values()))


def _no_value(name: str, there: Iterable[str]) -> str:
    others = ", ".join((*get_args(Quantity), *there))
    return f"y is one of {others}, got {name!r}, which no episode has"


def _recorded(clips: ClipEpisodes, part: slice, whole: Curve) -> dict[str, Any]:
    """The recorded episodes (those that a clip shows) in a part of the run, see `thinned`."""
    places = thinned(np.flatnonzero(clips.shown[part] >= 0) + part.start)
    return {
        "keys": [clips.clips[clip].key for clip in clips.shown[places]],
        "reasons": [clips.clips[clip].keep_reason for clip in clips.shown[places]],
        "numbers": clips.episodes.number[places].tolist(),
        "xs": whole.x[places].tolist(),
        "ys": whole.y[places].tolist(),
    }
