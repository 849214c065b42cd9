"""Which local clients are frozen: stopped by a signal, or by a debugger. Their connections stay as they are.

libzmq's heartbeats would notice it, too, but not beside a limit to what it takes in ahead of us: libzmq 4.3.5 aborts
the process where a client that was held up by that limit leaves (https://github.com/zeromq/libzmq/issues/3937 and
others), and takes a client for dead that it does not read itself.
"""

from __future__ import annotations

import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from offcamd.daemon.state import Peer

FROZEN_SECONDS = 4.0
"""A process that is stopped for so long is taken for gone."""

LOOK_SECONDS = 0.5

_STOPPED = (b"t", b"T")  # proc(5): stopped, and stopped by a debugger


class FrozenWatch:
    """Looks at the processes of local clients now and then. Without ``/proc`` (macOS) it sees nothing."""

    def __init__(self) -> None:
        self._host = socket.gethostname()
        self._since: dict[int, float] = {}
        self._looked = 0.0

    def look(self, peers: Iterable[Peer]) -> Iterator[Peer]:
        """Those that have been stopped for `FROZEN_SECONDS`; none where it was asked a moment ago."""
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
                if now - since >= FROZEN_SECONDS:
                    yield peer


def is_stopped(pid: int) -> bool:
    """Whether a process is stopped, as far as can be seen."""
    try:
        status = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return False
    return status.rpartition(b") ")[2][:1] in _STOPPED
