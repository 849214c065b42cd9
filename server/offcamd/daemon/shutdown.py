"""How the daemon stops: it takes in what is under way, finishes every video, commits, and says goodbye."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from offcamd.process.health import SERVICE, GuardedThread

if TYPE_CHECKING:
    from collections.abc import Callable

    from offcamd.daemon.loop import Loop
    from offcamd.encode.pool import EncoderPool
    from offcamd.process.instance_lock import DaemonLock

log = structlog.get_logger(__name__)

FINISH_SECONDS = 60.0
"""How long a stop waits for queued frames to be encoded; a second stop waits no longer."""

QUIET_MS = 50
DRAIN_SECONDS = 0.5
"""A stop receives messages until none has come for `QUIET_MS`, or for `DRAIN_SECONDS` where clients never pause."""


@dataclass(frozen=True, slots=True)
class Shutdown:
    """The end of a daemon, on the service's thread; each part of it as far as it can be."""

    loop: Loop
    pool: EncoderPool
    lock: DaemonLock

    def run(self, failed: Callable[[BaseException], object]) -> None:
        """Stop; ``failed`` is called with what a part of it raises."""
        log.info("stopping", reason=self.loop.inbox.stop_reason)
        for step in (
            self._receive_the_last,
            lambda: self._go_on_during(lambda: self.pool.close(FINISH_SECONDS)),
            lambda: self._go_on_during(self.loop.store.close),
        ):
            with self.loop.health.survive(SERVICE, "its end", failed):
                step()

    def _receive_the_last(self) -> None:
        self.lock.update(stopping=True)
        deadline = time.monotonic() + DRAIN_SECONDS
        # what clients have sent may still be under way: take it in until nothing has come for a moment
        while self.loop.transport.has_message(QUIET_MS) and self.loop.inbox.stops < 2 and time.monotonic() < deadline:
            self.loop.receive()
            self.loop.handle_events()
            self.loop.answer()
        self.loop.dispatcher.goodbye(self.loop.inbox.stop_reason)
        self.loop.answer()

    def _go_on_during(self, work: Callable[[], object]) -> None:
        """Go on handling events while something waits for their consequences; a second stop hurries it."""
        thread = GuardedThread(SERVICE, work, self.loop.health, name="offcam-finish")
        thread.start()
        hurried = False
        while thread.is_alive() or self.loop.inbox:
            self.loop.inbox.wait(0.05)
            self.loop.handle_events()
            self.loop.answer()
            if self.loop.inbox.stops > 1 and not hurried:
                hurried = True
                threading.Thread(target=self.pool.close, args=(0.0,), daemon=True).start()
        thread.join()
