"""Reads from a run's index what is to be sent. The index is not held open in between."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from offcam.sync.core import MOST_EPISODES, Batch, ClipRow, ClipSent, Position, next_clip, numbered
from offcam_proto.limits import MAX_CLIPS_PER_STREAM
from offcam_runs import format as fmt
from offcam_runs.clips import read_clips
from offcam_runs.database import open_to_read
from offcam_runs.episodes import read_episodes
from offcam_runs.folder_lock import writer_of
from offcam_runs.pending import committed
from offcam_runs.sessions import ALL, sessions
from offcam_runs.streams import read_streams

if TYPE_CHECKING:
    import sqlite3

    from offcam_runs.streams import Stream

MOST_ROWS: Final = 2 * MAX_CLIPS_PER_STREAM
"""Most clips of a stream that are looked at: more than can be open at the same time before one that is final."""

_WHOLE: Final = (fmt.FINAL, fmt.RECOVERED)
"""States of clips whose file can be sent; nothing is added any more to a file that a dead daemon has left."""

_CUT_OFF: Final = f"(state = '{fmt.ABORTED}' AND file IS NOT NULL)"
"""SQL for clips that are sent only once their stream is over, as until then they may become final or be let go."""

_ROWS: Final = f"""
SELECT rowid, clip, state, complete, ended FROM clips
WHERE stream_id = :key AND clip > :seen AND (state IN {(*_WHOLE, fmt.RECORDING)} OR {_CUT_OFF})
ORDER BY clip LIMIT {MOST_ROWS}
"""  # noqa: S608 - of our own words
_ROW: Final = "SELECT rowid, clip, state, complete, ended FROM clips WHERE stream_id = :key AND clip = :clip"
_READY: Final = f"""
SELECT count(*) FROM clips WHERE stream_id = :key AND clip > :seen AND (state IN {_WHOLE} OR {_CUT_OFF})
"""  # noqa: S608 - as above
_ID: Final = """
SELECT min(id) FROM episodes WHERE stream_id = :stream_id AND episode = :episode AND env_index = :env_index
"""
_BEFORE: Final = "SELECT count(*) FROM episodes WHERE stream_id IN ({}) AND id < :id"
_BEHIND: Final = "SELECT count(*) FROM episodes WHERE +stream_id IN ({}) AND id > :seen AND id <= :last"
_FIRST: Final = """
SELECT started + ifnull(duration, 0) FROM episodes
WHERE +stream_id IN ({}) AND id > :seen AND id <= :last ORDER BY id LIMIT 1
"""


@dataclass(frozen=True)
class Unsent:
    """What is to be sent.

    Attributes:
        batch: the next batch; None where there is nothing to send now.
        rows: the clips that are not settled.
        row: the batch's clip, as one of ``rows``.
        episodes: how many episodes wait to be sent.
        clips: how many clips can be sent now.
        since: when the first of all these ended, in seconds since the epoch.
        over: whether nothing will come after all these.
    """

    batch: Batch | None
    rows: tuple[ClipRow, ...]
    row: ClipRow | None
    episodes: int
    clips: int
    since: float | None
    over: bool


NOTHING: Final = Unsent(batch=None, rows=(), row=None, episodes=0, clips=0, since=None, over=False)


@dataclass(frozen=True)
class RunFacts:
    """Facts about a run for a tracker.

    Attributes:
        folder: absolute path of the run folder.
        session: number of the session that is sent.
        created: when the run's index was made, as its ``meta`` has it.
        env_ids: the ids of the session's environments.
        began: when the session's first stream was made, in seconds since the epoch.
    """

    folder: str
    session: int
    created: str
    env_ids: tuple[str, ...]
    began: float

    @property
    def name(self) -> str:
        """The folder's name; with the session's number where it is not the first."""
        name = os.path.basename(self.folder) or self.folder
        return name if self.session == 1 else f"{name}-s{self.session}"


def facts_of(folder: str, session: int | None, stream: str = "") -> RunFacts | None:
    """The facts about a session of a run; None where it is not there yet.

    Args:
        folder: absolute path of the run folder.
        session: number of the session; None for the newest.
        stream: in place of ``session``, the id of a stream of it.

    Raises:
        ConfigError: there is no such session.
        RunFolderError: the run cannot be read.
    """
    with open_to_read(folder, session=ALL, settled=True) as database:
        streams = read_streams(database).values()
        if stream:
            number = next((each.session for each in streams if each.stream == stream), None)
        else:
            number = session if session is not None else max(sessions(database), default=None)
        (created,) = database.execute("SELECT max(value) FROM meta WHERE key = 'created'").fetchone()
    if number is None:
        return None
    with open_to_read(folder, session=number, settled=True) as database:
        own = list(read_streams(database).values())
    env_ids = tuple(dict.fromkeys(each.env_id for each in own if each.env_id))
    return RunFacts(
        folder=folder, session=number, created=str(created), env_ids=env_ids, began=min(each.started for each in own)
    )


def look(run: RunFacts, position: Position) -> Unsent:
    """Find what is to be sent behind a position.

    Raises:
        RunFolderError: the run cannot be read.
    """
    with open_to_read(run.folder, session=ALL, settled=True) as database:
        last = committed(database)
        every = read_streams(database)
        streams = {key: each for key, each in every.items() if each.session == run.session}
        own = ", ".join(map(str, streams))
        rows = tuple(row for key, each in streams.items() for row in _rows(database, key, each, position))
        ready = [row for row in rows if row.final]
        behind = {"seen": position.last_id, "last": last}
        first = database.execute(_FIRST.format(own), behind).fetchone()
        alone = len(streams) == len(every)  # all episodes are of this session, so that there is no need to count them
        waiting = 0
        if first and alone:
            waiting = last - position.last_id
        elif first:
            (waiting,) = database.execute(_BEHIND.format(own), behind).fetchone()
        clips = sum(_ready(database, key, each, position) for key, each in streams.items())
        row = None
        batch = _episodes(database, streams, position, last) if waiting else None
        if batch is None and (row := next_clip(position, ready)) is not None:
            batch = Batch(last_id=position.last_id, clip=_clip(database, run, streams, row, alone=alone))
        live = any(each.state == fmt.LIVE for each in streams.values()) or any(row.open for row in rows)
    times = [each for each in (*(first or ()), *(row.ended for row in ready)) if each is not None]
    over = batch is None and not (live and writer_of(Path(run.folder)))
    return Unsent(
        batch=batch,
        rows=rows,
        row=row,
        episodes=waiting,
        clips=max(clips, len(ready)),
        since=min(times, default=None),
        over=over,
    )


def signature(folder: str) -> tuple[object, ...]:
    """A value that changes whenever an index does.

    It is made of facts about the files, and not by SQLite (``PRAGMA data_version``), as a connection that is held open
    would keep the daemon from leaving the index as one plain file.
    """
    return tuple(_file(os.path.join(folder, fmt.INDEX_NAME + each)) for each in ("", *fmt.INDEX_COMPANIONS[::2]))


def _file(path: str) -> tuple[int, int, int] | None:
    try:
        facts = os.stat(path)
    except OSError:
        return None
    return facts.st_ino, facts.st_size, facts.st_mtime_ns


def _rows(database: sqlite3.Connection, key: int, stream: Stream, position: Position) -> list[ClipRow]:
    settled = position.of(stream.stream)
    found = list(database.execute(_ROWS, {"key": key, "seen": settled.seen}))
    for clip in settled.waiting:
        found += database.execute(_ROW, {"key": key, "clip": clip})
    told = stream.state != fmt.LIVE
    return [
        ClipRow(
            stream.stream,
            clip,
            final=(state in _WHOLE and complete is not None) or (state in (*_WHOLE, fmt.ABORTED) and told),
            open=state == fmt.RECORDING
            or (state in _WHOLE and complete is None and not told)
            or (state == fmt.ABORTED and not told),
            ended=ended,
            place=place,
        )
        for place, clip, state, complete, ended in found
    ]


def _ready(database: sqlite3.Connection, key: int, stream: Stream, position: Position) -> int:
    """How many clips of a stream wait to be sent, without those that are settled."""
    return int(database.execute(_READY, {"key": key, "seen": position.of(stream.stream).seen}).fetchone()[0])


def _episodes(database: sqlite3.Connection, streams: dict[int, Stream], position: Position, last: int) -> Batch:
    condition = f"+stream_id IN ({', '.join(map(str, streams))}) AND id > :after AND id <= :last"
    values = {"after": position.last_id, "last": last}
    table = read_episodes(database, list(streams), condition, values, limit=MOST_EPISODES)
    rows: list[dict[str, Any]] = [
        {
            "env_index": each.env_index,
            "episode": each.episode,
            "return_": each.return_,
            "length": each.length,
            "duration": each.duration,
            "ended": each.started + (each.duration if each.duration == each.duration else 0.0),
            "info": each.info,
        }
        for each in table
    ]
    return Batch(numbered(position, rows), last_id=int(table.number[-1]) + 1)


def _clip(
    database: sqlite3.Connection, run: RunFacts, streams: dict[int, Stream], row: ClipRow, *, alone: bool
) -> ClipSent | None:
    """What a tracker gets of a clip; None where its file is gone, or has no name that trackers take for a video's.

    The latter is so for a clip that was cut off when a whole video had its name already: its file stays a ``.part``.
    ``alone`` says that the index has no other session.
    """
    clips = read_clips(database, run.folder, "place = :place", {"place": row.place})
    if not clips or not (clips[0].file or "").endswith(fmt.VIDEO_EXTENSION):
        return None
    clip = clips[0]
    if os.path.basename(str(clip.file)) != clip.file:
        return None
    shown = next((each.replays for each in streams.values() if each.stream == clip.stream_id), "") or clip.stream_id
    key = next((key for key, each in streams.items() if each.stream == shown), 0)
    episode = {"stream_id": key, "episode": clip.episode, "env_index": clip.envs[0] if clip.envs else 0}
    number = clip.episode
    (place,) = database.execute(_ID, episode).fetchone()
    if place is not None and alone:
        number = place - 1
    elif place is not None:
        (number,) = database.execute(_BEFORE.format(", ".join(map(str, streams))), {"id": place}).fetchone()
    return ClipSent(
        stream=row.stream,
        clip=row.clip,
        path=os.path.join(run.folder, str(clip.file)),
        name=str(clip.file).removesuffix(fmt.VIDEO_EXTENSION),
        number=number,
        episode=clip.episode,
        return_=clip.return_,
        length=clip.length,
        fps=clip.fps,
        frames=clip.frames,
        ended=clip.ended or clip.started,
        reason=clip.keep_reason or "",
        recovered=clip.state == fmt.RECOVERED,
        cut_off=clip.state == fmt.ABORTED,
    )
