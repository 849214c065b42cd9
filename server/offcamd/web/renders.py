"""Videos of episodes that were recorded without pictures, rendered because a viewer asks for them.

`offcam render` makes them one at a time, each in a process of its own: no env that a run names is loaded in this one.
"""

from __future__ import annotations

import json
import shlex
import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from offcam_runs.clips import read_clips
from offcam_runs.steps.places import why_no_tape
from offcam_runs.streams import read_streams
from offcamd.web.commands import run_offcam
from offcamd.web.queries import MOST_OFFSET, clip_of, find_episode
from offcamd.web.reading import reading

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    from offcam_runs.episodes import Episode
    from offcam_runs.streams import Stream
    from offcamd.web.episode_cache import EpisodeCache
    from offcamd.web.params import Query
    from offcamd.web.reading import AskedRun
    from offcamd.web.source import RunSource

NOBODY_ASKED, WAITING, RENDERING, DONE, FAILED = STATES = ("none", "waiting", "rendering", "done", "failed")

MOST_WAITING: Final = 8
"""Most episodes that wait to be rendered, besides the one in progress."""

MOST_KEPT: Final = 256
"""Most episodes whose outcome is remembered."""

RENDER_SECONDS: Final = 3600.0
"""Longest time for one video, in seconds. The rendering process has bounds of its own on CPU time and memory."""


class TooMany(Exception):
    """Too many episodes wait already; the message says how many."""


class CannotRender(Exception):
    """An episode cannot be rendered; the message says why."""


class _Subject(NamedTuple):
    """The episode that a request is for."""

    folder: Path
    stream: str
    env_index: int
    episode: int


@dataclass
class _Told:
    """The outcome of a request."""

    state: str = WAITING
    percent: int | None = None  # how far it is, once it is known by which plan it happens again
    clip: str | None = None
    why: str | None = None
    diverged_at: int | None = None


class _Found(NamedTuple):
    """What a run has of an episode."""

    subject: _Subject
    number: int
    clip: str | None
    past: _Told | None
    why_not: str | None
    command: str


class Renders:
    """Requests to render episodes, and their outcomes. Thread-safe.

    Args:
        source: the runs that are served, and the daemon that records the videos.
        episodes: the cache of runs' episodes.
        stopping: whether the server is about to stop: nothing is rendered any more then.
    """

    def __init__(self, source: RunSource, episodes: EpisodeCache, stopping: Callable[[], bool]) -> None:
        self._source = source
        self._episodes = episodes
        self._stopping = stopping
        self._lock = threading.Lock()
        self._told: OrderedDict[_Subject, _Told] = OrderedDict()
        self._thread: threading.Thread | None = None

    def look(self, asked: AskedRun, query: Query) -> dict[str, Any]:
        """Whether an episode has a video, and whether one can be rendered.

        Args:
            asked: the run.
            query: has the episode's number in order of arrival as ``number``.

        Raises:
            BadQuery: there is no such number.
            NotHere: there is no such episode.
            RunFolderError: the run cannot be read.
        """
        found = self._find(asked, query)
        with self._lock:
            return self._answer(found)

    def ask(self, asked: AskedRun, query: Query) -> dict[str, Any]:
        """Have an episode rendered, unless its video exists or is on its way; if that failed before, try again.

        Args:
            asked: the run.
            query: has the episode's number in order of arrival as ``number``.

        Raises:
            BadQuery: there is no such number.
            CannotRender: its steps are missing, or it was not recorded for replay.
            NotHere: there is no such episode.
            RunFolderError: the run cannot be read.
            TooMany: too many others wait.
        """
        found = self._find(asked, query)
        with self._lock:
            told = self._told.get(found.subject)
            if found.clip is None and (told is None or told.state in (DONE, FAILED)):
                if found.why_not is not None:
                    raise CannotRender(found.why_not)
                self._add(found.subject)
            return self._answer(found)

    def _find(self, asked: AskedRun, query: Query) -> _Found:
        number = query.integer("number", None, 0, MOST_OFFSET)
        with reading(asked.folder, asked.session) as database:
            streams = read_streams(database)
            clips = self._episodes.clips(asked.folder, database, streams)
            episode = find_episode(database, streams, number)
            clip = clip_of(episode, clips)
            key, stream = list(streams.items())[episode.stream]
            over = stream.ended is not None
            past = None if clip else _divergence(database, asked.folder, stream.stream, episode.episode)
            why = why_no_tape(database, key, episode.env_index, episode.episode, over=over)
        several = len({each.session for each in streams.values()}) > 1 or asked.session is not None
        alike = sum(each.session == stream.session and not each.replays for each in streams.values()) > 1
        subject = _Subject(asked.folder, stream.stream, episode.env_index, episode.episode)
        words = _words(asked.folder, episode, stream, session=several, stream_too=alike)
        return _Found(
            subject=subject,
            number=episode.number,
            clip=clip,
            past=past,
            why_not=why,
            command=shlex.join(["offcam", *words]),
        )

    def _answer(self, found: _Found) -> dict[str, Any]:
        """The answer of the API. The lock must be held."""
        told = self._told.get(found.subject, found.past or _Told(NOBODY_ASKED))
        if found.clip is not None and told.state not in (WAITING, RENDERING):
            told = _Told(DONE, clip=found.clip)
        waiting = [each for each, of in self._told.items() if of.state in (WAITING, RENDERING)]
        return {
            "number": found.number,
            "episode": found.subject.episode,
            "env_index": found.subject.env_index,
            "stream": found.subject.stream,
            "state": told.state,
            "percent": told.percent,
            "ahead": waiting.index(found.subject) if told.state == WAITING else 0,
            "clip": told.clip,
            "why": told.why if told.why is not None else found.why_not if told.state == NOBODY_ASKED else None,
            "diverged_at": told.diverged_at,
            "replayable": found.why_not is None,
            "command": found.command,
        }

    def _add(self, subject: _Subject) -> None:
        if sum(told.state == WAITING for told in self._told.values()) >= MOST_WAITING:
            raise TooMany(f"{MOST_WAITING} episodes wait to be rendered already: ask again once some of them are")
        self._told.pop(subject, None)  # so that it is entered anew, behind all others
        self._told[subject] = _Told()
        over = [each for each, told in self._told.items() if told.state in (DONE, FAILED)]
        for each in over[: max(0, len(self._told) - MOST_KEPT)]:
            del self._told[each]
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="offcam-render")
            self._thread.start()

    def _work(self) -> None:
        """Render one episode after the other, until none waits."""
        while (subject := self._next()) is not None:
            try:
                outcome = self._render(subject)
            except Exception as error:  # noqa: BLE001 - whatever it is, as a full disk: those who asked are told
                outcome = _Told(FAILED, why=str(error))
            with self._lock:
                if subject in self._told:
                    self._told[subject] = outcome

    def _next(self) -> _Subject | None:
        with self._lock:
            for subject, told in self._told.items():
                if told.state == WAITING and not self._ending():
                    told.state = RENDERING
                    return subject
            self._thread = None
            return None

    def _ending(self) -> bool:
        return self._stopping() or self._source.unready() is not None

    def _over(self, seconds: float) -> str | None:
        if seconds > RENDER_SECONDS:
            return f"it took longer than {RENDER_SECONDS:g} s"
        return "the recorder is stopping" if self._ending() else None

    def _render(self, subject: _Subject) -> _Told:
        def progress(percent: int) -> None:
            with self._lock:
                self._told[subject].percent = percent

        ended, said = run_offcam([*_arguments(subject), "--json"], self._over, self._source.address, progress)
        return self._outcome(subject, said) if ended else _Told(FAILED, why=said)

    def _outcome(self, subject: _Subject, said: str) -> _Told:
        try:
            found = json.loads(said)
            videos = found.get("videos", [])
        except (ValueError, AttributeError):
            return _Told(FAILED, why="the process that renders ended without an answer")
        if not videos:
            return _Told(FAILED, why=str(found.get("error", "nothing was rendered")))
        (video,) = videos[-1:]
        if not video["file"]:
            changed = f"; since it was recorded, {', '.join(video['changes'])}" if video["changes"] else ""
            return _Told(FAILED, why=video["why"] + changed, diverged_at=video["diverged_at"])
        with reading(subject.folder, "all") as database:
            clips = read_clips(database, subject.folder, "file = :file", {"file": Path(video["file"]).name})
        if not clips:
            return _Told(FAILED, why=f"{video['file']} was made, and is gone from the index again")
        return _Told(DONE, clip=f"{clips[-1].stream_id}-{clips[-1].clip}")


def _divergence(database: sqlite3.Connection, folder: Path, stream: str, episode: int) -> _Told | None:
    """What the run knows of an earlier attempt to render an episode, which differed when it was replayed."""
    condition = (
        "diverged_at IS NOT NULL AND episode = :episode AND name LIKE '%-episode-' || :episode "
        "AND stream IN (SELECT stream FROM main.streams WHERE replays = :stream)"
    )
    values = {"stream": stream, "episode": episode}
    for clip in read_clips(database, folder, condition, values, order="place DESC", limit=1):
        return _Told(FAILED, why=f"it did not happen again: {clip.diverged_why}", diverged_at=clip.diverged_at)
    return None


def _arguments(subject: _Subject) -> list[str]:
    """The arguments of `offcam render` that name the episode."""
    which = ["--episode", str(subject.episode), "--env-index", str(subject.env_index), "--stream", subject.stream]
    return ["render", str(subject.folder), *which, "--session", "all"]


def _words(folder: Path, episode: Episode, stream: Stream, *, session: bool, stream_too: bool) -> list[str]:
    """The same as words for people, with as few as they need."""
    words = ["render", str(folder), "--episode", str(episode.episode)]
    words += ["--env-index", str(episode.env_index)] if episode.env_index else []
    words += ["--session", str(stream.session)] if session else []
    return words + (["--stream", stream.stream] if stream_too else [])
