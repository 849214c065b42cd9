"""The clips of a run: its videos, and what they show."""

from __future__ import annotations

import io
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from offcam_runs import format as fmt
from offcam_runs import notebook
from offcam_runs.objects.copies import fetch_video, open_video
from offcam_runs.objects.evicted import read_evicted
from offcam_runs.objects.layout import is_url
from offcam_runs.steps.load import steps_of_rows

if TYPE_CHECKING:
    import sqlite3

    from offcam_runs.steps.rows import Steps


@dataclass(frozen=True, repr=False)
class Clip:
    """One video, or one part of one.

    Attributes:
        folder: of its run.
        stream: place of its stream in `Run.streams`.
        stream_id: id of that stream, 32 hexadecimal digits.
        clip: its number in the stream.
        name: as the wrapper named it, without suffix, part and extension.
        part: from 1; a video has several where the frame size changed or the daemon was replaced.
        file: file name within the folder, None where there is no file.
        state: ``recording``, ``final``, ``recovered`` or ``aborted``.
        frames: in the file.
        fps: frames per second.
        width: in pixels, None until it has ended.
        height: in pixels, likewise.
        duration: of the video in seconds, likewise.
        episode: number of the episode in which it began.
        step: number of the step, over all episodes, at which it began.
        return_: of the episode if it shows exactly one whole episode that the index knows, else the sum of its steps'
            rewards. NaN while the client has not told.
        length: that episode's steps, or the clip's. None while the client has not told.
        offered: frames that the wrapper captured: once the clip has ended, ``frames`` and all that were dropped.
        received: frames that reached the daemon.
        dropped: frames not in the file, by reason.
        complete: whether it ended as its owner meant it to, None while the client has not told.
        file_bytes: size of the file, None until it has ended.
        encode_seconds: time that its encoder took, likewise.
        started: when it began, in seconds since the epoch.
        ended: when its encoder ended it, None until then.
        error: what went wrong, in words.
        envs: the sub-environments that it shows, first the one whose episodes are counted; empty for all, of which it
            is the first that is counted, and for a single env.
        partial: whether it was cut off within an episode: it ended, but not as its owner meant it to, and the index has
            no end of the episode that it began with.
        info: values of the episode if it shows exactly one whole episode that the index knows; see `EpisodeTable.info`.
        keep_reason: by which parts of its rule it is kept; None for one that is kept in any case, or not judged yet.
        first_row: the row of its stream's steps that its first frame shows, None where none are recorded; see
            `steps`.
        verified: of a video that was rendered afterwards (its stream ``replays`` another), whether each step that it
            shows was checked and matched the recorded one; None for a video that was recorded as it happened.
        diverged_at: of a video that was rendered afterwards, the first step that differed from the recorded one, 0 for
            the reset: such a video does not show its episode. None where none differed.
        diverged_why: how that step differed.
        grid: rows and columns in which its picture shows the sub-environments of ``envs``, row by row; ``(1, 1)`` of a
            single one. None where that is not known.
        place: where the folder of its file is, if that is not this run's: ``HOST:PATH``, or the URL of the run in
            object storage. So it is of a run that its host has pushed to a hub.
        unended: why the last episode that it shows came to no end, as ``reset before its end`` or ``ended by an error:
            ValueError: ...``; empty where it came to one, or nobody knows.
    """

    folder: str
    stream: int
    stream_id: str
    clip: int
    name: str
    part: int
    file: str | None
    state: str
    frames: int
    fps: float
    width: int | None
    height: int | None
    duration: float | None
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
    envs: tuple[int, ...]
    partial: bool
    info: dict[str, float]
    keep_reason: str | None = None
    first_row: int | None = None
    verified: bool | None = None
    diverged_at: int | None = None
    diverged_why: str | None = None
    grid: tuple[int, int] | None = None
    place: str | None = None
    unended: str = ""

    @property
    def path(self) -> str | None:
        """Path of its file: with ``.part`` while it is recorded, None where there is none."""
        if self.file is None:
            return None
        return os.path.join(self.folder, self.file + fmt.PART_EXTENSION * (self.state == fmt.RECORDING))

    def fetch(self) -> str | None:
        """Path of its file, once that is there: of one in object storage a copy is brought now, whose path this is.

        Raises:
            ConfigError: the object storage refuses it, or obstore is not installed.
            RunFolderError: it cannot be reached.
        """
        if self.path is not None and not os.path.exists(self.path):
            found = fetch_video(self.folder, self.stream_id, self.clip, self.stored)
            if found is not None:
                return str(found)
        return self.path

    def open(self) -> BinaryIO:
        """Its file, open for reading in binary; of a video in object storage only what is read of it is fetched.

        Reading, too, raises OSError then, where the storage cannot be reached. For one thread at a time.

        Raises:
            FileNotFoundError: there is no file.
            ConfigError, RunFolderError: as `fetch`.
        """
        if self.path is not None and not os.path.exists(self.path):
            found = open_video(self.folder, self.stream_id, self.clip, self.stored)
            if found is not None:
                return io.BufferedReader(found)
        return open(self.path or self.name, "rb")

    @property
    def evicted(self) -> str | None:
        """URL of the run in object storage that alone has its file, as its run was sent with a limit; None for none."""
        if self.path is None or os.path.exists(self.path):
            return None
        return read_evicted(self.folder).url_of(self.stream_id, self.clip)

    @property
    def can_be_had(self) -> bool:
        """Whether `fetch` can have its file, as far as is known without asking: not if another host alone has it."""
        return self.place is None or self.stored is not None or os.path.exists(self.path or "")

    @property
    def whereabouts(self) -> str:
        """Where its file is, for people: `path`, or for one that another host has that one's name and path."""
        if self.place is None or os.path.exists(self.path or ""):
            return self.path or self.name
        return f"{self.place}/{self.file}"

    @property
    def stored(self) -> str | None:
        """URL of the run in object storage that has its file, if another host pushed it here with that; else None."""
        return self.place if self.place is not None and is_url(self.place) else None

    @property
    def said_state(self) -> str:
        """Its state for people: ``ended`` where it is over, and its video not whole yet or not known to be kept."""
        return "ended" if self.state == fmt.RECORDING and self.complete is not None else self.state

    @property
    def said_of_steps(self) -> str:
        """Whether a video that was rendered afterwards matches its episode, for people; empty for any other."""
        if self.diverged_at is not None:
            return f"not as it was at step {self.diverged_at}"
        return {None: "", True: "rendered, each step checked", False: "rendered, not checked to its end"}[self.verified]

    def steps(self) -> Steps | None:
        """The steps that it shows, as they are now: a row for each frame, those that were dropped included.

        The frame that is shown ``t`` seconds into the video has the row at ``round(t * fps)``. Of a vector env these
        are the rows of the first sub-environment that the video shows. None where no steps were recorded.

        Raises:
            ConfigError: Zstandard is not installed.
            RunFolderError: the index is damaged or cannot be read.
        """
        if self.first_row is None:
            return None
        shown = (self.duration or 0.0) * self.fps
        behind = self.first_row + max(self.offered, round(shown) if math.isfinite(shown) else 0)
        env_index = self.envs[0] if self.envs else 0
        return steps_of_rows(self.folder, self.stream_id, env_index, self.first_row, behind)

    @property
    def numbers(self) -> list[str]:
        """What there is to be known of it, in words for people."""
        numbers = [f"episode {self.episode}", f"return {notebook.number(self.return_)}"]
        if self.length is not None:
            numbers.append(f"{self.length:,} steps")
        numbers.append(f"{self.frames:,} frames at {notebook.number(self.fps)} fps")
        if dropped := sum(self.dropped.values()):
            numbers.append(f"{dropped:,} dropped")
        if self.state != fmt.FINAL:
            numbers.append(self.state)
        if self.unended:
            numbers.append(self.unended)
        if self.error:
            numbers.append(self.error)
        if said := self.said_of_steps:
            numbers.append(said)
        if url := self.evicted:
            numbers.append(f"evicted, it is in {url}")
        return numbers

    def as_html(self, most_bytes: int | None = None) -> str:
        """The video and its numbers, for a notebook.

        Args:
            most_bytes: of a larger file the path is shown; by default 8 MiB.

        Raises:
            ConfigError, RunFolderError: as `fetch`.
        """
        shown = self.fetch() if self.frames or self.state == fmt.RECORDING else None
        return notebook.captioned_video(shown, self.file or self.name, self.numbers, most_bytes)

    def __repr__(self) -> str:
        return f"<Clip {self.whereabouts!r}: {', '.join(self.numbers)}>"

    def _repr_html_(self) -> str:
        return self.as_html()


_NAMES: Final = tuple(Clip.__dataclass_fields__)[1:]

# Columns in the order of `Clip`, and `place`, the order of opening, in which CROSS JOIN has SQLite read them. A clip
# shows exactly one whole episode where its name says that it began with it and it has all its steps: by its client's
# account, or, where that never came, by its frames. That one is of its own stream, or of the one that it replays, so
# that it is looked for in the table itself, behind a view of a session.
_SELECT: Final = """
SELECT s.place AS stream_place, s.stream, c.clip, c.name, c.part, c.file, c.state, c.encoded, c.fps, c.width, c.height,
    c.duration, c.episode, c.step, CASE WHEN e.id IS NULL THEN c.return ELSE e.return END AS return,
    CASE WHEN c.steps IS NULL THEN e.length ELSE c.steps END AS steps, c.offered,
    c.received, c.dropped, c.complete, c.file_bytes, c.encode_seconds, c.started, c.ended, c.error, c.envs,
    c.state IN (:aborted, :recovered) AND NOT ifnull(c.complete, 0) AND NOT EXISTS (
        SELECT 1 FROM main.episodes
        WHERE stream_id = s.shown AND episode = c.episode AND env_index = ifnull(json_extract(c.envs, '$[0]'), 0)
    ) AS partial, e.info, c.keep_reason, c.first_row,
    CASE WHEN s.replays != '' THEN ifnull(c.complete, 0) AND c.diverged_at IS NULL END AS verified, c.diverged_at,
    c.diverged_why, json_array(c.tile_rows, c.tile_cols) AS grid, c.place AS elsewhere, c.unended, c.rowid AS place
FROM clips AS c
CROSS JOIN (
    SELECT *, row_number() OVER (ORDER BY id) - 1 AS place,
        ifnull((SELECT id FROM main.streams AS other WHERE other.stream = streams.replays), id) AS shown
    FROM streams
) AS s ON s.id = c.stream_id
LEFT JOIN main.episodes AS e ON e.id = (
    SELECT min(id) FROM main.episodes
    WHERE stream_id = s.shown AND episode = c.episode AND s.num_envs = 1
        AND (length = c.steps OR (c.steps IS NULL AND length < c.encoded AND c.ended IS NOT NULL))
        AND c.name LIKE '%-episode-' || c.episode
)
WHERE c.state NOT IN (:replaced, :evicted)
"""
_STATES: Final = {"aborted": fmt.ABORTED, "recovered": fmt.RECOVERED, "replaced": fmt.REPLACED, "evicted": fmt.EVICTED}


def clip_places(database: sqlite3.Connection, condition: str, values: Mapping[str, object], order: str) -> list[int]:
    """``place`` of each of the clips that `read_clips` finds with a condition, in an order. Less work than to count."""
    query = f"SELECT place FROM ({_SELECT}) AS listed WHERE {condition} ORDER BY {order}"  # noqa: S608 - as there
    return [place for (place,) in database.execute(query, {**_STATES, **values})]


def clip_keys(
    database: sqlite3.Connection, condition: str, values: Mapping[str, object], order: str
) -> list[tuple[str, int]]:
    """Stream, in hex, and number of each of the clips that `read_clips` finds with a condition, in an order."""
    query = f"SELECT stream, clip FROM ({_SELECT}) AS listed WHERE {condition} ORDER BY {order}"  # noqa: S608 - as there
    return [(stream, clip) for stream, clip in database.execute(query, {**_STATES, **values})]


def read_clips(
    database: sqlite3.Connection,
    folder: str | os.PathLike[str],
    condition: str = "TRUE",
    values: Mapping[str, object] | None = None,
    *,
    order: str = "place",
    limit: int = -1,
    offset: int = 0,
) -> list[Clip]:
    """Clips of an index that is open; those whose file was replaced by a later clip's are left out.

    Args:
        database: from `database.open_to_read`.
        folder: of the run.
        condition: SQL over the columns of ``clips``, ``stream`` (in hex) and ``place`` (order of opening), all of
            ``listed``. Never from outside; what is goes into ``values``.
        values: for its named parameters.
        order: SQL of the order, likewise.
        limit: most clips to return, -1 for all.
        offset: clips to pass over.
    """
    query = f"SELECT * FROM ({_SELECT}) AS listed WHERE {condition} ORDER BY {order} LIMIT :limit OFFSET :offset"  # noqa: S608 - see above
    rows = database.execute(query, {**_STATES, **(values or {}), "limit": limit, "offset": offset})
    return [_clip(os.fspath(folder), row) for *row, _place in rows]


def clips_at(database: sqlite3.Connection, folder: str | os.PathLike[str], places: Sequence[int]) -> list[Clip]:
    """The clips with these values of ``place``, all of which are there, in the same order."""
    asked = {"places": json.dumps(places)}
    found = read_clips(database, folder, "place IN (SELECT value FROM json_each(:places))", asked)
    by_place = dict(zip(sorted(places), found, strict=True))
    return [by_place[place] for place in places]


_parsed = lru_cache(1024)(json.loads)  # thousands of clips have the same grid, and none dropped


def _clip(folder: str, row: list[Any]) -> Clip:
    values = dict(zip(_NAMES, row, strict=True))
    for name in ("fps", "return_", "started"):
        values[name] = fmt.real_from_sql(values[name])
    complete, grid = values["complete"], _parsed(values["grid"])
    values.update(
        dropped=dict(_parsed(values["dropped"])),
        envs=tuple(_parsed(values["envs"])),
        complete=None if complete is None else bool(complete),
        partial=bool(values["partial"]),
        verified=None if values["verified"] is None else bool(values["verified"]),
        info=dict(_parsed(values["info"] or "{}")),
        grid=None if None in grid else tuple(grid),
    )
    return Clip(folder, **values)
