"""Waiting that a signal ends, whichever thread of the process the kernel gave it to."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import threading

SIGNAL_SECONDS = 0.2
"""The longest that the main thread waits in one piece.

The kernel may give a signal to any thread, or to the main one in the moment before it waits; Python runs the signal's
handler when the main thread next wakes, and nothing else wakes it.
"""


def wait_for(event: threading.Event) -> None:
    """Return when the event is set; what signals' handlers raise is raised. On the main thread."""
    while not event.wait(SIGNAL_SECONDS):
        pass
