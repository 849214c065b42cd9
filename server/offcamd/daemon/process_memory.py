"""Memory of the daemon and of its clients' processes, as the operating system counts it."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from offcamd.daemon.state import Peer


def resident_bytes(pid: int | None = None, *, alone: bool = False) -> int | None:
    """Memory that a process, this one by default, has in RAM; None where that cannot be seen.

    With ``alone``, without what it maps of files and of other processes' memory, where the system tells that apart.
    """
    import psutil  # noqa: PLC0415 - loaded late: see `Service.tell`

    try:
        memory = psutil.Process(pid).memory_info()
    except (psutil.Error, ValueError):
        return None
    return int(memory.rss) - (int(getattr(memory, "shared", 0)) if alone else 0)


def memory(peers: Iterable[Peer], encoders: Iterable[int]) -> dict[str, Any]:
    """JSON-ready: the memory of the daemon and of each client that records; None for clients on other hosts.

    Args:
        peers: the clients.
        encoders: the daemon's encoder processes, which map the clients' memory.
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
    parts = [resident_bytes(), *(resident_bytes(pid, alone=True) for pid in encoders)]
    own = [part for part in parts if part is not None]
    return {"daemon_rss_bytes": sum(own) if own else None, "clients": clients}
