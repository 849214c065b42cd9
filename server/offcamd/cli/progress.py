"""Progress bars and spinners, only on the stderr of a terminal."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

PATIENCE_SECONDS = 1.0
"""Seconds after which a progress bar appears."""


@contextmanager
def progress_bar(what: str) -> Iterator[Callable[[int, int], None] | None]:
    """A progress bar on a terminal, after a second; yields what to call with how much is done, and of how much.

    The bar appears after `PATIENCE_SECONDS` by itself, even if the function was not called yet.
    """
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress

    bar = Progress(console=Console(stderr=True), transient=True)
    task = bar.add_task(what, total=None)
    later = threading.Timer(PATIENCE_SECONDS, bar.start)
    later.daemon = True
    later.start()
    try:
        yield lambda done, total: bar.update(task, completed=done, total=total)
    finally:
        later.cancel()
        later.join()  # else the timer could start the bar after it was stopped
        if bar.live.is_started:  # stopping a bar that was not started would clear the line above
            bar.stop()


def waiting(text: str) -> AbstractContextManager[object]:
    """A spinner if stderr is a terminal, else nothing."""
    if not sys.stderr.isatty():
        return nullcontext()
    from rich.console import Console

    return Console(stderr=True).status(text)
