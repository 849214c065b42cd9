"""Videos as animated pictures, GIF and WebP, made because somebody who looks at them asks.

`offcam gif` makes them, in a process of its own, one at a time.
"""

from __future__ import annotations

import json
import shlex
import tempfile
import threading
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from offcam_runs.streams import read_streams
from offcamd.web.commands import run_offcam
from offcamd.web.queries import MOST_OFFSET, clip_of, find_clip, find_episode
from offcamd.web.reading import reading
from offcamd.web.renders import CannotRender, TooMany

if TYPE_CHECKING:
    from collections.abc import Callable

    from offcamd.web.episode_cache import EpisodeCache
    from offcamd.web.params import Query
    from offcamd.web.reading import AskedRun
    from offcamd.web.source import RunSource

KINDS: Final = ("gif", "webp")

MOST_SECONDS: Final = 60.0
"""Of a video that is made one: longer ones are for the command, which needs no answer to wait for."""

MOST_WIDTH: Final = 480
"""Pixels of its width."""

MOST_FPS: Final = 25

MOST_BYTES: Final = 32 << 20
"""Of one, and of all that are kept, in memory."""

MAKE_SECONDS: Final = 300.0


class _Subject(NamedTuple):
    """What is asked for: a clip's episode, in a format."""

    folder: Path
    clip: str
    stream: str
    env_index: int
    episode: int
    kind: str
    overlay: bool


class Animations:
    """Makes them, and keeps the last ones. Of any thread.

    Args:
        source: the runs that are served.
        episodes: those of the runs that are looked at.
        stopping: whether the server is about to stop: none is made any more then.
    """

    def __init__(self, source: RunSource, episodes: EpisodeCache, stopping: Callable[[], bool]) -> None:
        self._source = source
        self._episodes = episodes
        self._stopping = stopping
        self._working = threading.Lock()
        self._kept: OrderedDict[_Subject, bytes] = OrderedDict()

    def make(self, asked: AskedRun, query: Query) -> tuple[str, bytes]:
        """The kind and the bytes of an animation of an episode's video.

        Args:
            asked: the run.
            query: has the episode's number in order of arrival, the kind, and whether there is an overlay.

        Raises:
            BadQuery: that is none.
            CannotRender: the episode has no video, a long one, or it cannot be made.
            NotHere: there is no such episode.
            RunFolderError: the run cannot be read.
            TooMany: another one is being made.
        """
        subject, width = self._find(asked, query)
        if not self._working.acquire(blocking=False):
            raise TooMany("another animation is being made: ask again once that is there")
        try:
            if subject not in self._kept:
                self._keep(subject, self._made(subject, width))
            self._kept.move_to_end(subject)
            return subject.kind, self._kept[subject]
        finally:
            self._working.release()

    def _find(self, asked: AskedRun, query: Query) -> tuple[_Subject, int]:
        """What is asked for, and how wide it becomes."""
        kind, number = query.choice("kind", KINDS), query.integer("number", None, 0, MOST_OFFSET)
        with reading(asked.folder, asked.session) as database:
            streams = read_streams(database)
            clips = self._episodes.clips(asked.folder, database, streams)
            episode = find_episode(database, streams, number)
            key = clip_of(episode, clips)
            if key is None:
                raise CannotRender(f"episode {episode.episode} has no video that an animation could be made of")
            clip = find_clip(database, asked.folder, key)
            stream = list(streams.values())[episode.stream].stream
        subject = _Subject(
            folder=asked.folder,
            clip=key,
            stream=stream,
            env_index=episode.env_index,
            episode=episode.episode,
            kind=kind,
            overlay=query.boolean("overlay") or False,
        )
        if (clip.duration or 0.0) > MOST_SECONDS:
            by_hand = shlex.join(["offcam", *_arguments(subject), "-o", f"episode.{kind}"])
            raise CannotRender(f"its video is longer than {MOST_SECONDS:g} s, the most that is made here: {by_hand}")
        return subject, min(clip.width or MOST_WIDTH, MOST_WIDTH)

    def _made(self, subject: _Subject, width: int) -> bytes:
        with tempfile.TemporaryDirectory(prefix="offcam-animation-") as folder:
            file = Path(folder) / f"episode.{subject.kind}"
            sized = ["--width", str(width), "--fps", str(MOST_FPS), "-o", str(file), "--json"]
            ended, said = run_offcam([*_arguments(subject), *sized], self._over)
            if not ended:
                raise CannotRender(f"no animation: {said}")
            if not file.exists():
                raise CannotRender(f"no animation: {_error_in(said)}")
            if file.stat().st_size > MOST_BYTES:
                raise CannotRender(f"the animation has more than {MOST_BYTES >> 20} MiB: `offcam gif` makes such ones")
            return file.read_bytes()

    def _over(self, seconds: float) -> str | None:
        if seconds > MAKE_SECONDS:
            return f"it took longer than {MAKE_SECONDS:g} s"
        return "the recorder is stopping" if self._stopping() else None

    def _keep(self, subject: _Subject, data: bytes) -> None:
        self._kept[subject] = data
        while sum(map(len, self._kept.values())) > MOST_BYTES:
            self._kept.popitem(last=False)


def _arguments(subject: _Subject) -> list[str]:
    which = ["--episode", str(subject.episode), "--env-index", str(subject.env_index), "--stream", subject.stream]
    return ["gif", str(subject.folder), *which, "--session", "all", *["--overlay"] * subject.overlay]


def _error_in(said: str) -> str:
    """What a command that failed says was wrong."""
    try:
        return str(json.loads(said)["error"])
    except (ValueError, KeyError, TypeError):
        return "the process that makes it ended without an answer"
