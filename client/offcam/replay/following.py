"""Renders videos that rules keep, one after the other, as the runs' indexes name them at the time."""

from __future__ import annotations

import os
import time
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from offcam_proto.errors import OffcamError
from offcam_runs.database import open_to_read
from offcam_runs.format import INDEX_COMPANIONS, INDEX_NAME
from offcam_runs.replay.kept import waiting
from offcam_runs.replay.requests import Answer, Follow, Request

if TYPE_CHECKING:
    from collections.abc import Callable

MOST_TRIES: Final = 3
"""How often a video is tried that does not become whole, as when its daemon dies."""

LOOK_SECONDS: Final = 0.5
"""How long an index that has changed is left alone before it is read again, in seconds."""


class Following:
    """Renders the videos of some streams that their rules keep, one after the other.

    The index is asked for the next one each time: a video that is let go before its turn is never rendered. That an
    episode differs when it is replayed is only remembered here: another process tries it once more.

    Args:
        make: renders a video; returns None if its steps are still on their way.
    """

    def __init__(self, make: Callable[[Request], Answer | None]) -> None:
        self._make = make
        self._streams: dict[tuple[str, str], _Seen] = {}
        self._next_look = 0.0

    def __bool__(self) -> bool:
        """Whether any stream is followed."""
        return bool(self._streams)

    def begin(self, follow: Follow) -> None:
        """Follow one more stream, or look at one anew."""
        seen = self._streams.setdefault((follow.folder, follow.follow), _Seen())
        seen.facts = ()
        self._next_look = 0.0

    def catch_up(self, follow: Follow) -> Answer | None:
        """Make one video of a followed stream. Returns what became of it; None where none is to be made by now.

        Raises:
            RunFolderError: the index cannot be read.
        """
        seen = self._streams[follow.folder, follow.follow]
        request = self._waiting(follow, seen)
        answer = None if request is None else self._make(request)
        return None if request is None or answer is None else self._done(request, answer, seen)

    def go_on(self) -> Answer | None:
        """As `catch_up`, for any stream whose index has changed since none was to be made. Never raises."""
        if time.monotonic() < self._next_look:
            return None
        for (folder, stream), seen in self._streams.items():
            facts = _facts(folder)
            with suppress(OffcamError):  # it is tried again when the index changes
                if facts != seen.facts and (answer := self.catch_up(Follow(folder, stream))):
                    return answer
            seen.facts = facts
        self._next_look = time.monotonic() + LOOK_SECONDS
        return None

    def _waiting(self, follow: Follow, seen: _Seen) -> Request | None:
        with open_to_read(follow.folder, settled=True, session="all") as database:
            found = waiting(database, follow.folder, follow.follow)
            return next((each for each in found if each.name not in seen.failed), None)

    def _done(self, request: Request, answer: Answer, seen: _Seen) -> Answer:
        """The answer for a video that was made, or cannot be; empty if it was let go, or is to be tried again."""
        if answer.file:
            return answer._replace(kept=True)
        with open_to_read(request.folder, settled=True, session="all") as database:
            waits = any(each.name == request.name for each in waiting(database, request.folder, request.stream))
        seen.tries[request.name] += 1
        begun = bool(answer.plan) and answer.diverged_at is None
        if not waits or (begun and seen.tries[request.name] < MOST_TRIES):
            return Answer(request.name, kept=True)
        seen.failed.add(request.name)
        return answer._replace(kept=True)


class _Seen:
    """What is known of a followed stream.

    Attributes:
        facts: the facts of the index when it was last read and nothing was to be made.
        failed: names of videos that cannot be made.
        tries: by name, how often each video was tried that is not made yet.
    """

    def __init__(self) -> None:
        self.facts: tuple[object, ...] = ()
        self.failed: set[str] = set()
        self.tries: Counter[str] = Counter()


def _facts(folder: str) -> tuple[object, ...]:
    """Numbers that change whenever an index does, found without opening it, as its daemon could not tidy it up then."""
    found: list[object] = []
    for name in (INDEX_NAME, *(INDEX_NAME + companion for companion in INDEX_COMPANIONS[::2])):
        try:
            facts = os.stat(os.path.join(folder, name))
        except OSError:
            continue
        found.append((name, facts.st_ino, facts.st_size, facts.st_mtime_ns))
    return tuple(found)
