"""Measure how soon the HTTP server answers for a run of many episodes and clips.

    python tests/bench/api.py                              100,000 episodes and 1,000 clips
    python tests/bench/api.py --episodes 10000 --json FILE

Nothing is asserted. The first answer reads the run. The next are made anew, as the index is touched before each, but
that its episodes are known by now; their CPU time, the least of them, is the server's and the client's. Then the same
answer is asked for while nothing changes. Close what else runs.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import httpx

sys.path.insert(0, str(Path(__file__).parents[1]))

import made
from offcam_runs.format import INDEX_NAME
from offcam_runs.run_ids import run_id
from offcamd.config.values import HttpAddress
from offcamd.daemon.process_memory import resident_bytes
from offcamd.web.server import bind, bound_address, serving
from offcamd.web.source import FolderSource


def pages(run: str, key: str, episodes: int) -> list[str]:
    base, last = f"/api/runs/{run}", max(0, episodes - 100)
    return [
        "/api/runs",
        "/api/runs?query=env:cartpole return>-1e9&sort=return",
        base,
        f"{base}/curve",
        f"{base}/curve?x=step&points=10000",
        f"{base}/curve?x=time&y=length&window=1000",
        f"{base}/curve?from={episodes // 2}&to={episodes // 2 + 1000}",
        f"{base}/episodes",
        f"{base}/episodes?limit=1000",
        f"{base}/episodes?offset={last}",
        f"{base}/episodes?sort=return&order=desc&offset={last}",
        f"{base}/episodes?sort=length&offset={episodes // 2}",
        f"{base}/episodes?sort=duration",
        f"{base}/episodes?sort=episode&order=desc&offset={last}",
        f"{base}/episodes?min_return=50&terminated=true&sort=return",
        f"{base}/episodes?min_value=1",
        f"{base}/nearest?number={episodes // 2 + 1}",
        f"{base}/stages",
        f"{base}/clips",
        f"{base}/clips?limit=1000",
        f"{base}/clips?limit=1000&sort=return",
        f"{base}/clips?q=episode-9&sort=length",
        f"{base}/clips/{key}",
        f"{base}/clips/{key}/poster",
        f"{base}/clips/{key}/video",
        f"/api/group?ids={run}",
        "/openapi.json",
        "/",
    ]


def measure(client: httpx.Client, page: str, repeat: int, index: Path) -> dict[str, object]:
    """Milliseconds of the first answer, the median and worst of those made anew, and the median of the same again."""

    def asked(touched: float | None = None, clock: Callable[[], float] = time.perf_counter) -> float:
        if touched is not None:
            os.utime(index, (touched, touched))
        began = clock()
        client.get(page).raise_for_status()
        return (clock() - began) * 1000

    first = asked()
    anew = [asked(time.time()) for _ in range(repeat)]
    cpu = [asked(time.time(), time.process_time) for _ in range(repeat)]
    asked(made.BEGAN)  # long ago, so that this answer is kept
    again = [asked() for _ in range(repeat)]
    return {
        "page": page,
        "bytes": len(client.get(page).content),
        "first": first,
        "median": statistics.median(anew),
        "worst": max(anew),
        "cpu": min(cpu),
        "again": statistics.median(again),
    }


def bench(episodes: int, clips: int, repeat: int, folder: Path) -> list[dict[str, object]]:
    """Make a run and measure every page of it."""
    video = made.make_video(folder / "video.bin")
    run = made.make_run(folder / "run", episodes, max(1, episodes // clips), video=video)
    listener = bind(HttpAddress("127.0.0.1", 0))
    url = bound_address(listener, "127.0.0.1").url
    with (
        serving(listener, "127.0.0.1", FolderSource([run])),
        httpx.Client(base_url=url, timeout=60) as client,
    ):
        client.get("/healthz")  # until then it loads its libraries
        key = f"{made.STREAM.hex()}-{clips // 2}"
        index = run / INDEX_NAME
        return [measure(client, page, repeat, index) for page in pages(run_id(run), key, episodes)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--episodes", type=int, default=100_000)
    parser.add_argument("--clips", type=int, default=1000)
    parser.add_argument("--repeat", type=int, default=20)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="offcam-bench-") as folder:
        rows = bench(options.episodes, options.clips, options.repeat, Path(folder))
    print(f"{options.episodes:,} episodes, {options.clips:,} clips; milliseconds")
    print(f"{'first':>8} {'median':>8} {'worst':>8} {'cpu':>8} {'again':>8} {'KiB':>7}  page")
    for row in rows:
        page = str(row["page"]).partition("/api/runs/")[2].partition("/")[2] or row["page"]
        times = " ".join(f"{row[name]:8.1f}" for name in ("first", "median", "worst", "cpu", "again"))
        print(f"{times} {row['bytes'] / 1024:7.0f}  {page}")
    print(f"memory of the server and its client: {(resident_bytes() or 0) / 2**20:.0f} MiB")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
