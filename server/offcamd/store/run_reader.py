"""Reading how far runs came, for clients that resume them, off the store's thread, so that no training waits for it."""

from __future__ import annotations

import threading
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from offcam_proto.errors import DaemonError, NotARunFolder, OffcamError
from offcam_runs.resuming import Before, run_before
from offcamd.process.health import STORE

if TYPE_CHECKING:
    from collections.abc import Callable

    from offcamd.process.health import Health

MOST_WAITING = 4096
"""Most questions that wait for an answer, of all clients together."""


class RunRead(NamedTuple):
    """How far a run came, None if the folder has no run; or why that cannot be said.

    Attributes:
        reply: the object that was given with the question.
    """

    reply: object
    before: Before | None
    error: OffcamError | None = None


class _Question(NamedTuple):
    folder: str
    prefix: str
    reply: object


class RunReader:
    """Answers questions one by one, on a thread that exists while there are any. `read` may be called on any thread.

    Args:
        on_event: called on that thread with each `RunRead`.
        health: is told of unexpected errors.
    """

    def __init__(self, on_event: Callable[[RunRead], None], health: Health) -> None:
        self._on_event = on_event
        self._health = health
        self._lock = threading.Lock()
        self._waiting: deque[_Question] = deque()
        self._works = False

    def read(self, folder: str, prefix: str, reply: object) -> bool:
        """Have `run_before` find out how far a run came. False if too many questions wait already."""
        with self._lock:
            if len(self._waiting) >= MOST_WAITING:
                return False
            self._waiting.append(_Question(folder, prefix, reply))
            if not self._works:
                thread = threading.Thread(target=self._work, name="offcam-run-reader", daemon=True)
                with suppress(RuntimeError):  # no thread can be started now: the next question tries again
                    thread.start()
                    self._works = True
        return True

    def _work(self) -> None:
        while (question := self._next()) is not None:
            self._on_event(self._answer(question))

    def _next(self) -> _Question | None:
        with self._lock:
            self._works = bool(self._waiting)
            return self._waiting.popleft() if self._waiting else None

    def _answer(self, question: _Question) -> RunRead:
        met: list[BaseException] = []
        with self._health.survive(STORE, question.folder, met.append):
            try:
                return RunRead(question.reply, run_before(question.folder, question.prefix))
            except NotARunFolder:  # the folder was removed meanwhile
                return RunRead(question.reply, None)
            except OffcamError as error:
                return RunRead(question.reply, None, error)
        return RunRead(question.reply, None, DaemonError(f"unexpected {met[0]!r}: please report it, its log has more"))
