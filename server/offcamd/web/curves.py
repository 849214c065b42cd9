"""Learning curves as the page draws them: no more points than it asks for, of one run or of several as one."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from offcam_runs.analysis import Curve, align, bootstrap_interval, center, moving_average
from offcam_runs.clip_episodes import showable, shown
from offcamd.web.queries import clip_key
from offcamd.web.reading import reading

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence
    from pathlib import Path

    from offcam_runs.clip_episodes import ShownClip
    from offcamd.web.episode_cache import ColumnCache, Columns, Floats
    from offcamd.web.params import Query

MOST_POINTS = 10_000
MOST_GROUP_POINTS = 2_000
MOST_WINDOW = 100_000
MOST_RUNS = 64

MOST_RECORDED = 500
"""Marks of recorded episodes on a curve; more could not be told apart."""

CONFIDENCE = 0.95

RESAMPLES = 1000
"""Of the bootstrap of many runs: a fifth of what `offcam plot` takes, so that the page need not wait."""

_X = ("episode", "step", "time")
_Y = ("return", "length", "duration")


def curve(folder: Path, query: Query, cache: ColumnCache) -> str:
    """One run's curve, see ``GET /api/runs/{id}/curve``, as JSON text. Raises BadQuery and what `reading` does."""
    x_name, y_name = query.choice("x", _X), query.choice("y", _Y)
    points, window = query.whole("points", 2000, 1, MOST_POINTS), query.whole("window", 100, 1, MOST_WINDOW)
    begin, end = query.number("from"), query.number("to")
    with reading(folder) as database:
        columns = cache.get(folder, database)
        x = _axis(columns, x_name, _began(database))
        clips, streams = showable(database), dict(database.execute("SELECT id, stream FROM streams"))
    y = _finite(columns[y_name])
    average = moving_average(y, window)
    first = 0 if begin is None else int(np.searchsorted(x, begin, side="left"))
    behind = x.size if end is None else int(np.searchsorted(x, end, side="right"))
    part = slice(first, max(first, behind))
    return json.dumps(
        {
            "x": x_name,
            "y": y_name,
            "window": window,
            **_buckets(columns.number[part], x[part], y[part], average[part], points),
            "recorded": _recorded(columns, part, x, y, clips, streams),
        },
        allow_nan=False,
    )


def group(folders: Sequence[Path], query: Query, cache: ColumnCache) -> str:
    """Several runs as one, see ``GET /api/group``, as JSON text. Raises BadQuery and what `reading` does.

    At each point of the axis every run has its moving average by then; the interval is of the interquartile mean.
    """
    x_name, y_name = query.choice("x", _X), query.choice("y", _Y)
    points, window = query.whole("points", 500, 1, MOST_GROUP_POINTS), query.whole("window", 100, 1, MOST_WINDOW)
    curves = []
    for folder in folders:
        with reading(folder) as database:
            columns = cache.get(folder, database)
            curves.append(Curve(_axis(columns, x_name, _began(database)), _finite(columns[y_name])))
    aligned = align(curves, window=window, points=points)
    low, high = bootstrap_interval(aligned.values, "iqm", confidence=CONFIDENCE, resamples=RESAMPLES)
    return json.dumps(
        {
            "x": x_name,
            "y": y_name,
            "window": window,
            "interval": CONFIDENCE,
            "runs": len(aligned.runs),
            "xs": _numbers(aligned.x),
            "mean": _numbers(center(aligned.values, "mean")),
            "iqm": _numbers(center(aligned.values, "iqm")),
            "low": _numbers(low),
            "high": _numbers(high),
        },
        allow_nan=False,
    )


def _began(database: sqlite3.Connection) -> float:
    (began,) = database.execute("SELECT min(started) FROM streams").fetchone()
    return 0.0 if began is None else float(began)


def _axis(columns: Columns, name: str, began: float) -> Floats:
    """(n,) where each episode is on an axis, ascending: its number, steps by its end, or seconds by its end."""
    if name == "episode":
        return columns.number
    if name == "step":
        steps: Floats = np.cumsum(columns["length"])
        return steps
    seconds = np.nan_to_num(columns.ended - began, nan=0.0, posinf=0.0, neginf=0.0)
    late: Floats = np.maximum.accumulate(seconds)  # side by side they may arrive a little out of order
    return late


def _finite(values: Floats) -> Floats:
    return np.where(np.isfinite(values), values, math.nan)


def _buckets(number: Floats, x: Floats, y: Floats, average: Floats, points: int) -> dict[str, Any]:
    """Consecutive episodes together, as many in each as it takes to have no more than ``points``."""
    n = x.size
    size = max(1, -(-n // points))
    starts = np.arange(0, n, size)
    ends = np.minimum(starts + size, n) - 1
    there = np.isfinite(y)
    if n:
        with np.errstate(all="ignore"):  # a bucket without a number has no mean; a huge sum none that JSON has
            mean = np.add.reduceat(np.where(there, y, 0.0), starts) / np.add.reduceat(there.astype(float), starts)
        low, high = np.fmin.reduceat(y, starts), np.fmax.reduceat(y, starts)
    else:
        mean = low = high = y
    return {
        "total": n,
        "decimated": size > 1,
        "first": number[starts].astype(np.int64).tolist(),
        "count": (ends - starts + 1).tolist(),
        "xs": _numbers(x[starts] + (x[ends] - x[starts]) / 2),
        "mean": _numbers(mean),
        "min": _numbers(low),
        "max": _numbers(high),
        "average": _numbers(average[ends]),
    }


def _recorded(
    columns: Columns, part: slice, x: Floats, y: Floats, clips: list[ShownClip], streams: dict[int, str]
) -> dict[str, Any]:
    """The episodes in a part of the run that a clip shows, evenly thinned where they are many."""
    found = shown(columns, clips)
    places = np.flatnonzero(found[part] >= 0) + part.start
    if places.size > MOST_RECORDED:
        places = places[np.linspace(0, places.size - 1, MOST_RECORDED).astype(np.intp)]
    return {
        "keys": [clip_key(streams, clips[found[place]]) for place in places],
        "numbers": columns.number[places].astype(np.int64).tolist(),
        "xs": _numbers(x[places]),
        "ys": _numbers(y[places]),
    }


def _numbers(values: Floats) -> list[float | None]:
    """For JSON: None for what is not finite."""
    listed: list[float | None] = np.where(np.isfinite(values), values, None).tolist()  # type: ignore[call-overload]  # an array of objects
    return listed
