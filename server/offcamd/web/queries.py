"""Pages of a run's episodes and clips, read from its index while whoever records writes it."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

import numpy as np

from offcam_runs import format as fmt
from offcam_runs.clip_episodes import places_shown, span_of
from offcam_runs.clips import clip_keys, clip_places, read_clips
from offcam_runs.episodes import ORDERS, Episode, read_episodes
from offcam_runs.json_text import dumps
from offcam_runs.long_run import long_extent
from offcam_runs.pins import read_pins
from offcam_runs.sessions import ALL
from offcam_runs.streams import read_streams
from offcamd.web.clip_filters import LEFT, filters
from offcamd.web.episode_filters import VALUE_LIMITS, limits, value_name, wanted_episodes
from offcamd.web.episode_order import part_of
from offcamd.web.reading import NotHere, reading, reading_clips

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from offcam_runs.clip_episodes import ClipEpisodes, ClipSpan
    from offcam_runs.clips import Clip
    from offcam_runs.streams import Stream
    from offcamd.web.clip_texts import ClipTexts
    from offcamd.web.episode_cache import EpisodeCache
    from offcamd.web.episode_filters import WantedEpisodes
    from offcamd.web.params import Query
    from offcamd.web.reading import AskedRun

MOST_ROWS = 1000
"""Most rows of one page of an answer."""

MOST_OFFSET = 2**53

NO_ATTEMPT = "(file IS NOT NULL OR diverged_at IS NULL)"
"""SQL of clips other than notes that an episode differed when it was replayed."""

WATCHABLE = f"file IS NOT NULL AND state != '{fmt.RECORDING}'"

_BEGUN = """
SELECT id - 1, terminated, truncated, seed FROM episodes
WHERE stream_id = (SELECT id FROM streams WHERE stream = :stream) AND episode = :episode AND env_index = :env_index
ORDER BY id LIMIT 1
"""
_PARTS = """
SELECT clip FROM clips WHERE stream_id = (SELECT id FROM streams WHERE stream = :stream) AND name = :name
    AND file IS NOT NULL AND state NOT IN (SELECT value FROM json_each(:hidden)) ORDER BY part, clip
"""
_LEFT = f"SELECT 1 FROM streams AS own WHERE stream = :stream AND {LEFT.format(':episode', ':env_index')}"  # noqa: S608 - of our own words
_CSV_ROWS = 5000
_KEY = re.compile(r"([0-9a-f]{1,64})-(0|[1-9]\d{0,18})")
_COLUMNS = [{"return_": "return", "duration": "duration_seconds"}.get(name, name) for name in Episode._fields]


# --- episodes -----------------------------------------------------------------------------------------------


def episodes_page(asked: AskedRun, query: Query, cache: EpisodeCache) -> dict[str, Any]:
    """One page of a run's episodes, see ``GET /api/runs/{id}/episodes``. Raises BadQuery and what `reading` does."""
    sort = query.choice("sort", tuple(ORDERS))
    direction = query.choice("order", ("asc", "desc"))
    offset, limit = query.whole("offset", 0, 0, MOST_OFFSET), query.whole("limit", 100, 1, MOST_ROWS)
    wanted = wanted_episodes(query)
    with reading(asked.folder, asked.session) as database:
        streams = read_streams(database)
        of = list(streams.values())
        clips = cache.clips(asked.folder, database, streams)
        if long_extent(database) is None:
            among = wanted.among(clips.episodes, of)
            descending = direction == "desc"
            places = part_of(clips.episodes, sort, among, descending=descending, offset=offset, limit=limit)
            total, page = int(np.count_nonzero(among)), [clips.episodes[place] for place in places.tolist()]
        else:
            total = _count(database, wanted)
            order = ORDERS[sort].format(direction.upper())
            found = read_episodes(
                database, streams, wanted.condition, wanted.values, order=order, limit=limit, offset=offset
            )
            page = list(found)
    return {"total": total, "offset": offset, "episodes": [_with_clip(row, of, clips) for row in page]}


def _count(database: sqlite3.Connection, wanted: WantedEpisodes) -> int:
    where = f"WHERE {wanted.condition}" if wanted.given else ""  # SQLite knows of a whole table how many rows it has
    (count,) = database.execute(f"SELECT count(*) FROM episodes {where}", wanted.values).fetchone()  # noqa: S608 - of our own words
    return int(count)


def _with_clip(episode: Episode, streams: Sequence[Stream], clips: ClipEpisodes) -> dict[str, Any]:
    """An episode as the API shows it, with the clip that shows it."""
    found = _place_of(episode, clips)
    return _shown(episode, streams, clips, None if found is None else clips.shows(found), found)


def _shown(
    episode: Episode, streams: Sequence[Stream], clips: ClipEpisodes, clip: ClipSpan | None, place: int | None
) -> dict[str, Any]:
    """An episode as the API shows it, with a clip, and whether the clip has all of it."""
    whole = clip is not None and place is not None and clips.whole(clip, place)
    envs = streams[episode.stream].num_envs
    return {**_episode(episode, streams), "num_envs": envs, "clip": clip and clip.key, "whole": whole}


def _episode(episode: Episode, streams: Sequence[Stream]) -> dict[str, Any]:
    """An episode as the API shows it, without its clip."""
    stream = streams[episode.stream]
    return {**dict(zip(_COLUMNS, episode, strict=True)), "stream": stream.stream, "session": stream.session}


def episodes_csv(asked: AskedRun) -> Iterator[str]:
    """All episodes as CSV with a header, in pieces; each piece is of the index as it is at that time.

    Raises:
        RunFolderError: see `reading`; before the first piece if the run cannot be read at all.
    """
    last, text = 0, io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*_COLUMNS, "session"])
    while True:
        with reading(asked.folder, asked.session) as database:
            streams = read_streams(database)
            piece = read_episodes(database, streams, "id > :last", {"last": last}, limit=_CSV_ROWS)
        of = list(streams.values())
        writer.writerows([_cell(value) for value in _episode(row, of).values()] for row in piece)
        yield text.getvalue()
        if len(piece) < _CSV_ROWS:
            return
        last = piece[-1].number + 1
        text.seek(0)
        text.truncate()


def _cell(value: object) -> object:
    """A value that is safe in a spreadsheet: empty for NaN, and a client's text is never a formula."""
    if isinstance(value, dict):
        return dumps(value)
    if isinstance(value, float) and math.isnan(value):
        return None
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value


# --- clips --------------------------------------------------------------------------------------------------


class _Wanted(NamedTuple):
    """The requested clips and their order, as SQL, and the values of its parameters."""

    condition: str
    order: str
    values: dict[str, object]


def _wanted_clips(folder: Path, query: Query) -> _Wanted:
    """Parse what a request asks for. Raises BadQuery."""
    sort = query.choice("sort", ("newest", "oldest", "return", "length", "episode"))
    direction = query.choice("order", ("desc", "asc")).upper()
    state = query.choice("state", ("", fmt.RECORDING, fmt.FINAL, fmt.ABORTED, fmt.RECOVERED))
    text = query.text("q").casefold()
    order = {
        "newest": "place DESC",
        "oldest": "place",
        "return": f"return IS NULL, return {direction}, place",
        "length": f"steps IS NULL, steps {direction}, place",
        "episode": f"episode {direction}, place {direction}",
    }[sort]
    condition = (
        f"{NO_ATTEMPT} AND (:state = '' OR state = :state) AND instr(lower(name || ' ' || ifnull(file, '')), :text) > 0"
    )
    limited = limits(query)
    more, given = filters(query, folder)
    condition = " AND ".join((condition, *(VALUE_LIMITS[name] for name in limited), *more))
    return _Wanted(condition, order, {"state": state, "text": text, **limited, "value": value_name(query), **given})


def clips_page(asked: AskedRun, query: Query, texts: ClipTexts) -> dict[str, Any]:
    """One page of a run's clips, see ``GET /api/runs/{id}/clips``. Raises BadQuery and what `reading` does."""
    offset, limit = query.whole("offset", 0, 0, MOST_OFFSET), query.whole("limit", 100, 1, MOST_ROWS)
    condition, order, values = _wanted_clips(asked.folder, query)
    with reading_clips(asked.folder, asked.session) as database:
        places = clip_places(database, condition, values, order)
        part = places[offset : offset + limit]
        shown = texts.of(asked, database, part, lambda clips: _clips_shown(asked, database, clips))
    return {"total": len(places), "offset": offset, "clips": shown}


def listed_keys(asked: AskedRun) -> list[str]:
    """The keys of all clips that `clips_page` lists where nothing else is asked for. Raises what `reading` does."""
    with reading_clips(asked.folder, asked.session) as database:
        return [f"{stream}-{number}" for stream, number in clip_keys(database, NO_ATTEMPT, {}, "place DESC")]


def _clips_shown(asked: AskedRun, database: sqlite3.Connection, clips: Iterable[Clip]) -> list[dict[str, Any]]:
    """Clips as the API shows them."""
    streams = list(read_streams(database).values())
    shown, pins, run = [streams[place] for place in places_shown(streams)], read_pins(asked.folder), quote(asked.run)
    return [
        {
            **clip_dict(run, clip, shown[clip.stream], _begun(database, shown[clip.stream], clip)),
            "pin": pin._asdict() if (pin := pins.get(f"{clip.stream_id}-{clip.clip}")) else None,
        }
        for clip in clips
    ]


class _Begun(NamedTuple):
    """What is known of the episode with which a clip begins; nothing before it has ended."""

    number: int | None = None
    terminated: bool | None = None
    truncated: bool | None = None
    seed: int | str | None = None
    unfinished: bool = False


def _begun(database: sqlite3.Connection, stream: Stream, clip: Clip) -> _Begun:
    """Read what is known of the episode with which a clip begins, an episode of a stream."""
    counted = clip.envs[0] if clip.envs else 0
    asked = {"stream": stream.stream, "episode": clip.episode, "env_index": counted}
    found = database.execute(_BEGUN, asked).fetchone()
    if found is None:
        over = clip.complete and not clip.partial and clip.state in (fmt.FINAL, fmt.RECOVERED)
        return _Begun(unfinished=bool(over) and database.execute(_LEFT, asked).fetchone() is not None)
    number, terminated, truncated, seed = found
    return _Begun(
        number=number,
        terminated=bool(terminated),
        truncated=bool(truncated),
        seed=seed,
        unfinished=not terminated and not truncated,
    )


def neighbours(asked: AskedRun, key: str, query: Query) -> dict[str, Any]:
    """The clips before and after one in the requested list, among those that can be watched.

    The clip need not be in that list itself, as it may have been opened from elsewhere. If no session is asked for, the
    list is that of the clip's session.

    Raises:
        BadQuery: the list is not understood.
        NotHere: there is no such clip.
        RunFolderError: see `reading`.
    """
    condition, order, values = _wanted_clips(asked.folder, query)
    with reading_clips(asked.folder, ALL) as database:
        clip = find_clip(database, asked.folder, key)
        session = asked.session or list(read_streams(database).values())[clip.stream].session
    here = {"here": clip.stream_id, "here_clip": clip.clip}
    condition = f"({condition} AND {WATCHABLE}) OR (stream = :here AND clip = :here_clip)"
    with reading_clips(asked.folder, session) as database:
        keys = [f"{stream}-{number}" for stream, number in clip_keys(database, condition, {**values, **here}, order)]
    place = keys.index(key) if key in keys else -1
    return {
        "before": keys[place - 1] if place > 0 else None,
        "after": keys[place + 1] if 0 <= place < len(keys) - 1 else None,
        "place": place if place >= 0 else None,
        "total": len(keys),
    }


def clip_dict(run: str, clip: Clip, stream: Stream, begun: _Begun) -> dict[str, Any]:
    """A clip as the API shows it.

    Args:
        run: id of its run, as it stands in a URL.
        clip: the clip.
        stream: the stream whose episodes it shows.
        begun: the episode with which it begins.
    """
    key = f"{clip.stream_id}-{clip.clip}"
    whole = clip.file is not None and clip.state != fmt.RECORDING
    watchable = whole and clip.can_be_had
    url = f"/api/runs/{run}/clips/{key}"
    return {
        "key": key,
        "stream": clip.stream_id,
        "name": clip.name,
        "part": clip.part,
        "file": clip.file,
        "place": clip.place,
        "state": clip.state,
        "frames": clip.frames,
        "fps": clip.fps,
        "width": clip.width,
        "height": clip.height,
        "duration_seconds": clip.duration,
        **begun._asdict(),
        "num_envs": stream.num_envs,
        "env_index": clip.envs[0] if clip.envs else 0,
        "episode": clip.episode,
        "envs": clip.envs or tuple(range(stream.num_envs)),
        "grid": clip.grid,
        "step": clip.step,
        "return": clip.return_,
        "length": clip.length,
        "dropped": clip.dropped,
        "partial": clip.partial,
        "keep_reason": clip.keep_reason,
        "verified": clip.verified,
        "diverged_at": clip.diverged_at,
        "diverged_why": clip.diverged_why,
        "unended": clip.unended,
        "info": clip.info,
        "started": clip.started,
        "file_bytes": clip.file_bytes,
        "evicted": clip.evicted,
        "error": clip.error,
        "video": f"{url}/video" if watchable else None,
        "poster": f"{url}/poster" if watchable else None,
        "live": f"{url}/live" if clip.file is not None and not whole else None,
    }


def find_clip(database: sqlite3.Connection, folder: Path, key: str) -> Clip:
    """A clip by its key.

    Raises:
        NotHere: the run has no such clip.
    """
    match = _KEY.fullmatch(key)
    if match and int(match[2]) < 2**63:
        values = {"stream": match[1], "clip": int(match[2])}
        clips = read_clips(database, folder, "stream = :stream AND clip = :clip", values)
        if clips:
            return clips[0]
    raise NotHere(f"there is no clip {key[:100]!r} in this run: GET /api/runs/ID/clips lists those there are")


def clip_detail(asked: AskedRun, key: str, cache: EpisodeCache) -> dict[str, Any]:
    """A clip, with the episodes it shows and its video's parts. Raises NotHere and what `reading` does."""
    with reading_clips(asked.folder, ALL) as database:  # its key names its stream
        clip = find_clip(database, asked.folder, key)
        streams = read_streams(database)
        of = list(streams.values())
        span = span_of(clip, of)
        clips = cache.clips(asked.folder, database, streams, only=span)
        (shown,) = _clips_shown(asked, database, [clip])
        parts = _parts(database, clip)
    places = np.concatenate([clips.episodes_of(span), clips.beside(span)])[:MOST_ROWS].tolist()
    listed = [_shown(clips.episodes[place], of, clips, span, place) for place in places]
    return {**shown, "parts": parts, "episodes": listed}


def _parts(database: sqlite3.Connection, clip: Clip) -> list[str]:
    """The keys of all parts of the video that a clip is one of, in order; its own alone for most."""
    of = {"stream": clip.stream_id, "name": clip.name, "hidden": json.dumps(fmt.HIDDEN_STATES)}
    return [f"{clip.stream_id}-{number}" for (number,) in database.execute(_PARTS, of)]


def nearest(asked: AskedRun, query: Query, cache: EpisodeCache) -> dict[str, Any]:
    """An episode by its order of arrival, and the clip that shows it, or the one of the nearest recorded episode.

    Raises:
        BadQuery: ``number`` is no number.
        NotHere: there is no such episode.
        RunFolderError: see `reading`.
    """
    number = query.integer("number", None, 0, MOST_OFFSET)
    with reading(asked.folder, asked.session) as database:
        streams = read_streams(database)
        clips = cache.clips(asked.folder, database, streams)
        episode = find_episode(database, streams, number)
        recorded = np.flatnonzero(clips.shown >= 0)
        away = np.abs(clips.episodes.number[recorded] - episode.number)
        near = int(np.argmin(away)) if recorded.size else None
        shown = None if near is None else clips.shows(int(recorded[near]))
        clip = [] if shown is None else [find_clip(database, asked.folder, shown.key)]
        listed = _clips_shown(asked, database, clip)
    told = _with_clip(episode, list(streams.values()), clips)
    return {
        "episode": told,
        "clip": next(iter(listed), None),
        "exact": told["whole"],
        "distance": None if near is None else int(away[near]),
    }


def find_episode(database: sqlite3.Connection, streams: Mapping[int, Stream], number: int | None) -> Episode:
    """An episode by its order of arrival.

    Raises:
        NotHere: there is no such episode.
    """
    found = read_episodes(database, streams, "id = :id", {"id": -1 if number is None else number + 1}, limit=1)
    if number is None or not len(found):
        (behind,) = database.execute("SELECT max(id) FROM episodes").fetchone()
        last = f"the last one is {behind - 1}" if behind else "none has ended yet"
        raise NotHere(f"there is no episode number {number}: give its order of arrival from 0 on; {last}")
    return found[0]


def clip_of(episode: Episode, clips: ClipEpisodes) -> str | None:
    """The key of the clip that shows an episode; None where none does."""
    place = _place_of(episode, clips)
    shown = None if place is None else clips.shows(place)
    return None if shown is None else shown.key


def _place_of(episode: Episode, clips: ClipEpisodes) -> int | None:
    """An episode's place among those that are read: for a long run only those that a clip shows."""
    numbers = clips.episodes.number
    place = int(np.searchsorted(numbers, episode.number))
    return place if place < numbers.size and numbers[place] == episode.number else None
