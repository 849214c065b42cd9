"""Which local clients are alive as processes, and yet stopped: by a signal, or by a debugger. Their connections stay.

libzmq's heartbeats would notice it, too, but not beside a limit to what it takes in ahead of us: libzmq 4.3.5 aborts
the process where a client that was held up by that limit leaves (https://github.com/zeromq/libzmq/issues/3937 and
others), and takes a client for dead that it does not read itself.
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
        self._looked = time.monotonic()  # what looks at processes is loaded by then

    def stopped(self, peers: Iterable[Peer]) -> Iterator[Peer]:
        """Those that have been stopped for `STOPPED_SECONDS`; none where it was asked a moment ago."""
        now = time.monotonic()
        if now - self._looked < LOOK_SECONDS:
            return
        self._looked = now
        before, self._since = self._since, {}
        for peer in peers:
            hello = peer.session.hello
            # what a client says of itself may be wrong: then it harms itself
            if hello and not peer.user and hello.host == self._host and is_stopped(hello.pid):
                since = self._since[hello.pid] = before.get(hello.pid, now)
                if now - since >= STOPPED_SECONDS:
                    yield peer


def is_stopped(pid: int) -> bool:
    """Whether a process is stopped, as far as can be seen."""
    import psutil  # noqa: PLC0415 - not before it takes records: see `Service.tell`

    try:
        return _process(pid).status() in {psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP}
    except (psutil.Error, ValueError):  # it is gone, not ours to see, or cannot be
        return False


@functools.lru_cache(maxsize=4096)
def _process(pid: int) -> psutil.Process:
    """A process, or another one with its number after it: making one costs as much as asking for its status."""
    import psutil  # noqa: PLC0415 - as above

    return psutil.Process(pid)
