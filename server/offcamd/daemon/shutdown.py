"""How the daemon stops: it takes in what is under way, finishes every video, commits, and says goodbye."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import structlog

from offcamd.process.health import SERVICE, GuardedThread

if TYPE_CHECKING:
    from collections.abc import Callable

    from offcamd.daemon.inbox import Inbox
    from offcamd.daemon.loop import Loop
    from offcamd.encode.pool import EncoderPool
    from offcamd.process.health import Health
    from offcamd.process.instance_lock import DaemonLock
    from offcamd.store.store import Store

log = structlog.get_logger(__name__)

FINISH_SECONDS = 60.0
"""How long a stop waits for queued frames to be encoded; a second stop waits no longer."""

QUIET_MS = 50
DRAIN_SECONDS = 0.5
"""A stop goes on receiving until no message has come for a moment, or for so long from clients that never pause."""


class Shutdown:
    """The end of a daemon, on the service's thread; each part of it as far as it can be.

    Args:
        loop: goes on with what comes.
        inbox: says why, and whether to hurry.
        pool: the encoders, which finish their videos.
        store: commits what was handed to it.
        lock: tells others that this daemon takes no more clients.
        health: is told of what nobody expected.
    """

    def __init__(
        self, loop: Loop, inbox: Inbox, pool: EncoderPool, store: Store, lock: DaemonLock, health: Health
    ) -> None:
        self._loop = loop
        self._inbox = inbox
        self._pool = pool
        self._store = store
        self._lock = lock
        self._health = health

    def run(self, failed: Callable[[BaseException], object]) -> None:
        """Stop; ``failed`` is called with what a part of it raises."""
        log.info("stopping", reason=self._inbox.stop_reason)
        for step in (
            self._receive_the_last,
            lambda: self._go_on_during(lambda: self._pool.close(FINISH_SECONDS)),
            lambda: self._go_on_during(self._store.close),
        ):
            with self._health.survive(SERVICE, "its end", failed):
                step()

    def _receive_the_last(self) -> None:
        self._lock.update(stopping=True)
        deadline = time.monotonic() + DRAIN_SECONDS
        # what clients have sent may still be under way: take it in until nothing has come for a moment
        while self._loop.transport.has_message(QUIET_MS) and self._inbox.stops < 2 and time.monotonic() < deadline:
            self._loop.receive()
            self._loop.handle_events()
            self._loop.answer()
        self._loop.dispatcher.goodbye(self._inbox.stop_reason)
        self._loop.answer()

    def _go_on_during(self, work: Callable[[], object]) -> None:
        """Go on handling events while something waits for their consequences; a second stop hurries it."""
        thread = GuardedThread(SERVICE, work, self._health, name="offcam-finish")
        thread.start()
        hurried = False
        while thread.is_alive() or self._inbox:
            self._inbox.wait(0.05)
            self._loop.handle_events()
            self._loop.answer()
            if self._inbox.stops > 1 and not hurried:
                hurried = True
                threading.Thread(target=self._pool.close, args=(0.0,), daemon=True).start()
        thread.join()
