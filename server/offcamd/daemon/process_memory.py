"""Memory of the daemon and of its clients' processes, as the operating system counts it."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from offcamd.daemon.state import Peer


def resident_bytes(pid: int | None = None) -> int | None:
    """Memory that a process, this one by default, has in RAM; None where that cannot be seen."""
    import psutil  # noqa: PLC0415 - loaded late: see `Service.tell`

    try:
        return int(psutil.Process(pid).memory_info().rss)
    except (psutil.Error, ValueError):
        return None


def memory(peers: Iterable[Peer], encoders: Iterable[int]) -> dict[str, Any]:
    """JSON-ready: the memory of the daemon and of each client that records; None for clients on other hosts.

    Args:
        peers: the clients.
        encoders: the daemon's encoder processes.
    """
    host = socket.gethostname()
    clients = []
    for peer in peers:
        hello = peer.session.hello
        if hello is None or not peer.streams:
            continue
        local = not peer.user and hello.host == host  # if a client states a wrong host or pid, only a number is wrong
        rss = resident_bytes(hello.pid) if local and hello.pid > 0 else None
        clients.append({"pid": hello.pid, "host": hello.host, "streams": len(peer.streams), "rss_bytes": rss})
    own = [found for pid in (None, *encoders) if (found := resident_bytes(pid)) is not None]
    return {"daemon_rss_bytes": sum(own) if own else None, "clients": clients}
