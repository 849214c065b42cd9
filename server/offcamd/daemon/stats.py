"""The daemon's statistics, as every endpoint shows them."""

from __future__ import annotations

import os
import platform
import sys
import time
from typing import TYPE_CHECKING, Any

from offcam_runs.format import ABORTED, FINAL, RECORDING, RECOVERED
from offcamd import __version__
from offcamd.daemon.arenas import mapped_bytes
from offcamd.daemon.process_memory import memory

if TYPE_CHECKING:
    from offcamd.config.settings import Settings
    from offcamd.daemon.dispatcher import Dispatcher
    from offcamd.daemon.state import LiveStream
    from offcamd.encode.pool import EncoderPool
    from offcamd.process.health import Health
    from offcamd.store.store import Store

_LIBRARIES = ("av", "opencv", "numpy", "pyzmq", "starlette", "uvicorn")
_MODULES = {"opencv": "cv2", "pyzmq": "zmq"}


def snapshot(
    settings: Settings, dispatcher: Dispatcher, pool: EncoderPool, store: Store, health: Health
) -> dict[str, Any]:
    """JSON-ready statistics. From any thread: counters are read one by one, so they may be a moment apart."""
    counters = dispatcher.counters
    backlog = pool.backlog()
    streams = list(dispatcher.streams)
    live = sorted((stream for stream in streams if not stream.closed), key=lambda each: each.info.started)
    return {
        "pid": os.getpid(),
        "version": __version__,
        "versions": versions(),
        "endpoint": settings.endpoint.url,
        "tcp": settings.tcp.url if settings.tcp else None,
        "http": settings.http.url if settings.http else None,
        "clients": sum(1 for peer in list(dispatcher.peers.values()) if peer.streams),
        "streams": len(live),
        "queue_bytes": backlog.memory_bytes,
        "queue_limit_bytes": settings.memory_limit_bytes,
        "shared_memory_bytes": mapped_bytes(streams),
        "spool_bytes": backlog.spool_bytes,
        "spool_limit_bytes": settings.spool_limit_bytes,
        "encode_lag_seconds": backlog.lag_seconds,
        "encoders": {"pids": pool.pids, "give_way": pool.gives_way},
        "encode_seconds": pool.encode_seconds.as_dict(),
        "queue_wait_seconds": pool.wait_seconds.as_dict(),
        "memory": memory(list(dispatcher.peers.values()), pool.pids),
        "frames": {"offered": counters.offered, "encoded": counters.encoded, "dropped": dict(counters.dropped)},
        "lost": {"frames": counters.lost["frames"], "records": counters.lost["records"]},
        "episodes": counters.episodes,
        "steps": {"dropped": dict(counters.dropped_steps)},
        "clips": {
            RECORDING: sum(
                1 for stream in streams for clip in list(stream.clips.values()) if not (clip.ended or clip.ring)
            ),
            FINAL: counters.clips[FINAL],
            ABORTED: counters.clips[ABORTED],
            RECOVERED: counters.clips[RECOVERED],
        },
        "breaches": dict(counters.breaches),
        "problems": health.problems,
        "self_test": health.self_test,
        "unexpected_errors": health.unexpected_errors,
        "recent_errors": health.recent_errors,
        "stream_list": [_stream(stream) for stream in live],
        "runs": store.runs(),
    }


def _stream(stream: LiveStream) -> dict[str, Any]:
    """An open stream. The statistics of its episodes are in those of its run, under its id."""
    info, peer, clips = stream.info, stream.peer, list(stream.clips.values())
    hello = peer.session.hello if peer else None
    arrivals = [arrived for clip in clips if (arrived := clip.job.queue.oldest) is not None]
    waiting = {clip: len(clip.job.queue) for clip in clips}
    written = [clip for clip in clips if not clip.ring]
    encoded = sum(clip.encoded or max(clip.received - waiting[clip], 0) for clip in written)  # open ones: about
    return {
        "stream": info.stream.hex(),
        "folder": info.folder,
        "env_id": info.env_id,
        "num_envs": info.num_envs,
        "prefix": info.prefix,
        "pid": hello.pid if hello else None,
        "host": hello.host if hello else None,
        "recording": sum(1 for clip in written if not clip.ended),
        "queue_bytes": stream.in_memory,
        "queue_frames": sum(waiting.values()),
        "encode_lag_seconds": time.monotonic() - min(arrivals) if arrivals else 0.0,
        "saturated": stream.saturated,
        "frames": {"encoded": stream.encoded + encoded, "dropped": dict(stream.dropped)},
    }


def versions() -> dict[str, str]:
    """Versions of offcam, Python, and the libraries that this process has loaded."""
    loaded = {name: getattr(sys.modules.get(_MODULES.get(name, name)), "__version__", None) for name in _LIBRARIES}
    known = {name: version for name, version in loaded.items() if version is not None}
    return {"offcam": __version__, "python": platform.python_version(), **known}
