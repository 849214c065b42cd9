"""Measure what many nodes cost: each node's index, and the one page and the reader that have all of them.

    python tests/bench/scale.py                               10 and 100 nodes of 100 runners, 100 episodes each
    python tests/bench/scale.py --nodes 10 --runners 8 --episodes 1000

Each node has a run folder below one folder, as `offcam.integrations.ray.record` makes them. Nothing plays: the episodes
are given to the index as a daemon gives them, a round of all runners at a time. CPU is that of the thread or of the
process that does it. Nothing is asserted.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx
import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))

import runs
from offcam_proto.codec import pack_record
from offcam_proto.messages import OpenStream
from offcam_proto.records import EpisodeRecord
from offcamd.store.entries import StreamOwner
from offcamd.store.index import RunIndex
from offcamd.web.curves import MOST_RUNS

MIB = 2**20


class Node:
    """The run folder of one node, with a stream for each of its runners."""

    def __init__(self, folder: Path, number: int, runners: int) -> None:
        self.index = RunIndex.open(folder)
        self._played = 0
        self._streams = [b"%08d%08d" % (number, runner) for runner in range(runners)]
        owner = StreamOwner(f"node{number}", 4711, "offcam")
        for stream in self._streams:
            opening = OpenStream(0, stream, str(folder), "rl-video", 0, True, "CartPole-v1", 1, False, runs.BEGAN)
            self.index.open_stream(opening, owner)

    def play(self) -> float:
        """An episode of each runner, committed together and counted. Returns the seconds of this thread's CPU."""
        began = time.thread_time()
        with self.index.transaction():
            for stream in self._streams:
                record = EpisodeRecord(
                    env_index=0, episode=self._played, return_=float(self._played % 97), length=10 + self._played % 50,
                    duration=0.2, started=runs.BEGAN + self._played, terminated=True, truncated=False, seed=None,
                    info={},
                )  # fmt: skip
                self.index.apply(stream, 1 + self._played, [pack_record(record)])
        self.index.advance_totals()
        self._played += 1
        return time.thread_time() - began


class Page:
    """A process of `offcam view`, and what asking it costs."""

    def __init__(self, folder: Path) -> None:
        words = [sys.executable, "-m", "offcamd", "view", str(folder), "--no-browser", "--json"]
        self._view = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=os.environ)
        assert self._view.stdout is not None
        self._client = httpx.Client(base_url=json.loads(self._view.stdout.readline())["url"], timeout=600)
        self._process = psutil.Process(self._view.pid)
        self._client.get("/healthz")

    def ask(self, path: str) -> tuple[object, float, float]:
        """The answer, and the seconds and the CPU seconds that it took."""
        cpu, began = self.cpu(), time.perf_counter()
        answer = self._client.get(path).raise_for_status()
        return answer.json(), time.perf_counter() - began, self.cpu() - cpu

    def cpu(self) -> float:
        """Seconds of CPU so far."""
        times = self._process.cpu_times()
        return float(times.user + times.system)

    def mib(self) -> float:
        """Resident memory."""
        return float(self._process.memory_info().rss / MIB)

    def close(self) -> None:
        """End it."""
        self._client.close()
        self._view.terminate()
        self._view.wait()


READ = """
import sys, time, psutil, offcam
began = time.process_time()
runs = offcam.load([sys.argv[1] + "/*"])
read = time.process_time() - began
print(sum(len(run.episodes) for run in runs), read, psutil.Process().memory_info().rss / 2**20)
"""


def measure(nodes: int, runners: int, episodes: int, folder: Path) -> dict[str, float]:
    """Make the nodes and measure."""
    made = [Node(folder / f"node-{number}", number, runners) for number in range(nodes)]
    rounds = [node.play() for _ in range(episodes) for node in made]
    row: dict[str, float] = {
        "nodes": nodes,
        "runners": nodes * runners,
        "episodes": nodes * runners * episodes,
        "commit_us": statistics.median(rounds) / runners * 1e6,
        "index_bytes": sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        / nodes
        / runners
        / episodes,
    }
    page = Page(folder)
    try:
        listed, row["first_s"], row["first_cpu_s"] = page.ask("/api/runs")
        again = [page.ask("/api/runs")[1:] for _ in range(10)]
        row["again_s"], row["again_cpu_s"] = (statistics.median(values) for values in zip(*again, strict=True))
        ids = ",".join(run["id"] for run in listed["runs"][:MOST_RUNS])  # type: ignore[index] - JSON
        _, row["group_s"], row["group_cpu_s"] = page.ask(f"/api/group?ids={ids}")
        before = page.cpu()
        time.sleep(5)
        row["idle_cpu"] = (page.cpu() - before) / 5
        grown = []
        for _ in range(5):
            for node in made:
                node.play()
            grown.append(page.ask("/api/runs")[1:])
        row["grown_s"], row["grown_cpu_s"] = (statistics.median(values) for values in zip(*grown, strict=True))
        row["page_mib"] = page.mib()
    finally:
        page.close()
    for node in made:
        node.index.close()
    out = subprocess.run([sys.executable, "-c", READ, str(folder)], capture_output=True, text=True, check=True).stdout
    _, row["load_cpu_s"], row["load_mib"] = map(float, out.split())
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, nargs="+", default=[10, 100])
    parser.add_argument("--runners", type=int, default=100)
    parser.add_argument("--episodes", type=int, default=100)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows = []
    for nodes in options.nodes:
        with tempfile.TemporaryDirectory(prefix="offcam-bench-") as folder:
            rows.append(measure(nodes, options.runners, options.episodes, Path(folder)))
    for name in rows[0]:
        print(f"{name:>12} " + " ".join(f"{row[name]:>12,.4g}" for row in rows))
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
