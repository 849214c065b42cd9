"""Waiting in tests: for events, never for speed; and processes that do not outlive a test that failed.

No wait has a deadline of its own. What never comes is ended by pytest's timeout for one test, which is there for what
hangs (`pyproject.toml` has it), and by then it has been said what was waited for.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

HANG_SECONDS = 240.0
"""For calls that ask for a limit, as those on processes and sockets do: longer than anything takes on a busy machine,
shorter than pytest's timeout, so that it is the call that says what hangs."""

POLL_SECONDS = 0.005


def wait_until(done: Callable[[], Any], what: str, state: Callable[[], object] | None = None) -> Any:
    """Wait for an event that shows only in a file or an answer, and return what shows it.

    Args:
        done: whether it has come; asked again and again.
        what: the event in words, said where it does not come.
        state: what is said beside it then, such as a log.
    """
    found = None
    try:
        while not (found := done()):
            time.sleep(POLL_SECONDS)
    except BaseException:  # pytest's timeout, too, is raised in the midst of this
        print(f"waited until {what}; seen last: {found!r}", *([state()] if state else []), file=sys.stderr)
        raise
    return found


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and was not waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def freeze(pid: int) -> None:
    """Stop a process with SIGSTOP, and wait until each thread of it stands still.

    The signal alone says nothing of when: on a busy machine a thread goes on until it is next about to run, and may
    have answered by then. A process that dies meanwhile stands still, too.
    """
    os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: _standing_still(pid), f"process {pid} is stopped")


def _standing_still(pid: int) -> bool:
    try:
        stats = [(thread / "stat").read_text() for thread in Path(f"/proc/{pid}/task").iterdir()]
    except FileNotFoundError:  # a thread ended
        return not Path(f"/proc/{pid}").exists()
    return all(stat.rpartition(")")[2].split()[0] in "TtZX" for stat in stats)


class Process(subprocess.Popen[str]):
    """A process with text in its pipes; where ``with`` is left by an exception, as a timeout is one, it is killed."""

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is not None:
            self.kill()
        super().__exit__(kind, value, traceback)
