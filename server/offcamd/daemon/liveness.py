"""Finds local clients whose process is stopped, by a signal or a debugger, so that their connection does not break.

libzmq's heartbeats would notice it, too, but do not go together with `MOST_QUEUED_IN`: libzmq 4.3.5 then aborts the
daemon when a client leaves that the limit held up (https://github.com/zeromq/libzmq/issues/3937 and others), and takes
a client for dead that it does not read itself.
"""

from __future__ import annotations

import functools
import socket
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psutil

    from offcamd.daemon.state import Peer

MOST_QUEUED_IN = 32
"""Messages of one local client that libzmq receives before the daemon reads them. Later ones wait in the client."""

STOPPED_SECONDS = 4.0
"""A process that is stopped for so long is taken for gone."""

LOOK_SECONDS = 0.5


class Liveness:
    """Looks at the processes of local clients now and then. Belongs to the service's thread."""

    def __init__(self) -> None:
        self._host = socket.gethostname()
        self._since: dict[int, float] = {}
        self._looked = time.monotonic()  # so the first look is later: psutil is loaded by then

    def stopped(self, peers: Iterable[Peer]) -> Iterator[Peer]:
        """The clients that have been stopped for `STOPPED_SECONDS`; none if asked again within `LOOK_SECONDS`."""
        now = time.monotonic()
        if now - self._looked < LOOK_SECONDS:
            return
        self._looked = now
        before, self._since = self._since, {}
        for peer in peers:
            hello = peer.session.hello
            # a client that states a wrong host or pid harms only itself
            if hello and not peer.user and hello.host == self._host and is_stopped(hello.pid):
                since = self._since[hello.pid] = before.get(hello.pid, now)
                if now - since >= STOPPED_SECONDS:
                    yield peer


def is_stopped(pid: int) -> bool:
    """Whether a process is stopped, as far as can be seen."""
    import psutil  # noqa: PLC0415 - loaded late: see `Service.tell`

    try:
        return _process(pid).status() in {psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP}
    except (psutil.Error, ValueError):  # the process is gone or hidden from us, or no process has such a number
        return False


@functools.lru_cache(maxsize=4096)
def _process(pid: int) -> psutil.Process:
    """The process that has a pid now. Cached, as making the object costs as much as asking for the status."""
    import psutil  # noqa: PLC0415 - as above

    return psutil.Process(pid)
