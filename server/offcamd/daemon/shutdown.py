"""How the daemon stops: it takes in what is under way, finishes every video, commits, and says goodbye."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from offcamd.process.health import SERVICE, GuardedThread
from offcamd.process.logs import Logger

if TYPE_CHECKING:
    from offcamd.daemon.loop import Loop
    from offcamd.encode.pool import EncoderPool
    from offcamd.process.instance_lock import DaemonLock

log = Logger(__name__)

FINISH_SECONDS = 60.0
"""How long a stop waits for queued frames to be encoded; a second stop waits no longer."""

QUIET_MS = 50
DRAIN_SECONDS = 0.5
"""A stop receives messages until none has come for `QUIET_MS`, or for `DRAIN_SECONDS` where clients never pause."""


def shut_down(loop: Loop, pool: EncoderPool, lock: DaemonLock, failed: Callable[[BaseException], object]) -> None:
    """End the daemon, on the service's thread. A step that raises calls ``failed``, and the next ones go on."""
    log.info("stopping", reason=loop.inbox.stop_reason)
    for step in (
        partial(_receive_the_last, loop, lock),
        partial(_go_on_during, loop, pool, partial(pool.close, FINISH_SECONDS)),
        partial(_go_on_during, loop, pool, loop.store.close),
        loop.dispatcher.remember,
    ):
        with loop.health.survive(SERVICE, "its end", failed):
            step()


def _receive_the_last(loop: Loop, lock: DaemonLock) -> None:
    lock.update(stopping=True)
    deadline = time.monotonic() + DRAIN_SECONDS
    # what clients have sent may still be under way: take it in until nothing has come for a moment
    while loop.transport.has_message(QUIET_MS) and loop.inbox.stops < 2 and time.monotonic() < deadline:
        loop.receive()
        loop.handle_events()
        loop.answer()
    loop.dispatcher.goodbye(loop.inbox.stop_reason)
    loop.answer()


def _go_on_during(loop: Loop, pool: EncoderPool, work: Callable[[], object]) -> None:
    """Handle events while ``work``, which waits for their consequences, runs on a thread. A second stop hurries it."""
    thread = GuardedThread(SERVICE, work, loop.health, name="offcam-finish")
    thread.start()
    hurried = False
    while thread.is_alive() or loop.inbox:
        loop.inbox.wait(0.05)
        loop.handle_events()
        loop.answer()
        if loop.inbox.stops > 1 and not hurried:
            hurried = True
            threading.Thread(target=pool.close, args=(0.0,), daemon=True).start()
    thread.join()
