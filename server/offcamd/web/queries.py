"""Pages of a run's episodes and clips, read from its index while whoever records writes it."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np

from offcam_runs import format as fmt
from offcam_runs.clip_episodes import ShownClip, episodes_of, showable, shown
from offcam_runs.clips import select_clips
from offcamd.web.reading import NotHere, reading

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from offcam_runs.clips import ClipItem
    from offcamd.web.episode_cache import ColumnCache, Columns
    from offcamd.web.params import Query

MOST_ROWS = 1000
"""Rows of a page."""

MOST_OFFSET = 2**53

_CSV_ROWS = 5000
_KEY = re.compile(r"([0-9a-f]{1,64})-(0|[1-9]\d{0,18})")
_EPISODE_ORDER = {
    "arrival": "id",
    "episode": "stream_id {0}, episode {0}, id",
    "return": "return {0}, id",
    "length": "length {0}, id",
    "duration": "duration {0}, id",
}
_EPISODES = """
SELECT id, stream_id, env_index, episode, return, length, duration, started, terminated, truncated, seed FROM episodes
"""
_COLUMNS = (
    *("number", "stream", "env_index", "episode", "return", "length", "duration_seconds", "started"),
    *("terminated", "truncated", "seed"),
)


# --- episodes -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Filter:
    """Which episodes are wanted, as SQL and the values for its question marks."""

    condition: str
    values: tuple[object, ...]

    @classmethod
    def of(cls, query: Query) -> Filter:
        """From a request's values. Raises BadQuery."""
        terms: list[tuple[str, object]] = []
        if stream := query.hexadecimal("stream"):
            terms.append(("stream_id IN (SELECT id FROM streams WHERE stream = ?)", stream))
        for name, column in (
            ("env_index", "env_index ="),
            ("terminated", "terminated ="),
            ("truncated", "truncated ="),
        ):
            value = query.integer(name, None, 0, 2**31) if name == "env_index" else query.boolean(name)
            if value is not None:
                terms.append((f"{column} ?", int(value)))
        for name, column in (("min_return", "return >="), ("max_return", "return <=")):
            limit = query.number(name)
            if limit is not None:
                terms.append((f"{column} ?", limit))
        return cls(" AND ".join(term for term, _ in terms) or "TRUE", tuple(value for _, value in terms))


def episodes_page(folder: Path, query: Query, cache: ColumnCache) -> dict[str, Any]:
    """One page of a run's episodes, see ``GET /api/runs/{id}/episodes``. Raises BadQuery and what `reading` does."""
    sort = query.choice("sort", tuple(_EPISODE_ORDER))
    direction = query.choice("order", ("asc", "desc")).upper()
    offset, limit = query.whole("offset", 0, 0, MOST_OFFSET), query.whole("limit", 100, 1, MOST_ROWS)
    chosen = Filter.of(query)
    order = f"{_EPISODE_ORDER[sort].format(direction)} {direction}"
    with reading(folder) as database:
        (total,) = database.execute(
            f"SELECT count(*) FROM episodes WHERE {chosen.condition}",  # noqa: S608 - of our own words
            chosen.values,
        ).fetchone()
        rows = database.execute(
            f"{_EPISODES} WHERE {chosen.condition} ORDER BY {order} LIMIT ? OFFSET ?",
            (*chosen.values, limit, offset),
        ).fetchall()
        listed = _with_clips(database, rows, cache.get(folder, database))
    return {"total": total, "offset": offset, "episodes": listed}


def _with_clips(database: sqlite3.Connection, rows: list[tuple[Any, ...]], columns: Columns) -> list[dict[str, Any]]:
    """Episodes as the API shows them, each with the clip that shows it."""
    streams = _streams(database)
    clips = showable(database)
    found = shown(columns, clips)
    places = np.searchsorted(columns["id"], [row[0] for row in rows]) if rows else ()
    listed = []
    for row, place in zip(rows, places, strict=True):
        clip = clips[found[place]] if found[place] >= 0 else None
        listed.append({**_episode(row, streams), "clip": None if clip is None else clip_key(streams, clip)})
    return listed


def _streams(database: sqlite3.Connection) -> dict[int, str]:
    return dict(database.execute("SELECT id, stream FROM streams"))


def _episode(row: Sequence[Any], streams: dict[int, str]) -> dict[str, Any]:
    values = [row[0] - 1, streams.get(row[1], ""), *row[2:8], bool(row[8]), bool(row[9]), row[10]]
    return dict(zip(_COLUMNS, values, strict=True))


def episodes_csv(folder: Path) -> Iterator[str]:
    """All episodes as CSV, a header first, in pieces; each piece is of the index as it is then.

    Raises:
        RunFolderError: see `reading`; before the first piece if it cannot be read at all.
    """
    last, text = 0, io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    while True:
        with reading(folder) as database:
            streams = _streams(database)
            rows = database.execute(f"{_EPISODES} WHERE id > ? ORDER BY id LIMIT ?", (last, _CSV_ROWS)).fetchall()
        writer.writerows([_cell(value) for value in _episode(row, streams).values()] for row in rows)
        yield text.getvalue()
        if len(rows) < _CSV_ROWS:
            return
        last = rows[-1][0]
        text.seek(0)
        text.truncate()


def _cell(value: object) -> object:
    """A value as spreadsheets may have it: a client's text is no formula."""
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value


# --- clips --------------------------------------------------------------------------------------------------


def clip_key(streams: dict[int, str], clip: ShownClip) -> str:
    """The name of a clip in URLs."""
    return f"{streams[clip.stream_id]}-{clip.clip}"


def clips_page(folder: Path, run: str, query: Query) -> dict[str, Any]:
    """One page of a run's clips, see ``GET /api/runs/{id}/clips``. Raises BadQuery and what `reading` does."""
    sort = query.choice("sort", ("newest", "oldest", "return", "length", "episode"))
    direction = query.choice("order", ("desc", "asc")).upper()
    offset, limit = query.whole("offset", 0, 0, MOST_OFFSET), query.whole("limit", 100, 1, MOST_ROWS)
    state = query.choice("state", ("", fmt.RECORDING, fmt.FINAL, fmt.ABORTED, fmt.RECOVERED))
    text = query.text("q").casefold()
    order = {
        "newest": "place DESC",
        "oldest": "place",
        "return": f"return IS NULL, return {direction}, place",
        "length": f"steps IS NULL, steps {direction}, place",
        "episode": f"episode {direction}, place {direction}",
    }[sort]
    condition = "(? = '' OR state = ?) AND (? = '' OR instr(lower(name || ' ' || ifnull(file, '')), ?) > 0)"
    values = (state, state, text, text)
    with reading(folder) as database:
        (total,) = database.execute(
            f"SELECT count(*) FROM clips WHERE {condition} AND state != ?",  # noqa: S608 - of our own words
            (*values, fmt.REPLACED),
        ).fetchone()
        clips = select_clips(database, condition, values, order=order, limit=limit, offset=offset)
    return {"total": total, "offset": offset, "clips": [clip_dict(run, clip) for clip in clips]}


def clip_dict(run: str, clip: ClipItem) -> dict[str, Any]:
    """A clip as the API shows it."""
    key = f"{clip.stream}-{clip.clip}"
    watchable = clip.file is not None and clip.state != fmt.RECORDING
    url = f"/api/runs/{quote(run)}/clips/{key}"
    return {
        "key": key,
        "stream": clip.stream,
        "name": clip.name,
        "part": clip.part,
        "file": clip.file,
        "state": clip.state,
        "frames": clip.frames,
        "fps": clip.fps,
        "width": clip.width,
        "height": clip.height,
        "duration_seconds": clip.duration_seconds,
        "episode": clip.episode,
        "step": clip.step,
        "return": fmt.json_number(clip.return_),
        "length": clip.length,
        "dropped": clip.dropped,
        "partial": clip.partial,
        "started": fmt.json_number(clip.started),
        "file_bytes": clip.file_bytes,
        "error": clip.error,
        "video": f"{url}/video" if watchable else None,
        "poster": f"{url}/poster" if watchable else None,
    }


def find_clip(database: sqlite3.Connection, key: str) -> ClipItem:
    """A clip by its key.

    Raises:
        NotHere: there is none.
    """
    match = _KEY.fullmatch(key)
    if match and int(match[2]) < 2**63:
        clips = select_clips(database, "stream = ? AND clip = ?", (match[1], int(match[2])))
        if clips:
            return clips[0]
    raise NotHere(f"there is no clip {key[:100]!r} in this run: GET /api/runs/ID/clips lists those there are")


def clip_detail(folder: Path, run: str, key: str, cache: ColumnCache) -> dict[str, Any]:
    """A clip, with the episodes it shows. Raises NotHere and what `reading` does."""
    with reading(folder) as database:
        clip = find_clip(database, key)
        streams = _streams(database)
        (stream,) = (number for number, name in streams.items() if name == clip.stream)
        span = ShownClip(stream, clip.clip, clip.name, clip.episode, clip.step, clip.length or 0, clip.started)
        columns = cache.get(folder, database)
        wanted = columns["id"][episodes_of(columns, span)].astype(np.int64).tolist()
        rows = _episodes_by_id(database, wanted[:MOST_ROWS])
    listed = [{**_episode(row, streams), "clip": key} for row in rows]
    return {**clip_dict(run, clip), "episodes": listed}


def _episodes_by_id(database: sqlite3.Connection, ids: list[int]) -> list[tuple[Any, ...]]:
    return [row for number in ids for row in database.execute(f"{_EPISODES} WHERE id = ?", (number,))]


def nearest(folder: Path, run: str, query: Query, cache: ColumnCache) -> dict[str, Any]:
    """An episode by its number of arrival, and the clip that shows it, or that of the nearest recorded one.

    Raises:
        BadQuery: there is no such number.
        NotHere: there is no such episode.
    """
    number = query.integer("number", None, 0, MOST_OFFSET)
    with reading(folder) as database:
        columns = cache.get(folder, database)
        numbers = columns.number
        place = int(np.searchsorted(numbers, -1 if number is None else number))
        if number is None or place == len(columns) or numbers[place] != number:
            last = f"the last one is {int(numbers[-1])}" if len(columns) else "none has ended yet"
            raise NotHere(f"there is no episode number {number}: give its order of arrival from 0 on; {last}")
        clips, streams = showable(database), _streams(database)
        found = shown(columns, clips)
        recorded = np.flatnonzero(found >= 0)
        near = recorded[np.argmin(np.abs(recorded - place))] if recorded.size else None
        (episode,) = _with_clips(database, _episodes_by_id(database, [number + 1]), columns)
        clip = None if near is None else find_clip(database, clip_key(streams, clips[found[near]]))
    return {
        "episode": episode,
        "clip": None if clip is None else clip_dict(run, clip),
        "exact": bool(near is not None and near == place),
        "distance": None if near is None else abs(int(near) - place),
    }
