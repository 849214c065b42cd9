"""A run of ten million episodes: what reading it and recording into it again takes.

    python tests/bench/long_run.py                       10,000,000 episodes
    python tests/bench/long_run.py --episodes 100000

Nothing is asserted. Each line is a process of its own: its wall time, its CPU time, and the most memory that it had.
The run is made by SQL, without a daemon, into a folder that is removed afterwards; ten million take 2 GB of disk.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import Contestant, daemon

from offcam_runs import format as fmt
from offcam_runs.database import upgrade

if TYPE_CHECKING:
    import resource

STREAM = "ab" * 16

# as the tables are made, but that the indexes come last: to sort once is many times as fast as to keep sorted
_EPISODES = """
INSERT INTO episodes
    (stream_id, seq, env_index, episode, return, length, duration, started, terminated, truncated, seed, info)
WITH RECURSIVE series (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM series WHERE n + 1 < :episodes)
SELECT 1, n + 1, 0, n, 500.0 * n / :episodes + abs(random()) % 1000 / 10.0, 1 + abs(random()) % 500, 0.25,
    1.7e9 + n / 4.0, n % 3 > 0, n % 3 = 0, NULL,
    CASE n % 3 WHEN 0 THEN '{"is_success": 0.0}' ELSE '{"is_success": 1.0}' END
FROM series
"""
_STREAM = """
INSERT INTO streams
    (stream, env_id, num_envs, vector, prefix, suffix, video, host, pid, client, started, ended, last_seq, state)
VALUES (:stream, 'CartPole-v1', 1, 0, '', 0, 0, 'host', 1, 'offcam', 1.7e9, 1.7e9 + :episodes / 4.0, :episodes, :closed)
"""
_INDEXES = "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql NOTNULL"
_MEAN = "SELECT avg({0}) FROM episodes"
_TOTALS = "SELECT count({0}), avg({0}), sum(({0} - :mean) * ({0} - :mean)), min({0}), max({0}) FROM episodes"

PAGES = (
    "", "/curve", "/curve?x=step&points=10000", "/curve?x=time&y=length&window=1000",
    "/curve?from={half}&to={more}", "/episodes", "/episodes?offset={last}",
    "/episodes?sort=return&order=desc&offset={half}", "/episodes?sort=duration", "/episodes?sort=episode&order=desc",
    "/episodes?min_return=300&terminated=true&sort=return", "/episodes?min_value=1", "/nearest?number={half}",
)  # fmt: skip


def make(folder: Path, episodes: int) -> None:
    """Make a run of one stream, closed, with the totals that a daemon would have kept of it."""
    folder.mkdir()
    with closing(sqlite3.connect(folder / fmt.INDEX_NAME, isolation_level=None)) as database:
        database.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -200000")
        upgrade(database, 0, folder)
        indexes = database.execute(_INDEXES).fetchall()
        for name, _ in indexes:
            database.execute(f"DROP INDEX {name}")
        database.execute("BEGIN")
        database.execute(_STREAM, {"stream": STREAM, "episodes": episodes, "closed": fmt.CLOSED})
        database.execute(_EPISODES, {"episodes": episodes})
        for _, statement in indexes:
            database.execute(statement)
        (steps,) = database.execute("SELECT sum(length) FROM episodes").fetchone()
        totals: dict[str, Any] = {"last": episodes, "steps": steps, "non_finite": 0, "timed_steps": steps}
        for name in ("return", "length", "duration"):
            (mean,) = database.execute(_MEAN.format(name)).fetchone()
            totals[f"{name}s"] = database.execute(_TOTALS.format(name), {"mean": mean}).fetchone()
        kept = {"key": f"{fmt.TOTALS_KEY}:{STREAM}", "value": json.dumps(totals)}
        database.execute("INSERT INTO meta (key, value) VALUES (:key, :value)", kept)
        database.execute("COMMIT")
        database.execute("PRAGMA journal_mode = WAL")


def readers(run: Path, scratch: Path) -> dict[str, list[str]]:
    """The commands that are measured, by what they are called in the table."""
    offcam, load = [sys.executable, "-m", "offcamd"], "import sys, offcam; run = offcam.load(sys.argv[1]); "
    return {
        "ls": [*offcam, "ls", str(run)],
        "show": [*offcam, "show", str(run)],
        "show --last 100": [*offcam, "show", "--last", "100", str(run)],
        "plot": [*offcam, "plot", str(run), "-o", str(scratch / "plot.png")],
        "export --to csv": [*offcam, "export", str(run), "--to", "csv", "-o", str(scratch / "episodes.csv")],
        "offcam.load(run)": [sys.executable, "-c", load, str(run)],
        "offcam.load(run).episodes.return_.mean()": [
            sys.executable, "-c", f"{load}print(run.episodes.return_.mean())", str(run)
        ],
    }  # fmt: skip


def measured(command: list[str], environment: dict[str, str], folder: Path) -> dict[str, float]:
    """Run a command: its seconds, its seconds of CPU, the most MiB that were resident."""
    begun = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, cwd=folder) as process:
        assert process.stdout is not None
        said = process.stdout.read()
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}")
    told = json.loads(said) if command[1] == __file__ else {}
    return {"wall": time.perf_counter() - begun, **_used(used), **told}


def _used(used: resource.struct_rusage) -> dict[str, float]:
    return {"cpu": used.ru_utime + used.ru_stime, "MiB": used.ru_maxrss / 1024}


def record_again(run: Path, how: str) -> None:
    """Record three episodes into the run, and tell how long the constructor and each of the rest took."""
    import gymnasium as gym  # noqa: PLC0415 - in the processes that need it

    import offcam  # noqa: PLC0415 - as above

    times = [time.perf_counter()]
    env = offcam.RecordEpisodeStatistics(gym.make("CartPole-v1"), folder=run, if_exists=how)
    env.reset()  # which opens the stream
    times.append(time.perf_counter())
    for _ in range(3):
        env.reset()
        while not any(env.step(0)[2:4]):
            pass
    times.append(time.perf_counter())
    env.close()
    times.append(time.perf_counter())
    spans = [later - earlier for earlier, later in itertools.pairwise(times)]
    print(json.dumps(dict(zip(("constructor", "episodes", "close"), spans, strict=True))))


def serve_pages(run: Path, episodes: int) -> None:
    """Ask the page's API, each question twice, and tell the seconds of each answer."""
    import httpx  # noqa: PLC0415 - in the process that needs it

    from offcam_runs.run_ids import run_id  # noqa: PLC0415 - as above
    from offcamd.config.values import HttpAddress  # noqa: PLC0415 - as above
    from offcamd.web.server import bind, bound_address, serving  # noqa: PLC0415 - as above
    from offcamd.web.source import FolderSource  # noqa: PLC0415 - as above

    listener, found = bind(HttpAddress("127.0.0.1", 0)), {}
    url = bound_address(listener, "127.0.0.1").url
    places = {"half": episodes // 2, "more": episodes // 2 + 1000, "last": max(episodes - 100, 0)}
    with (
        serving(listener, "127.0.0.1", FolderSource([run])),
        httpx.Client(base_url=url, timeout=600) as client,
    ):
        client.get("/healthz")
        for page in PAGES:
            for again in ("", " again"):
                begun = time.perf_counter()
                client.get(f"/api/runs/{run_id(run)}{page.format(**places)}").raise_for_status()
                found[f"{page or '/'}{again}"] = time.perf_counter() - begun
    print(json.dumps(found))


def measure_all(run: Path, scratch: Path, episodes: int) -> None:
    """Print a line for each measurement as it comes."""
    size = (run / fmt.INDEX_NAME).stat().st_size / 2**20
    print(f"{episodes:,} episodes: an index of {size:,.0f} MiB", flush=True)
    environment = Contestant("offcam", "offcam").environment(scratch)
    for name, command in readers(run, scratch).items():
        _say(name, measured(command, environment, scratch))
    own = [sys.executable, __file__]
    _say("the page's API", measured([*own, "--pages", str(episodes), str(run)], environment, scratch))
    for how in ("resume", "new"):  # what is resumed is the long session
        with daemon(environment, scratch) as pid:
            _say(f"record, if_exists={how!r}", measured([*own, "--record", how, str(run)], environment, scratch))
            print(f"{'':44} the daemon's most MiB {_most_mib(pid):,.0f}", flush=True)


def _most_mib(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def _say(name: str, found: dict[str, float]) -> None:
    wall, cpu, mib = (found.pop(key) for key in ("wall", "cpu", "MiB"))
    print(f"{name:44} {wall:8.2f} s {cpu:8.2f} s CPU {mib:8,.0f} MiB", flush=True)
    for key, value in found.items():
        print(f"    {key:40} {value:8.2f} s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--episodes", type=int, default=10_000_000)
    parser.add_argument("--keep", type=Path, help="make the run there, measure nothing, and leave it")
    parser.add_argument("--of", type=Path, help="measure this run, which --keep has made")
    parser.add_argument("--pages", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--record", help=argparse.SUPPRESS)
    parser.add_argument("run", nargs="?", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.pages:
        serve_pages(options.run, options.pages)
    elif options.record:
        record_again(options.run, options.record)
    elif options.keep:
        make(options.keep, options.episodes)
    else:
        scratch = Path(tempfile.mkdtemp(prefix="offcam-bench-"))
        try:
            if options.of is None:
                make(scratch / "run", options.episodes)
            measure_all(options.of or scratch / "run", scratch, options.episodes)
        finally:
            shutil.rmtree(scratch)


if __name__ == "__main__":
    main()
