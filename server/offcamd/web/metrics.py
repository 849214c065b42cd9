"""The daemon's statistics for Prometheus. Counters begin at 0; labels have closed sets of values, none names a run."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, InfoMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector, CollectorRegistry

from offcam_runs.format import ABORTED, DROP_REASONS, FINAL, RECORDING, RECOVERED, STEP_DROP_REASONS
from offcam_runs.sync.state import of_runs
from offcamd.process.health import PARTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from prometheus_client import Metric

ENDED_STATES = (FINAL, ABORTED, RECOVERED)
"""How clips end, in this daemon's count; a clip that another one replaced was counted before."""

BREACHES = ("protocol", "malformed", "limit", "version", "stranger", "gap")
"""Why messages are refused; any other reason counts as ``protocol``."""

_GAUGES = (
    ("offcam_uptime_seconds", "Seconds since the daemon started.", "uptime_seconds"),
    ("offcam_start_time_seconds", "When the daemon started, in seconds since the epoch.", "started"),
    ("offcam_clients", "Connected clients that have a stream open.", "clients"),
    ("offcam_streams", "Streams that are open.", "streams"),
    ("offcam_queue_bytes", "Bytes of frames that wait in memory.", "queue_bytes"),
    ("offcam_queue_limit_bytes", "Most bytes of frames that may wait in memory.", "queue_limit_bytes"),
    ("offcam_spool_bytes", "Bytes of frames that wait on disk.", "spool_bytes"),
    ("offcam_spool_limit_bytes", "Most bytes of frames that may wait on disk.", "spool_limit_bytes"),
    ("offcam_encode_lag_seconds", "Seconds that the oldest waiting frame has waited.", "encode_lag_seconds"),
)
_SYNC = {
    "lag_seconds": "Seconds that the oldest episode or video which is not sent to its tracker has waited.",
    "behind_episodes": "Episodes that are not sent yet.",
    "behind_clips": "Videos that are final and not sent yet.",
    "failures": "How often sending failed, of the runs that this daemon has written.",
    "evicted_bytes": "Bytes of videos that were removed from run folders, as object storage has them.",
}
_HISTOGRAMS = (
    ("offcam_encode_seconds", "Seconds that a frame took to convert and encode.", "encode_seconds"),
    ("offcam_queue_wait_seconds", "Seconds that a frame waited for its encoder.", "queue_wait_seconds"),
)


class Exporter(Collector):
    """Makes Prometheus's text from a snapshot of the daemon's statistics, see `offcamd.daemon.stats`.

    Args:
        stats: returns the snapshot, or None where there is no daemon.
    """

    def __init__(self, stats: Callable[[], dict[str, Any] | None]) -> None:
        self._stats = stats
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def text(self, accept: str) -> tuple[bytes, str]:
        """The text, and its media type: OpenMetrics for clients that accept it, else Prometheus's own."""
        encode, media_type = choose_encoder(accept)
        return encode(self._registry), media_type

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics of the snapshot as it is now; see `Collector`."""
        stats = self._stats()
        if stats is None:
            return
        yield InfoMetricFamily("offcam_build", "Versions of offcam and of what it uses.", value=stats["versions"])
        for name, text, key in _GAUGES:
            yield GaugeMetricFamily(name, text, value=stats[key])
        encoders = stats["encoders"]
        yield GaugeMetricFamily("offcam_encoders", "Encoder processes that are running.", value=len(encoders["pids"]))
        yielding = "1 while encoding gives way to other programs, so that frames wait on purpose."
        yield GaugeMetricFamily("offcam_encoders_give_way", yielding, value=1 if encoders["give_way"] else 0)
        frames = stats["frames"]
        yield CounterMetricFamily("offcam_frames_offered", "Frames that wrappers captured.", value=frames["offered"])
        yield CounterMetricFamily("offcam_frames_encoded", "Frames in finished videos.", value=frames["encoded"])
        yield _labelled(
            "offcam_frames_dropped",
            "Frames in no video, by reason. What a daemon that died lost is in the run's index alone.",
            "reason",
            {reason: frames["dropped"].get(reason, 0) for reason in DROP_REASONS},
        )
        yield _labelled(
            "offcam_steps_dropped",
            "Rows of steps that were not written, by reason.",
            "reason",
            {reason: stats["steps"]["dropped"].get(reason, 0) for reason in STEP_DROP_REASONS},
        )
        yield CounterMetricFamily("offcam_episodes", "Episodes committed, of all runs.", value=stats["episodes"])
        ended = {state: stats["clips"][state] for state in ENDED_STATES}
        yield _labelled("offcam_clips", "Clips that ended, by state.", "state", ended)
        yield GaugeMetricFamily("offcam_clips_recording", "Clips being recorded.", value=stats["clips"][RECORDING])
        lost = "Frames that clients sent and that are in no file, and records that could not be stored."
        yield _labelled("offcam_lost", lost, "what", stats["lost"])
        refused = _refused(stats["breaches"])
        yield _labelled("offcam_refused_messages", "Messages refused, by reason.", "reason", refused)
        yield _labelled(
            "offcam_unexpected_errors",
            "Unexpected errors, by the part of the daemon in which they were raised.",
            "part",
            {part: stats["unexpected_errors"].get(part, 0) for part in PARTS},
        )
        yield _down(stats["problems"])
        for name, text, key in _HISTOGRAMS:
            yield _histogram(name, text, stats[key])
        yield from _memory(stats["memory"])
        yield from sync_metrics(stats["runs"])


def _down(problems: dict[str, str]) -> Metric:
    family = GaugeMetricFamily("offcam_down", "1 if a part of the daemon is down.", labels=["part"])
    for part in PARTS:
        family.add_metric([part], part in problems)
    return family


def _refused(breaches: dict[str, int]) -> dict[str, int]:
    counts = dict.fromkeys(BREACHES, 0)
    for reason, count in breaches.items():
        counts[reason if reason in counts else "protocol"] += count
    return counts


def _memory(memory: dict[str, Any]) -> Iterator[Metric]:
    own = math.nan if memory["daemon_rss_bytes"] is None else memory["daemon_rss_bytes"]
    yield GaugeMetricFamily("offcam_resident_memory_bytes", "Resident memory of the daemon, in bytes.", value=own)
    known = {client["pid"]: client["rss_bytes"] for client in memory["clients"] if client["rss_bytes"] is not None}
    yield GaugeMetricFamily(
        "offcam_clients_resident_memory_bytes",
        "Resident memory of all client processes on this host together, in bytes.",
        value=sum(known.values()),
    )
    yield GaugeMetricFamily(
        "offcam_clients_resident_memory_max_bytes",
        "Resident memory of the largest client process on this host, in bytes.",
        value=max(known.values(), default=0),
    )


def sync_metrics(runs: list[dict[str, Any]]) -> Iterator[Metric]:
    """Metrics of what is sent to trackers, of all runs together, read from their folders."""
    found = of_runs(run["folder"] for run in runs)
    working = sum(each["working"] for each in found)
    yield GaugeMetricFamily("offcam_sync_workers", "Processes that send runs to trackers.", value=working)
    failing = "Runs of which nothing could be sent since it last failed. Why is in `offcam status`."
    yield GaugeMetricFamily("offcam_sync_failing", failing, value=sum(bool(each["error"]) for each in found))
    for name, text in _SYNC.items():
        total = max if name == "lag_seconds" else sum
        yield GaugeMetricFamily(f"offcam_sync_{name}", text, value=total([each[name] for each in found] or [0]))


def _labelled(name: str, text: str, label: str, counts: dict[str, int]) -> Metric:
    family = CounterMetricFamily(name, text, labels=[label])
    for value, count in counts.items():
        family.add_metric([value], count)
    return family


def _histogram(name: str, text: str, found: dict[str, Any]) -> Metric:
    buckets = [(str(float(bound)), count) for bound, count in found["buckets"]]
    return HistogramMetricFamily(name, text, buckets=[*buckets, ("+Inf", found["count"])], sum_value=found["sum"])
