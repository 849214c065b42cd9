"""Waiting that signals can end, whichever thread the kernel delivers them to."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import threading

SIGNAL_SECONDS = 0.2
"""The longest that the main thread waits in one piece, in seconds.

The kernel may deliver a signal to any thread, or to the main one just before it waits. Python runs the handler only
when the main thread wakes next, and nothing else wakes it.
"""


def wait_for(event: threading.Event) -> None:
    """Return when the event is set. What a signal's handler raises passes through. On the main thread."""
    while not event.wait(SIGNAL_SECONDS):
        pass
