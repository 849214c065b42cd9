"""Descriptions of whole runs."""

from __future__ import annotations

import contextlib
import json
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from offcam_proto.errors import RunFolderError
from offcam_runs import format as fmt
from offcam_runs.clips import read_clips
from offcam_runs.episodes import read_episodes
from offcam_runs.json_text import finite
from offcam_runs.pending import is_written
from offcam_runs.run_state import LIVE, LOST, state_of
from offcam_runs.running import RECENT, EpisodeTotals
from offcam_runs.sessions import sessions
from offcam_runs.steps.places import has_tape
from offcam_runs.steps.places import totals as step_totals
from offcam_runs.streams import began, number_of_envs, read_streams
from offcam_runs.sync.state import read_all
from offcam_runs.totals import run_totals
from offcamd.web.lru import LruCache
from offcamd.web.queries import NO_ATTEMPT, WATCHABLE
from offcamd.web.reading import AskedRun, is_plain, reading, reading_clips, signature
from offcamd.web.sparklines import sparkline

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable
    from pathlib import Path

    from offcam_runs.episodes import EpisodeTable
    from offcam_runs.sessions import Session
    from offcamd.web.source import RunSource

MOST_KEPT = 4_000
"""Most runs whose statistics are kept, so that a long list only reads those that changed."""

SHOWN_STATES = (fmt.RECORDING, fmt.FINAL, fmt.ABORTED, fmt.RECOVERED)
"""States of the clips that are counted; clips of `fmt.HIDDEN_STATES` have no file any more."""

NO_RULE = (
    "nobody said what success is, and no episode of the last 100 has an `is_success`: `offcam show --success RULE` "
    "counts by a rule of yours"
)
"""Why a run has no success rate: a rule of ours would only be a guess."""

LONG = 10_000
"""A run with at least so many episodes takes a moment to read."""

NEWEST_CLIP = ("key", "episode", "return")
"""Fields of the newest clip that the list of runs has."""

_DROPPED = """
SELECT key, sum(value) FROM clips, json_each(clips.dropped)
WHERE state NOT IN (SELECT value FROM json_each(:hidden)) AND dropped != '{}' GROUP BY key
"""
_RECORDING = """
SELECT streams.stream, clips.clip, clips.file FROM clips JOIN streams ON streams.id = clips.stream_id
WHERE clips.state = :recording AND clips.file IS NOT NULL AND clips.waits IS NULL ORDER BY clips.rowid DESC
"""
_CLIPS = f"SELECT state, count(*) FROM clips WHERE {NO_ATTEMPT} GROUP BY state"  # noqa: S608 - of our own words
_UPDATED = """
SELECT max(ifnull((SELECT started + ifnull(duration, 0) FROM episodes ORDER BY id DESC LIMIT 1), 0),
    ifnull((SELECT max(ended) FROM clips), 0), ifnull((SELECT max(ended) FROM streams), 0),
    ifnull((SELECT max(started) FROM streams), 0))
"""
_SHOWN = ("stream", "session", "env_id", "num_envs", "prefix", "pid", "host", "client", "started", "ended", "state")
"""Fields of a stream that are shown."""


@dataclass
class _Kept:
    lock: threading.RLock = field(default_factory=threading.RLock)
    signature: tuple[object, ...] = ()
    streams: list[dict[str, Any]] = field(default_factory=list)
    run: dict[str, Any] = field(default_factory=dict)


class RunDescriptions:
    """Describes runs, and reads only those that have changed. Thread-safe.

    Args:
        source: which runs there are.
        found: called with the folder of each long run, before it is first described.
    """

    def __init__(self, source: RunSource, found: Callable[[Path], None] = lambda _: None) -> None:
        self._source = source
        self._found = found
        self._kept: LruCache[tuple[Path, Session], _Kept] = LruCache(MOST_KEPT)

    def all(self) -> list[dict[str, Any]]:
        """The descriptions of all runs, in the order in which they came."""
        return [self.describe(AskedRun(run, folder)) for run, folder in self._source.folders().items()]

    def describe(self, asked: AskedRun) -> dict[str, Any]:
        """The description of one run; with a ``problem`` if it cannot be read."""
        run = self._up_to_date(asked).run
        return run | self._now(asked, run)

    def _now(self, asked: AskedRun, run: dict[str, Any]) -> dict[str, Any]:
        """Add what can change while the index does not."""
        sync = [each.as_dict() for each in read_all(asked.folder)]
        live = self._source.live(asked.run.partition("@")[0])
        state = run["state"]
        if live or (state == LOST and not run["problem"] and is_written(asked.folder)):  # by another daemon, say
            state = LIVE
        return {"live": live, "state": state, "sync": sync}

    def detail(self, asked: AskedRun) -> dict[str, Any]:
        """The description of one run, with its streams.

        Raises:
            NotHere: there is no such session.
            RunFolderError: the run cannot be read.
        """
        kept = self._up_to_date(asked)
        with kept.lock:
            if kept.run["problem"]:
                raise RunFolderError(kept.run["problem"])
            if not kept.streams:
                with reading(asked.folder, asked.session) as database:
                    kept.streams = _stream_list(database)
            return {**kept.run, **self._now(asked, kept.run), "stream_list": kept.streams}

    def _up_to_date(self, asked: AskedRun) -> _Kept:
        kept = self._kept.get((asked.folder, asked.session), _Kept)
        with kept.lock:
            now = signature(asked.folder)
            if kept.signature != now or kept.run.get("problem"):
                kept.run, kept.signature, kept.streams = self._read(asked, kept), now, []
        return kept

    def _read(self, asked: AskedRun, kept: _Kept) -> dict[str, Any]:
        folder = asked.folder
        named = {"name": folder.name or str(folder), "title": self._source.title(folder)}
        base = {"id": asked.run, "folder": str(folder), **named, "live": False}
        try:
            with reading(folder, asked.session) as database:
                if not kept.run and _last(database) >= LONG:
                    self._found(folder)
                facts = _facts(database, run_totals(database).as_dict(), asked)
            return {**base, "plain": is_plain(folder), "problem": None, **facts}
        except RunFolderError as error:
            return {**base, "plain": False, "problem": str(error), **_NOTHING, "clips": _films(folder)}


def _films(folder: Path) -> dict[str, int]:
    """The number of videos by state, for a run whose index cannot be read: the videos can be watched all the same."""
    found: dict[str, int] = {}
    with contextlib.suppress(RunFolderError), reading_clips(folder) as database:
        found = dict(database.execute(_CLIPS))
    return {state: found.get(state, 0) for state in SHOWN_STATES}


def _stream_list(database: sqlite3.Connection) -> list[dict[str, Any]]:
    """The streams of a run."""
    totals = run_totals(database).streams
    listed = []
    for stream in read_streams(database).values():
        counted = totals.get(stream.stream, EpisodeTotals())
        shown = finite({name: getattr(stream, name) for name in _SHOWN})
        listed.append({**shown, "episodes": counted.episodes, "steps": counted.steps})
    return listed


def _last(database: sqlite3.Connection) -> int:
    """The row id of the latest episode, 0 where there is none."""
    return int(database.execute("SELECT ifnull(max(id), 0) FROM episodes").fetchone()[0])


def _facts(database: sqlite3.Connection, totals: dict[str, Any], asked: AskedRun) -> dict[str, Any]:
    by_key = read_streams(database)
    streams = list(by_key.values())
    clips = dict(database.execute(_CLIPS))
    (updated,) = database.execute(_UPDATED).fetchone()
    return {
        "env_id": ", ".join(dict.fromkeys(stream.env_id for stream in streams if stream.env_id)) or None,
        "num_envs": number_of_envs(streams),
        "streams": len(streams),
        "sessions": sessions(database),
        "session": streams[0].session if len({stream.session for stream in streams}) == 1 else None,
        **{name: totals[name] for name in ("episodes", "steps", "steps_per_second")},
        "started": fmt.json_number(began(streams)),
        "updated": fmt.json_number(updated) or None,
        **{name: {key: totals[name][key] for key in _NO_NUMBERS} for name in ("return", "length")},
        **_values(read_episodes(database, by_key, order="id DESC", limit=RECENT)),
        "clips": {state: clips.get(state, 0) for state in SHOWN_STATES},
        "dropped": dict(database.execute(_DROPPED, {"hidden": json.dumps(fmt.HIDDEN_STATES)})),
        "dropped_steps": dict(step_totals(database).dropped),
        "replayable": has_tape(database),
        "state": state_of(streams),
        "sparkline": sparkline(database),
        "newest_clip": _newest_clip(database, asked),
        "recording_clip": _recording_clip(database, asked) if clips.get(fmt.RECORDING) else None,
    }


def _newest_clip(database: sqlite3.Connection, asked: AskedRun) -> dict[str, Any] | None:
    """The newest clip with a video, in short."""
    found = read_clips(database, asked.folder, WATCHABLE, order="place DESC", limit=1)
    if not found:
        return None
    (clip,) = found
    told = (f"{clip.stream_id}-{clip.clip}", clip.episode, fmt.json_number(clip.return_))
    return dict(zip(NEWEST_CLIP, told, strict=True))


def _recording_clip(database: sqlite3.Connection, asked: AskedRun) -> str | None:
    """The key of the clip that was begun last of those that are being recorded, if any has a picture of those."""
    clips = database.execute(_RECORDING, {"recording": fmt.RECORDING}).fetchall()
    pictured = (clip for clip in clips if (asked.folder / f"{clip[2]}{fmt.PART_EXTENSION}").exists())
    stream, number, _file = next(pictured, clips[0] if clips else (None, None, None))
    return None if stream is None else f"{stream}-{number}"


def _values(recent: EpisodeTable) -> dict[str, Any]:
    """The means of the last episodes' values, by name; of ``is_success`` that is the success rate, as SB3 logs it."""
    values, rule = list(recent.info), recent.success_rule
    if rule is None:
        return {**_NO_VALUES, "values": values}
    said = f"{rule}, of the last {RECENT} episodes"
    rate = recent.success_rate(rule).rate
    return {"values": values, "success_rate": rate, "success_rule": said, "success_why": None}


_NO_NUMBERS = dict.fromkeys(("mean", "std", "min", "max", "last100_mean"))
_NO_VALUES: dict[str, Any] = {"values": [], "success_rate": None, "success_rule": None, "success_why": NO_RULE}
_NOTHING: dict[str, Any] = {
    "env_id": None,
    "num_envs": 0,
    "streams": 0,
    "sessions": [],
    "session": None,
    "episodes": 0,
    "steps": 0,
    "steps_per_second": None,
    "started": None,
    "updated": None,
    "return": _NO_NUMBERS,
    "length": _NO_NUMBERS,
    **_NO_VALUES,
    "clips": dict.fromkeys(SHOWN_STATES, 0),
    "dropped": {},
    "dropped_steps": {},
    "replayable": False,
    "state": LOST,
    "sparkline": [],
    "newest_clip": None,
    "recording_clip": None,
}
