"""What other threads tell the service's thread: events of encoders and store, and that it is to stop."""

from __future__ import annotations

import contextlib
import select
import socket
from collections import deque
from collections.abc import Iterator


class Inbox:
    """Events in order of arrival. `post` and `stop` are for any thread and for signal handlers.

    Attributes:
        waker: a socket that can be read from once something came.
        stops: how often the service was asked to stop.
        stop_reason: why, by the first who asked.
    """

    def __init__(self) -> None:
        self.stops = 0
        self.stop_reason = ""
        self._events: deque[object] = deque()
        self.waker, self._wake = socket.socketpair()
        for end in (self.waker, self._wake):
            end.settimeout(0)

    def post(self, event: object) -> None:
        """Add an event, and wake the service."""
        self._events.append(event)
        self._wake_up()

    def stop(self, reason: str) -> None:
        """Ask the service to stop; a second time, to hurry."""
        self.stops += 1
        self.stop_reason = self.stop_reason or reason
        self._wake_up()

    def _wake_up(self) -> None:
        with contextlib.suppress(OSError):  # full: the loop is about to wake; closed: it has ended
            self._wake.send(b"\0")

    def __bool__(self) -> bool:
        return bool(self._events)

    def wait(self, seconds: float) -> None:
        """Wait until something comes, at most so many seconds."""
        select.select([self.waker], [], [], seconds)

    def take(self) -> Iterator[object]:
        """Take the events out, those included that come meanwhile."""
        with contextlib.suppress(BlockingIOError):
            while self.waker.recv(4096):
                pass
        while self._events:
            yield self._events.popleft()

    def close(self) -> None:
        """Close the sockets: no one is woken any more."""
        self.waker.close()
        self._wake.close()
