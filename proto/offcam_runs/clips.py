"""What is in a run folder, read from its index. Works while a daemon writes it, and on a read-only copy."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from offcam_runs import format as fmt
from offcam_runs.sql import CLIPS, CLIPS_VALUES, STREAMS, Stream, stream_of
from offcamd.store.index_file import open_to_read

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Sequence
    from pathlib import Path

Item = TypeVar("Item", "EpisodeItem", "ClipItem")
SortKey = Literal["arrival", "episode", "return", "length"]


@dataclass(frozen=True, slots=True)
class EpisodeItem:
    """One episode. Fields as in the ``episodes`` table; seconds, and seconds since the Unix epoch."""

    stream: str
    env_index: int
    episode: int
    return_: float
    length: int
    duration_seconds: float
    started: float
    terminated: bool
    truncated: bool
    seed: int | str | None


@dataclass(frozen=True, slots=True)
class ClipItem:
    """One clip. Fields as in the ``clips`` table, but for these.

    Attributes:
        stream: id of its stream in hex.
        file: file name within the folder, None where there is no file.
        frames: frames in the file.
        return_: the episode's return where the clip shows exactly one whole episode that the index knows,
            else the sum of the rewards of the clip's steps. NaN while the client has not told.
        length: that episode's steps, or the clip's. None while the client has not told.
        partial: whether it was cut off within an episode: it ended, but not as its owner meant it to, and the index
            has no end of the episode that it began with.
    """

    stream: str
    clip: int
    name: str
    part: int
    file: str | None
    state: str
    frames: int
    fps: float
    width: int | None
    height: int | None
    duration_seconds: float | None
    episode: int
    step: int
    return_: float
    length: int | None
    offered: int
    received: int
    dropped: dict[str, int]
    complete: bool | None
    file_bytes: int | None
    encode_seconds: float | None
    started: float
    ended: float | None
    error: str | None
    partial: bool


@dataclass(frozen=True, slots=True)
class RunListing:
    """What a run folder holds at one moment.

    Attributes:
        folder: the folder as it was given.
        format_version: of its index, as it was read.
        streams: in order of their opening.
        clips: in order of their opening; those whose file was replaced by a later clip's are left out.
        episodes: in order of arrival.
        quarantined: records that were set aside because they could not be understood.
    """

    folder: Path
    format_version: int
    streams: list[Stream]
    clips: list[ClipItem]
    episodes: list[EpisodeItem]
    quarantined: int

    def as_dict(self) -> dict[str, Any]:
        """All of it, ready for JSON: NaN and the infinities are None."""
        return {
            "folder": str(self.folder),
            "format_version": self.format_version,
            "quarantined": self.quarantined,
            "streams": [item_dict(item) for item in self.streams],
            "clips": [item_dict(item) for item in self.clips],
            "episodes": [item_dict(item) for item in self.episodes],
        }


def item_dict(item: Stream | EpisodeItem | ClipItem) -> dict[str, Any]:
    """A stream, episode or clip, ready for JSON: keys without the trailing underscore, NaN is None."""
    values = ((field.name.rstrip("_"), getattr(item, field.name)) for field in fields(item))
    return {name: fmt.json_number(value) if type(value) is float else value for name, value in values}


def list_run(folder: Path) -> RunListing:
    """List a run folder.

    Args:
        folder: the run folder; it need not be writable.

    Returns:
        Its streams, clips and episodes at one moment, even while a daemon writes.

    Raises:
        NotARunFolder: there is no index in it.
        RunFormatTooNew: a newer offcam wrote it.
        RunFolderError: its index is damaged or cannot be read.
    """
    with open_to_read(folder) as database:
        (version,) = database.execute("PRAGMA user_version").fetchone()
        (quarantined,) = database.execute("SELECT count(*) FROM quarantine").fetchone()
        return RunListing(
            folder,
            version,
            [stream_of(row) for _key, *row in database.execute(STREAMS)],
            select_clips(database),
            _episodes(database, "arrival"),
            quarantined,
        )


def list_episodes(
    folder: Path, sort: SortKey = "arrival", *, descending: bool = False, limit: int = -1, offset: int = 0
) -> list[EpisodeItem]:
    """One page of a run's episodes, by an index where there is one. Raises what `list_run` raises.

    Args:
        folder: the run folder.
        sort: by order of arrival, by stream and episode number, by return (NaN is the least), or by length.
        descending: the largest or latest first.
        limit: most episodes to return, -1 for all.
        offset: episodes to pass over.
    """
    with open_to_read(folder) as database:
        return _episodes(database, sort, descending=descending, limit=limit, offset=offset)


def select_clips(
    database: sqlite3.Connection,
    condition: str = "TRUE",
    values: Sequence[object] = (),
    *,
    order: str = "place",
    limit: int = -1,
    offset: int = 0,
) -> list[ClipItem]:
    """Clips of an index that is open; those whose file was replaced by a later clip's are left out.

    Args:
        database: from `offcamd.store.index_file.open_to_read`.
        condition: SQL over the columns of ``clips``, ``stream`` (in hex) and ``place`` (order of opening). Never from
            outside; what is goes into ``values``.
        values: for its question marks.
        order: SQL of the order, likewise.
        limit: most clips to return, -1 for all.
        offset: clips to pass over.
    """
    query = f"SELECT * FROM ({CLIPS}) WHERE {condition} ORDER BY {order} LIMIT ? OFFSET ?"  # noqa: S608 - see above
    rows = database.execute(query, (*CLIPS_VALUES, *values, limit, offset))
    return [_item(ClipItem, row) for _key, *row, _place in rows]


def _episodes(
    database: sqlite3.Connection, sort: SortKey, *, descending: bool = False, limit: int = -1, offset: int = 0
) -> list[EpisodeItem]:
    direction = "DESC" if descending else "ASC"
    order = ", ".join(f"{column} {direction}" for column in _ORDER[sort])
    query = f"{_EPISODES} ORDER BY {order} LIMIT ? OFFSET ?"
    return [_item(EpisodeItem, row) for row in database.execute(query, (limit, offset))]


_ORDER: dict[SortKey, tuple[str, ...]] = {
    "arrival": ("e.id",),
    "episode": ("e.stream_id", "e.episode", "e.id"),
    "return": ("e.return", "e.id"),
    "length": ("e.length", "e.id"),
}

_EPISODES = """
SELECT (SELECT stream FROM streams WHERE id = e.stream_id), e.env_index, e.episode, e.return, e.length,
    e.duration, e.started, e.terminated, e.truncated, e.seed
FROM episodes AS e
"""

# How a column becomes a field, by the field's type; other types are as SQLite gives them.
_FROM_SQL: dict[object, Callable[[Any], Any]] = {
    "bool": bool,
    "bool | None": lambda value: None if value is None else bool(value),
    "dict[str, int]": json.loads,
    "float": fmt.real_from_sql,
}
_CONVERTERS = {kind: [_FROM_SQL.get(field.type) for field in fields(kind)] for kind in (EpisodeItem, ClipItem)}


def _item(kind: type[Item], row: Sequence[Any]) -> Item:
    """Make a row, its columns in the order of the fields, a stream, episode or clip."""
    pairs = zip(_CONVERTERS[kind], row, strict=True)
    return kind(*(value if convert is None else convert(value) for convert, value in pairs))
