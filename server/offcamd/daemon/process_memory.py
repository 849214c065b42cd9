"""Memory of the daemon and of its clients' processes, as the kernel counts it."""

from __future__ import annotations

import os
import resource
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from offcamd.daemon.state import Peer

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def resident_bytes(pid: int | None = None) -> int | None:
    """Memory that a process, this one by default, has in RAM; None where that cannot be seen."""
    try:
        pages = Path(f"/proc/{pid or 'self'}/statm").read_bytes().split()[1]
    except (OSError, IndexError):
        return None if pid else _peak_bytes()
    return int(pages) * _PAGE_BYTES


def _peak_bytes() -> int:
    """The most this process ever had: what there is without ``/proc``."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def memory(peers: Iterable[Peer]) -> dict[str, Any]:
    """JSON-ready: of this process, and of each client that records; None for clients on other hosts."""
    host = socket.gethostname()
    clients = []
    for peer in peers:
        hello = peer.session.hello
        if hello is None or not peer.streams:
            continue
        local = not peer.user and hello.host == host  # what a client says of itself may be wrong: no more than a number
        rss = resident_bytes(hello.pid) if local and hello.pid > 0 else None
        clients.append({"pid": hello.pid, "host": hello.host, "streams": len(peer.streams), "rss_bytes": rss})
    return {"daemon_rss_bytes": resident_bytes(), "clients": clients}
