"""The steps of an episode or of a clip, as columns to be drawn beside the video: each row belongs to its frame."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from offcam_proto.errors import EncodeError
from offcam_runs.sessions import ALL
from offcam_runs.steps.layout import STEPS, TERMINATED, TRUNCATED
from offcam_runs.steps.places import Place, dropped, places
from offcam_runs.steps.reader import StepReader
from offcam_runs.steps.rows import Rows
from offcam_runs.streams import Stream, read_streams
from offcamd.video.probe import frames_shown
from offcamd.web.media import open_clip
from offcamd.web.queries import MOST_OFFSET, clip_of, find_clip, find_episode
from offcamd.web.reading import NotHere, reading
from offcamd.web.thinning import Points

if TYPE_CHECKING:
    import sqlite3

    from numpy.typing import NDArray

    from offcam_runs.clips import Clip
    from offcamd.web.episode_cache import EpisodeCache
    from offcamd.web.params import Query
    from offcamd.web.reading import AskedRun

FEWEST_POINTS, USUAL_POINTS, MOST_POINTS = 10, 1000, 2000

MOST_GAPS: Final = 1000
"""Most stretches of frames without a picture of their own that are listed."""


class _Film(NamedTuple):
    """A video that shows some rows: frame n shows the n-th row after the first. Some frames may have no picture."""

    key: str
    fps: float
    first_row: int
    frames: int
    pictures: int


class _Wanted(NamedTuple):
    """Whose steps are wanted: of a stream's sub-environment, all rows between two, or those of an episode."""

    key: int
    env_index: int
    first: int
    behind: int
    episode: int | None = None


def of_episode(asked: AskedRun, query: Query, cache: EpisodeCache) -> dict[str, Any]:
    """The steps of an episode by its number of arrival, see ``GET /api/runs/{id}/episodes/steps``.

    Raises:
        BadQuery: there is no such number.
        ConfigError: the steps are compressed, and Zstandard is not installed.
        NotHere: there is no such episode.
        RunFolderError: see `reading`.
    """
    number = query.integer("number", None, 0, MOST_OFFSET)
    points = query.whole("points", USUAL_POINTS, FEWEST_POINTS, MOST_POINTS)
    with reading(asked.folder, asked.session) as database:
        streams = read_streams(database)
        episode = find_episode(database, streams, number)
        clips = cache.clips(asked.folder, database, streams)
        shown = clip_of(episode, clips)
        key = list(streams)[episode.stream]
        reader = StepReader(database, asked.folder)
        wanted = _Wanted(key=key, env_index=episode.env_index, first=0, behind=0, episode=episode.episode)
        wanted = wanted._replace(**_span(database, reader, wanted))
        found = _read(reader, wanted, points)
        film = None if shown is None else _film(find_clip(database, asked.folder, shown))
        why = _why_none(database, wanted, streams[key]) if not found.found else None
    return _told(asked, streams[key], wanted, found, film, why, (episode.env_index,))


def of_clip(asked: AskedRun, key: str, query: Query) -> dict[str, Any]:
    """The steps that a clip's frames show, see ``GET /api/runs/{id}/clips/{key}/steps``. Raises as `of_episode`."""
    points = query.whole("points", USUAL_POINTS, FEWEST_POINTS, MOST_POINTS)
    chosen = query.integer("env_index", None, 0, 2**31)
    with reading(asked.folder, ALL) as database:  # its key names its stream
        clip = find_clip(database, asked.folder, key)
        streams = {each.stream: (number, each) for number, each in read_streams(database).items()}
        own = streams[clip.stream_id][1]
        number, stream = streams.get(own.replays, streams[clip.stream_id])
        envs = clip.envs or tuple(range(stream.num_envs))
        env_index = envs[0] if chosen is None else chosen
        film = _film(clip)
        wanted = _Wanted(number, env_index, *((film.first_row, film.first_row + film.frames) if film else (0, 0)))
        found = _read(StepReader(database, asked.folder), wanted, points)
        why = _why_none(database, wanted, stream) if not found.found else None
    return _told(asked, stream, wanted, found, film, why, envs)


def _film(clip: Clip) -> _Film | None:
    """Which rows a clip shows; None if that is not known."""
    if clip.first_row is None or not math.isfinite(clip.fps) or clip.fps <= 0:
        return None
    seconds = clip.duration or 0.0
    frames = max(clip.offered, round(seconds * clip.fps) if math.isfinite(seconds) else 0)
    return _Film(
        key=f"{clip.stream_id}-{clip.clip}", fps=clip.fps, first_row=clip.first_row, frames=frames, pictures=clip.frames
    )


def _read(reader: StepReader, wanted: _Wanted, points: int) -> Points:
    """Read the rows, one block in memory at a time."""
    found = Points(wanted.first, wanted.behind, points)
    if wanted.behind > wanted.first:
        for piece in reader.blocks(wanted.key, STEPS, wanted.env_index, wanted.first, wanted.behind):
            if isinstance(piece, Rows):
                found.add(piece, wanted.episode)
    return found


def _span(database: sqlite3.Connection, reader: StepReader, wanted: _Wanted) -> dict[str, int]:
    """The first row of an episode that is there, and the one behind its last; every row in between is the episode's."""
    there = list(places(database, wanted.key, STEPS, wanted.env_index, episode=wanted.episode))
    first = behind = 0
    for place in there:
        if (rows := _rows_of(reader, place, wanted)).size:
            first = int(rows[0])
            break
    for place in reversed(there):
        if (rows := _rows_of(reader, place, wanted)).size:
            behind = int(rows[-1]) + 1
            break
    return {"first": first, "behind": behind}


def _rows_of(reader: StepReader, place: Place, wanted: _Wanted) -> NDArray[np.int64]:
    """The numbers of an episode's rows in a block; none if the block cannot be read."""
    for piece in reader.blocks(wanted.key, STEPS, wanted.env_index, place.first_row, place.first_row + 1):
        if isinstance(piece, Rows):
            return piece.first_row + np.flatnonzero(piece.rows["episode"] == wanted.episode)
    return np.empty(0, np.int64)


def _why_none(database: sqlite3.Connection, wanted: _Wanted, stream: Stream) -> str:
    """Why there is no row at all, for people."""
    at = (database, wanted.key, STEPS, wanted.env_index)
    if gaps := dropped(*at, episode=wanted.episode):
        return f"its steps were not written ({gaps[0].reason})"
    if next(places(*at), None) is None:
        return "no steps were recorded: with steps=True their rewards, actions and your own numbers are drawn here"
    if stream.ended is None:
        return "its steps are still with the training, which writes them in blocks: ask again in a moment"
    return "its steps are not in the run folder: they are lost, or were not recorded"


def _told(
    asked: AskedRun,
    stream: Stream,
    wanted: _Wanted,
    found: Points,
    film: _Film | None,
    why: str | None,
    envs: tuple[int, ...],
) -> dict[str, Any]:
    rows = wanted.first + found.bucket * np.arange(found.count)
    time = (rows - film.first_row) / film.fps if film else np.full(len(rows), np.nan)
    inside = (rows >= film.first_row) & (rows < film.first_row + film.frames) if film else np.zeros(len(rows), np.bool_)
    facts = {name: np.where(values < 0, np.nan, values) for name, values in found.facts.items()}
    thinned = found.bucket > 1
    return {
        "stream": stream.stream,
        "env_id": stream.env_id,
        "env_index": wanted.env_index,
        "envs": list(envs),
        "film": _film_told(asked, film),
        "rows": wanted.behind - wanted.first,
        "found": found.found,
        "complete": _complete(wanted, found),
        "why": why,
        "bucket": found.bucket,
        "row": rows.tolist(),
        "time": _nulled(np.where(inside, time, np.nan)),
        **{name: _nulled(values, whole=True) for name, values in facts.items()},
        "columns": [
            {**column._asdict(), "min": _nulled(low), "max": _nulled(high) if thinned else None}
            for column, (low, high) in found.columns.items()
        ],
        "left_out": list(found.left_out),
    }


def _complete(wanted: _Wanted, found: Points) -> bool:
    """Whether all rows are there; for an episode from its reset, or its first step, to its end."""
    whole = found.found == wanted.behind - wanted.first > 0
    if wanted.episode is None or not whole:
        return whole
    return bool(found.facts["step"][0] <= 1 and found.facts["flags"][-1] & (TERMINATED | TRUNCATED))


def _film_told(asked: AskedRun, film: _Film | None) -> dict[str, Any] | None:
    if film is None:
        return None
    told = {"clip": film.key, "fps": film.fps, "first_row": film.first_row, "frames": film.frames}
    return {**told, "gaps": _gaps(asked, film)}


def _gaps(asked: AskedRun, film: _Film) -> list[list[int]] | None:
    """Stretches of frames without a picture of their own: first frame and how many; None if that is not known."""
    if film.pictures == film.frames:
        return []
    try:
        file = open_clip(asked.folder, film.key)
    except NotHere:
        return None
    try:
        shown = frames_shown(file.source, file.name, film.fps)
    except EncodeError:
        return None
    finally:
        file.close()
    there = np.zeros(film.frames + 1, np.int8)
    there[[frame for frame in shown if 0 <= frame < film.frames]] = 1
    there[-1] = 1
    edges = np.diff(there, prepend=1)
    begins, ends = np.flatnonzero(edges < 0), np.flatnonzero(edges > 0)
    return [[int(begin), int(end - begin)] for begin, end in zip(begins, ends, strict=True)][:MOST_GAPS]


def _nulled(values: NDArray[np.float64], *, whole: bool = False) -> list[float | int | None]:
    """Values for JSON: null where they are not known."""
    there = np.isfinite(values)
    if whole:
        return [int(value) if known else None for value, known in zip(values, there, strict=True)]
    return [value if known else None for value, known in zip(values.tolist(), there.tolist(), strict=True)]
