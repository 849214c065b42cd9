"""What the daemon and a client reach at their limits: ``python tests/bench --reach``.

Every measurement has a daemon of its own, with default settings but where it says so, and real processes for clients.
What is counted comes from the daemon's statistics and from the files.
"""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import Contestant, daemon
from worker import cpu_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CLIENT = Path(__file__).resolve().with_name("reach_client.py")
CLIENT_SECONDS = 300

MEASURES = {
    "import": "ms that `import offcam` takes behind `import gymnasium`, median of fresh processes",
    "start": "s of CPU that an embedded daemon takes from its spawn until a training's first record is acked, and its "
    "launcher before, medians; Python's bytecode is there, as after an installation",
    "records": "episode records a second from one client until each is acknowledged, that is committed",
    "statistics": "us of the agent's thread's CPU that a step of 4,096 sub-environments takes, without statistics and "
    "with those of Gymnasium and of offcam: the mean and the longest, least of five runs each",
    "single": "us of the agent's thread's CPU that a step of one env takes, likewise",
    "million": "1,000,000 steps a second of 4,096 sub-environments, episodes of 20 steps: episodes in the index of "
    "those that ended, the share of a core that the agent's thread takes, and the daemon's memory in MiB: after a "
    "fifth of the time, at the end, and the most",
    "1080p": "an env that draws 1920x1080 pictures, 60 steps a second for some seconds: frames in the file of those "
    "offered, and the longest step beyond what the pace asks for",
    "growth": "MiB by which a client grows from a clip's 100th frame of 480x480 to its last",
    "streams": "clients of one env each, as fast as the daemon takes their 160x210 frames (overflow='block', pictures "
    "made beforehand; no spool, so that none go to disk first): frames a second in all files until the last one is "
    "final, the slowest client's against the fastest's, ms of CPU a frame of the daemon and of the clients",
}


def measure_all(scratch: Path, *, quick: bool) -> Iterator[dict[str, Any]]:
    """Measure each in turn; a dictionary for each line of the table."""
    yield {"measure": "import", **_import_ms(5 if quick else 15)}
    yield {"measure": "start", **_start_cpu(scratch, 3 if quick else 15)}
    yield {
        "measure": "records",
        **_with_daemon(scratch, lambda pid: _clients(pid, 1, "records", 20_000 if quick else 200_000)),
    }
    for length in (200, 20):
        yield {
            "measure": "statistics",
            **_with_daemon(scratch, lambda pid, n=length: _clients(pid, 1, "statistics", n)),
        }
    yield {"measure": "single", **_with_daemon(scratch, lambda pid: _clients(pid, 1, "single", 50))}
    yield {"measure": "million", **_with_daemon(scratch, lambda pid: _million(pid, 3 if quick else 30))}
    yield {"measure": "1080p", **_with_daemon(scratch, lambda pid: _clients(pid, 1, "paced", 120 if quick else 1200))}
    yield {
        "measure": "growth",
        **_with_daemon(scratch, lambda pid: _clients(pid, 1, "growth", 1000 if quick else 10_000)),
    }
    for streams in (1, 4, 16) if quick else (1, 2, 4, 8, 16, 32, 64):
        least = 100 if quick else 1000  # more than the first credit is for
        frames = max((2000 if quick else 16_000) // streams, least)
        yield {
            "measure": "streams",
            "streams": streams,
            **_with_daemon(
                scratch, lambda pid, n=streams, f=frames: _clients(pid, n, "flood", f), OFFCAM_SPOOL_LIMIT="0"
            ),
        }


def text(rows: list[dict[str, Any]]) -> list[str]:
    """The table, and what its rows are."""
    lines = []
    for row in rows:
        what = {key: value for key, value in row.items() if key != "measure"}
        lines.append(f"{row['measure']:10}  " + "  ".join(f"{key} {value:,.4g}" for key, value in what.items()))
    return [*lines, "", *(f"  {name:10}  {meaning}" for name, meaning in MEASURES.items())]


def _import_ms(times: int) -> dict[str, float]:
    code = "import gymnasium, time; t = time.perf_counter(); import offcam; print((time.perf_counter() - t) * 1000)"
    found = [
        float(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout)
        for _ in range(times)
    ]
    return {"ms": statistics.median(found)}


def _start_cpu(scratch: Path, times: int) -> dict[str, float]:
    """Of so many starts; the first is not counted, as it may have to compile."""
    found = []
    for _ in range(times + 1):
        with contextlib.ExitStack() as stack:
            folder = scratch / "start"
            folder.mkdir(mode=0o700)
            stack.callback(subprocess.run, ["rm", "-rf", str(folder)], check=False)
            environment = Contestant("offcam", "offcam").environment(folder)
            del environment["OFFCAM_ADDR"]
            environment.pop("PYTHONDONTWRITEBYTECODE", None)
            environment |= {"XDG_RUNTIME_DIR": str(folder), "PYTHONPYCACHEPREFIX": str(scratch / "bytecode")}
            command = [sys.executable, str(CLIENT), "start", "1", str(folder / "run")]
            done = subprocess.run(
                command, input="\n", capture_output=True, text=True, check=True, timeout=CLIENT_SECONDS, env=environment
            )
            found.append(json.loads(done.stdout.splitlines()[-1]))
    return {who: statistics.median(each[who] for each in found[1:]) for who in ("daemon", "launcher")}


def _with_daemon(scratch: Path, work: Callable[[int], dict[str, float]], **told: str) -> dict[str, float]:
    folder = scratch / "reach"
    folder.mkdir(mode=0o700)
    with contextlib.ExitStack() as stack:
        stack.callback(subprocess.run, ["rm", "-rf", str(folder)], check=False)
        environment = {**Contestant("offcam", "offcam").environment(folder), **told}
        pid = stack.enter_context(daemon(environment, folder))
        os.environ["OFFCAM_ADDR"] = environment["OFFCAM_ADDR"]
        os.chdir(folder)
        return work(pid)


def _clients(pid: int, count: int, kind: str, amount: int) -> dict[str, float]:
    """Run clients at once: each says when it is ready, and begins when all are."""
    cpu, begun = 0.0, 0.0
    with contextlib.ExitStack() as stack:
        processes = []
        for number in range(count):
            command = [sys.executable, str(CLIENT), kind, str(amount), f"{Path.cwd()}/run-{number}"]
            process = stack.enter_context(
                subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            )
            stack.callback(process.kill)
            processes.append(process)
        for process in processes:
            assert process.stdout is not None
            process.stdout.readline()
        cpu, begun = cpu_of(pid), time.perf_counter()
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
        told = [json.loads(process.communicate(timeout=CLIENT_SECONDS)[0]) for process in processes]
    cpu = cpu_of(pid) - cpu
    if kind != "flood":
        result: dict[str, float] = told[0]
        return result
    frames = sum(each["frames"] for each in told)
    rates = [each["frames"] / each["seconds"] for each in told]
    clients = sum(each["cpu"] for each in told)
    seconds = max(each["ended"] for each in told) - begun  # one clock for all processes of this host
    return {
        "fps": frames / seconds,
        "slowest/fastest": min(rates) / max(rates),
        "daemon": 1000 * cpu / frames,
        "clients": 1000 * clients / frames,
    }


def _million(pid: int, seconds: int) -> dict[str, float]:
    """The measurement, and the daemon's memory meanwhile."""
    sizes, over = [_resident_mib(pid)], threading.Event()

    def watch() -> None:
        while not over.wait(0.1):
            sizes.append(_resident_mib(pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        found = _clients(pid, 1, "million", seconds)
    finally:
        over.set()
        watcher.join()
    return {**found, "MiB": sizes[len(sizes) // 5], "MiB at the end": sizes[-1], "most MiB": max(sizes)}


def _resident_mib(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
