"""The daemon's statistics, as every endpoint shows them."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

from offcam_proto.run_format import ABORTED, FINAL, RECORDING, RECOVERED
from offcamd import __version__

if TYPE_CHECKING:
    from offcamd.service import Service


def snapshot(service: Service) -> dict[str, Any]:
    """JSON-ready statistics. From any thread: counters are read one by one, so they may be a moment apart."""
    dispatcher = service.dispatcher
    counters = dispatcher.counters
    backlog = service.pool.backlog()
    streams = list(dispatcher.streams)
    return {
        "pid": os.getpid(),
        "version": __version__,
        "endpoint": service.endpoint.url,
        "tcp": service.settings.tcp.url if service.settings.tcp else None,
        "http": service.settings.http.url if service.settings.http else None,
        "uptime_seconds": time.monotonic() - service.began,
        "clients": sum(1 for peer in list(dispatcher.peers.values()) if peer.streams),
        "streams": sum(1 for stream in streams if not stream.closed),
        "queue_bytes": backlog.memory_bytes,
        "queue_limit_bytes": service.settings.memory_limit_bytes,
        "spool_bytes": backlog.spool_bytes,
        "spool_limit_bytes": service.settings.spool_limit_bytes,
        "encode_lag_seconds": backlog.lag_seconds,
        "frames": {
            "offered": counters.offered,
            "encoded": counters.encoded,
            "dropped": dict(counters.dropped),
        },
        "episodes": counters.episodes,
        "clips": {
            RECORDING: sum(1 for stream in streams for clip in list(stream.clips.values()) if not clip.ended),
            FINAL: counters.clips[FINAL],
            ABORTED: counters.clips[ABORTED],
            RECOVERED: counters.clips[RECOVERED],
        },
        "breaches": dict(counters.breaches),
        "recent_errors": list(dispatcher.recent_errors),
        "runs": service.store.runs(),
    }
