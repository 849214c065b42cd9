"""Measure what a hub costs that many nodes push to, and where it ends.

    python tests/bench/hub.py                       10 and 100 nodes of 100 runners
    python tests/bench/hub.py --nodes 4 --rounds 5

Each node pushes as `offcam sync --to tcp://HUB` does, over one connection: first what has gathered, 100 episodes of
each runner; then, round by round, one or five episodes of each of its runners. Nothing plays, and the nodes take turns
on one thread. What is measured is the hub: its process's CPU for a record. Then its page is asked. Nothing is asserted.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))

import runs
from hubs import HubHost
from offcam.connection.hub import Hub
from offcam_proto.codec import pack_record
from offcam_proto.endpoints import parse_endpoint
from offcam_proto.host import client_key
from offcam_proto.messages import OpenStream
from offcam_proto.records import EpisodeRecord
from offcamd.web.curves import MOST_RUNS

if TYPE_CHECKING:
    import subprocess

MIB = 2**20
GATHERED = 100
"""Episodes of each runner that are pushed at once, at first."""


class Node:
    """A node's sender."""

    def __init__(self, host: HubHost, key: Path, number: int, runners: int) -> None:
        endpoint = parse_endpoint(host.url, "the hub")
        self._hub = Hub(endpoint, client_key(endpoint, {"OFFCAM_KEYS": str(key)}), f"node{number}")
        self._played = 0
        folder = f"/{number:012x}/ppo-node{number}"
        found = self._hub.open(
            OpenStream(0, b"%08d%08d" % (number, runner), folder, "", 0, False, "CartPole-v1", 1, False, runs.BEGAN)
            for runner in range(runners)
        )
        self._handles = [handle for handle, _ in found]

    def push(self, count: int) -> None:
        """Push so many episodes of each runner, and wait until they are committed."""
        for handle in self._handles:
            self._hub.send(handle, [pack_record(_episode(self._played + number)) for number in range(count)])
        self._hub.settle()
        self._played += count

    def close(self) -> None:
        """Leave."""
        self._hub.close()


def _episode(number: int) -> EpisodeRecord:
    return EpisodeRecord(
        env_index=0, episode=number, return_=float(number % 97), length=10 + number % 50, duration=0.2,
        started=runs.BEGAN + number, terminated=True, truncated=False, seed=None, info={},
    )  # fmt: skip


class Watched:
    """The hub's process.

    Args:
        process: of the hub.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = psutil.Process(process.pid)

    def cpu(self) -> float:
        """Seconds of CPU so far."""
        times = self._process.cpu_times()
        return float(times.user + times.system)

    def mib(self) -> float:
        """Resident memory."""
        return float(self._process.memory_info().rss / MIB)


def measure(nodes: int, runners: int, rounds: int, folder: Path) -> dict[str, float]:
    """Have the nodes push, and measure."""
    host = HubHost(folder / "hub", 28_721)
    key = host.key("node")
    host.start()
    assert host.process is not None
    watched = Watched(host.process)
    row: dict[str, float] = {"nodes": nodes, "runners": nodes * runners}
    made = [Node(host, key, number, runners) for number in range(nodes)]

    def timed(count: int) -> tuple[float, float]:
        """Microseconds of the hub's CPU, and of time, for a record of all nodes' next ``count`` episodes."""
        cpu, began = watched.cpu(), time.perf_counter()
        for node in made:
            node.push(count)
        records = nodes * runners * count
        return (watched.cpu() - cpu) / records * 1e6, (time.perf_counter() - began) / records * 1e6

    row["gathered_cpu_us"], row["gathered_us"] = timed(GATHERED)
    for count in (1, 5):
        found = [timed(count) for _ in range(rounds)]
        row[f"by_{count}_cpu_us"], row[f"by_{count}_us"] = (
            statistics.median(values) for values in zip(*found, strict=True)
        )
    with httpx.Client(base_url=host.http, timeout=600) as page:

        def asked(path: str) -> tuple[object, float]:
            cpu = watched.cpu()
            answer = page.get(path).raise_for_status()
            return answer.json(), watched.cpu() - cpu

        listed, row["first_list_cpu_s"] = asked("/api/runs")
        ids = ",".join(run["id"] for run in listed["runs"][:MOST_RUNS])  # type: ignore[index] - JSON
        _, row["first_curve_cpu_s"] = asked(f"/api/group?ids={ids}")
        _, row["curve_cpu_s"] = asked(f"/api/group?ids={ids}")
        timed(1)
        _, row["grown_list_cpu_s"] = asked("/api/runs")
        _, row["grown_curve_cpu_s"] = asked(f"/api/group?ids={ids}")
    row["hub_mib"] = watched.mib()
    for node in made:
        node.close()
    host.kill(15)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, nargs="+", default=[10, 100])
    parser.add_argument("--runners", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows = []
    for nodes in options.nodes:
        with tempfile.TemporaryDirectory(prefix="offcam-bench-") as folder:
            rows.append(measure(nodes, options.runners, options.rounds, Path(folder)))
    for name in rows[0]:
        print(f"{name:>18} " + " ".join(f"{row[name]:>12,.4g}" for row in rows))
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
