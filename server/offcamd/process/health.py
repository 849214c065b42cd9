"""The daemon's health: which parts are down and why, and how its threads go on after an unexpected error.

Two rules hold for every thread. Work that raises is reported and brought to a definite end, and its thread goes on with
the next work (`Health.survive`). If a thread ends all the same (`GuardedThread`), the part of the daemon that it was is
down from then on, and whoever asks is told why.
"""

from __future__ import annotations

import logging
import threading
import traceback
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass

log = logging.getLogger(__name__)

MOST_ERRORS = 20
"""How many of the latest errors are kept."""

PARTS = ("encoder", "http", "service", "spool", "store", "video", "other")
"""The parts of a daemon; ``video`` is the library that makes videos, as judged by the self-test."""
ENCODER, HTTP, SERVICE, SPOOL, STORE, VIDEO, OTHER = PARTS

UNTESTED, TESTING, PASSED, FAILED, SKIPPED = SELF_TEST_STATES = ("untested", "testing", "passed", "failed", "skipped")
"""Outcomes of the self-test; it is skipped without room for its file, which is not the encoder's fault."""


class Health:
    """What went wrong in the daemon, and which of its parts are down. Thread-safe.

    Attributes:
        self_test: outcome of `offcamd.encode.self_test`, one of the words above.
    """

    def __init__(self) -> None:
        self.self_test = UNTESTED
        self._lock = threading.Lock()
        self._errors: deque[str] = deque(maxlen=MOST_ERRORS)
        self._unexpected: Counter[str] = Counter()
        self._down: dict[str, str] = {}

    def note(self, text: str) -> None:
        """Remember an error of an expected kind, such as a full disk."""
        with self._lock:
            self._errors.append(text)

    def unexpected(self, part: str, about: str, error: BaseException) -> None:
        """Log an unexpected error with its traceback, count it, and remember it."""
        self.unexpected_elsewhere(part, about, repr(error), "".join(traceback.format_exception(error)))

    def unexpected_elsewhere(self, part: str, about: str, error: str, trace: str) -> None:
        """As `unexpected`, of an error in another process, of which there are its text and its traceback."""
        log.error("unexpected error in the %s, at %s: please report it\n%s", part, about, trace.rstrip())
        with self._lock:
            self._unexpected[part] += 1
            self._errors.append(f"{about}: unexpected {error}")

    def down(self, part: str, reason: str) -> None:
        """Note that a part of the daemon does not work any more. Its first reason counts."""
        with self._lock:
            if part in self._down:
                return
            self._down[part] = reason
            self._errors.append(reason)
        log.error("%s", reason)

    def survive(self, part: str, about: str, otherwise: Callable[[BaseException], object] | None = None) -> _Survival:
        """Go on after the ``with`` block whatever is raised in it.

        Args:
            part: the part of the daemon that is at work.
            about: what it works on, for people.
            otherwise: called with what was raised, to bring the work to an end. What it raises passes through.
        """
        return _Survival(self, part, about, otherwise)

    def thread_ended(self, args: threading.ExceptHookArgs) -> None:
        """For `threading.excepthook`: a thread ended on which no recording depends, such as one that reads ahead."""
        if args.exc_value is not None:
            self.unexpected(OTHER, f"the thread {args.thread.name if args.thread else '?'}", args.exc_value)

    @property
    def problems(self) -> dict[str, str]:
        """By name, why parts are down; empty if all work."""
        with self._lock:
            return dict(self._down)

    @property
    def recent_errors(self) -> list[str]:
        """The latest errors, the oldest first."""
        with self._lock:
            return list(self._errors)

    @property
    def unexpected_errors(self) -> dict[str, int]:
        """How many unexpected errors there were, by part."""
        with self._lock:
            return dict(self._unexpected)


@dataclass(slots=True)
class _Survival:
    """What `Health.survive` returns. A class, as contextlib's generator costs three times as much for each message."""

    health: Health
    part: str
    about: str
    otherwise: Callable[[BaseException], object] | None

    def __enter__(self) -> None:
        pass

    def __exit__(self, _type: object, error: BaseException | None, _traceback: object) -> bool:
        if error is None:
            return False
        self.health.unexpected(self.part, self.about, error)  # also SystemExit, which would end the thread
        if self.otherwise is not None:
            self.otherwise(error)
        return True


class GuardedThread(threading.Thread):
    """A thread that the daemon's work depends on. If it ends by an exception, its part is down.

    Args:
        part: one of `PARTS`.
        work: called on the thread.
        health: is told if that raises.
        name: of the thread.
    """

    def __init__(self, part: str, work: Callable[[], object], health: Health, *, name: str) -> None:
        super().__init__(name=name, daemon=True)
        self._part = part
        self._work = work
        self._health = health

    def run(self) -> None:
        """Call ``work``; see `threading.Thread`."""
        with self._health.survive(self._part, f"its thread {self.name}", self._died):
            self._work()

    def _died(self, error: BaseException) -> None:
        self._health.down(
            self._part,
            f"the {self._part} is dead, its thread {self.name} was ended by {error!r}: restart the daemon, with "
            "`offcam stop` and `offcam start`",
        )
