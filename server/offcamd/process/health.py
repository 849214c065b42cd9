"""The daemon's health: what keeps it from working, and how its threads go on after an error that nobody expected.

Two rules, for every thread. A piece of work that raises is told of and given a definite end, and its thread goes on
with the next (`Health.survive`). A thread that ends all the same is known to have (`GuardedThread`): the part of the
daemon that it was is down from then on, and whoever asks hears why.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass

log = logging.getLogger(__name__)

MOST_ERRORS = 20
"""So many of the last errors are kept for whoever looks at the daemon."""

PARTS = ("encoder", "http", "service", "spool", "store", "video", "other")
"""The parts of a daemon; ``video`` is the library that makes videos, as the self-test found it."""
ENCODER, HTTP, SERVICE, SPOOL, STORE, VIDEO, OTHER = PARTS

UNTESTED, TESTING, PASSED, FAILED, SKIPPED = SELF_TEST_STATES = ("untested", "testing", "passed", "failed", "skipped")
"""What became of the self-test; it is skipped where there is no room for its file, which is no fault of the encoder."""


class Health:
    """What went wrong, and what is down. Thread-safe.

    Attributes:
        self_test: what became of `offcamd.encode.self_test`, a word from above.
    """

    def __init__(self) -> None:
        self.self_test = UNTESTED
        self._lock = threading.Lock()
        self._errors: deque[str] = deque(maxlen=MOST_ERRORS)
        self._unexpected: Counter[str] = Counter()
        self._down: dict[str, str] = {}

    def note(self, text: str) -> None:
        """Remember an error of a kind that is expected, such as a full disk."""
        with self._lock:
            self._errors.append(text)

    def unexpected(self, part: str, about: str, error: BaseException) -> None:
        """Log what nobody expected with its traceback, count it, and remember it."""
        log.error("unexpected error in the %s, at %s: please report it", part, about, exc_info=error)
        with self._lock:
            self._unexpected[part] += 1
            self._errors.append(f"{about}: unexpected {error!r}")

    def down(self, part: str, reason: str) -> None:
        """A part of the daemon works no more. Its first reason counts."""
        with self._lock:
            if part in self._down:
                return
            self._down[part] = reason
            self._errors.append(reason)
        log.error("%s", reason)

    def survive(self, part: str, about: str, otherwise: Callable[[BaseException], object] | None = None) -> _Survival:
        """Go on behind the ``with`` block whatever is raised in it.

        Args:
            part: which part of the daemon is at work.
            about: what it works on, for people.
            otherwise: called with what was raised: gives the piece of work its end. What it raises itself is raised.
        """
        return _Survival(self, part, about, otherwise)

    def thread_ended(self, args: threading.ExceptHookArgs) -> None:
        """For `threading.excepthook`: of a thread on which no recording depends, such as one that looks ahead."""
        if args.exc_value is not None:
            self.unexpected(OTHER, f"the thread {args.thread.name if args.thread else '?'}", args.exc_value)

    @property
    def problems(self) -> dict[str, str]:
        """Why a part is down, by its name; empty where all works."""
        with self._lock:
            return dict(self._down)

    @property
    def recent_errors(self) -> list[str]:
        """What went wrong last, the oldest first."""
        with self._lock:
            return list(self._errors)

    @property
    def unexpected_errors(self) -> dict[str, int]:
        """How many errors nobody expected, by the part that met them."""
        with self._lock:
            return dict(self._unexpected)


@dataclass(slots=True)
class _Survival:
    """What `Health.survive` returns; a generator of contextlib's would cost three times as much, for each message."""

    health: Health
    part: str
    about: str
    otherwise: Callable[[BaseException], object] | None

    def __enter__(self) -> None:
        pass

    def __exit__(self, _type: object, error: BaseException | None, _traceback: object) -> bool:
        if error is None:
            return False
        self.health.unexpected(self.part, self.about, error)  # a library's SystemExit, too, would end the thread
        if self.otherwise is not None:
            self.otherwise(error)
        return True


class GuardedThread(threading.Thread):
    """A thread on which the daemon's work depends. If it ends by an exception, its part is down.

    Args:
        part: one of `PARTS`.
        work: what it does, until it is done.
        health: who is told.
        name: of the thread.
    """

    def __init__(self, part: str, work: Callable[[], object], health: Health, *, name: str) -> None:
        super().__init__(name=name, daemon=True)
        self._part = part
        self._work = work
        self._health = health

    def run(self) -> None:
        """Work; see `threading.Thread`."""
        with self._health.survive(self._part, f"its thread {self.name}", self._died):
            self._work()

    def _died(self, error: BaseException) -> None:
        self._health.down(
            self._part,
            f"the {self._part} is dead, its thread {self.name} was ended by {error!r}: restart the daemon, with "
            "`offcam stop` and `offcam start`",
        )
