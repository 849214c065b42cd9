"""What a step costs while something is wrong with the daemon, or a tracker, beside the same loop without a recorder.

Run as ``python tests/bench --faults``. Each measurement is a process of its own, as in `harness`; all cases take
turns. What happens to the daemon happens between two steps, a third into the loop, and its time is not counted.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import statistics
import subprocess
import sys
import time
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import agents
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
from moody import MoodyTracker, plug  # from the tests

if TYPE_CHECKING:
    from collections.abc import Iterator

SLOW_DAEMON = Path(__file__).resolve().parents[1] / "peers" / "slow_daemon.py"
TOO_SLOW = 10
WAIT_SECONDS = 120
BATCH_SECONDS = 10
"""After which a tracker that hangs is given up, and tried again."""

ALONE = "no recorder"
CASES = {
    ALONE: "the loop renders each step and keeps nothing",
    "healthy": "a daemon with default settings",
    "none": "no daemon listens, from the beginning on",
    "killed": "SIGKILL a third into the loop",
    "replaced": "SIGKILL a third into the loop, and another daemon is there a third later",
    "stopped": "SIGSTOP a third into the loop, until the loop is over",
    "slow": f"the encoder takes {TOO_SLOW} steps of the loop for each frame; 64 MiB of memory and no spool",
    "slow, spool": "the same with default settings: 512 MiB of memory and a spool of 4 GiB on disk",
    "tracker": "a healthy daemon, and the run is sent to a tracker, which takes all; the sender is at work already",
    "tracker hangs": "the same, but the tracker does not answer before the loop is over",
    "tracker fails": "the same, but the tracker answers 500 until the loop is over",
    "sender killed": "the same, but the sender dies at its next batch, and another one sends the run in the end",
}
MOODS = {"tracker": "well", "tracker hangs": "hang", "tracker fails": "500", "sender killed": "die"}
"""Of each case with a tracker, how that is during the loop."""

TITLES = (
    "case", "p99", "added p99", "longest", "added longest", "first", "mean", "ratio", "offered", "encoded", "dropped",
)  # fmt: skip
FIRST_STEPS = 20
"""The steps in which the stream, the first clip and its encoder come into being; they count like all others."""


@dataclass(frozen=True)
class Order:
    """What a worker is told.

    Attributes:
        case: a key of `CASES`.
        daemon: command of the daemon, or None.
    """

    case: str
    env_id: str
    steps: int
    folder: str
    daemon: list[str] | None


def measure_all(env_id: str, steps: int, repetitions: int, scratch: Path) -> Iterator[dict[str, Any]]:
    """Measure each case, a repetition after the other; a dictionary for each run."""
    pace = 0.0
    for repetition in range(repetitions):
        for number, case in enumerate(CASES):
            folder = scratch / f"{repetition}-{number}"
            folder.mkdir(mode=0o700)  # its socket is in it
            run = _measure(Order(case, env_id, steps, str(folder), _command(case, pace)))
            pace = run["mean_ms"] / 1000 if case == ALONE else pace
            yield {**run, "repetition": repetition}


def _command(case: str, pace: float) -> list[str] | None:
    if case in (ALONE, "none"):
        return None
    if not case.startswith("slow"):
        return [sys.executable, "-m", "offcamd", "serve"]
    tight = [] if case == "slow, spool" else ["--memory-limit", "64MiB", "--spool-limit", "0"]
    return [sys.executable, str(SLOW_DAEMON), str(TOO_SLOW * pace), *tight]


def _measure(order: Order) -> dict[str, Any]:
    folder = Path(order.folder)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OFFCAM")}
    environment |= {"OFFCAM_ADDR": f"ipc://{folder}/d", "OFFCAM_HTTP": "off", "OFFCAM_SPOOL_DIR": str(folder / "spool")}
    done = subprocess.run(
        [sys.executable, __file__, json.dumps(asdict(order))],
        capture_output=True, text=True, timeout=WAIT_SECONDS, check=False, env=environment, cwd=folder,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"{order.case} failed:\n{done.stderr}")
    run: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return run


def text(runs: list[dict[str, Any]], env_id: str, steps: int) -> list[str]:
    """The table: medians over the repetitions, in milliseconds."""
    rows: list[tuple[str, ...]] = [TITLES]
    for row in medians(runs):
        times = ("p99_ms", "added_p99_ms", "longest_ms", "added_longest_ms", "first_ms", "mean_ms", "ratio")
        counts = (f"{row[key]:.0f}" for key in ("offered", "encoded", "dropped"))
        rows.append((row["case"], *(f"{row[key]:.2f}" for key in times), *counts))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    return [
        f"{env_id}, {steps} steps", *lines, "",
        "Milliseconds of a step with the reset that may follow it, over all steps; medians over the repetitions, in",
        "which the cases take turns, each in a process of its own. Added: against the p99 and the longest step of",
        f"{ALONE!r} in the same repetition; ratio: of the means. First: the longest of the first {FIRST_STEPS} steps.",
        "The last three are frames, all accounted for; a tracker has each episode in the end.",
        *(f"  {case:<14}{what}" for case, what in CASES.items()),
    ]  # fmt: skip


def medians(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A row for each case, with the medians over its runs."""
    alone = {run["repetition"]: run for run in runs if run["case"] == ALONE}
    for run in runs:
        base = alone[run["repetition"]]
        run["added_p99_ms"] = run["p99_ms"] - base["p99_ms"]
        run["added_longest_ms"] = run["longest_ms"] - base["longest_ms"]
        run["ratio"] = run["mean_ms"] / base["mean_ms"]
    rows = []
    for case in CASES:
        own = [run for run in runs if run["case"] == case]
        keys = [key for key, value in own[0].items() if isinstance(value, (int, float))]
        rows.append({"case": case, **{key: statistics.median(run[key] for run in own) for key in keys}})
    return rows


# --- the worker -------------------------------------------------------------------------------------------


class Daemons:
    """The daemon of a case, and what happens to it."""

    def __init__(self, order: Order, stack: contextlib.ExitStack) -> None:
        self._order = order
        self._stack = stack
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Start it and wait until it listens."""
        command = self._order.daemon or [sys.executable, "-m", "offcamd", "serve"]
        process = self._stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        self._stack.callback(process.kill)  # all is final by then
        assert process.stdout is not None
        if not process.stdout.readline().startswith("offcam ready"):
            raise RuntimeError("the daemon did not start")
        self._process = process

    def signal(self, number: int) -> None:
        """Send it a signal."""
        assert self._process is not None
        self._process.send_signal(number)
        if number == signal.SIGKILL:
            self._process.wait()

    def happen(self, third: int) -> None:
        """What happens after the first or second third of the loop; after the last, all is well again."""
        match self._order.case, third:
            case "killed" | "replaced", 1:
                self.signal(signal.SIGKILL)
            case ("replaced", 2) | ("killed" | "none", 3):
                self.start()
            case "stopped", 1:
                self.signal(signal.SIGSTOP)
            case "stopped", 3:
                self.signal(signal.SIGCONT)


def work(order: Order) -> dict[str, Any]:
    """Run the loop, then have everything settled and look at the accounts."""
    with contextlib.ExitStack() as stack:
        daemons = Daemons(order, stack)
        if order.daemon:
            daemons.start()
        env = agents.make(order.env_id)
        plan = agents.actions(env, order.steps)
        recorded = _Rendering(env)
        if order.case != ALONE:
            offcam = importlib.import_module("offcam")
            tracker = stack.enter_context(_tracker(order))
            sync = tracker and f"{tracker.to},timeout={BATCH_SECONDS}"
            recorded = offcam.record(env, order.folder + "/run", every=1, sync=sync)
            if tracker is not None:
                _at_work(tracker, recorded, order)
        times = _loop(recorded, plan, daemons)
        result = {
            "case": order.case,
            "p99_ms": float(np.percentile(times, 99)),
            "longest_ms": float(times.max()),
            "first_ms": float(times[:FIRST_STEPS].max()),
            "mean_ms": float(times.mean()),
        }
        if order.case != ALONE:
            deadline = time.monotonic() + WAIT_SECONDS
            while not recorded.flush() and time.monotonic() < deadline:
                pass
        recorded.close()
    return {**result, **_accounts(Path(order.folder) / "run")}


@contextlib.contextmanager
def _tracker(order: Order) -> Iterator[MoodyTracker | None]:
    """The tracker of a case, None where it has none; in the end it is well, and must have each episode."""
    if order.case not in MOODS:
        yield None
        return
    folder = Path(order.folder)
    plug(folder / "plugged")
    sys.path.insert(0, str(folder / "plugged"))
    tracker = MoodyTracker(folder / "tracker")
    try:
        yield tracker
        tracker.be("well")
        if MOODS[order.case] == "die":
            importlib.import_module("offcam").sync(folder / "run", tracker.to).wait()
        episodes = len(importlib.import_module("offcam_runs.run").read_run(folder / "run").episodes)
        if set(tracker.wait("episode", episodes)) != set(range(episodes)):
            raise RuntimeError(f"{order.case}: the tracker lacks some of {episodes} episodes")
    finally:
        tracker.kill()


def _at_work(tracker: MoodyTracker, env: Any, order: Order) -> None:
    """Return once the sender has loaded all that it needs, which takes it some tenths of a second of CPU."""
    env.reset(seed=agents.SEED)
    while not any(env.step(env.action_space.sample())[2:4]):
        pass
    tracker.wait("pid", 1)
    tracker.wait("clip", 1)
    tracker.be(MOODS[order.case])


class _Rendering(agents.gym.Wrapper[Any, Any, Any, Any]):
    """Renders as a recorder would."""

    def reset(self, **options: Any) -> tuple[Any, dict[str, Any]]:
        result = self.env.reset(**options)
        self.env.render()
        return result

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        result = self.env.step(action)
        self.env.render()
        return result


def _loop(env: Any, plan: list[Any], daemons: Daemons) -> np.ndarray:
    """Milliseconds of each step, with the reset that followed it."""
    times = np.empty(len(plan))
    thirds = {len(plan) // 3: 1, 2 * len(plan) // 3: 2}
    env.reset(seed=agents.SEED)
    for number, action in enumerate(plan):
        if number in thirds:
            daemons.happen(thirds[number])
        begin = time.perf_counter_ns()
        _, _, terminated, truncated, _ = env.step(action)
        if terminated or truncated:
            env.reset()
        times[number] = (time.perf_counter_ns() - begin) / 1e6
    daemons.happen(3)
    return times


def _accounts(folder: Path) -> dict[str, int]:
    """Frames, summed over the clips; each clip's account must be even."""
    total = {"offered": 0, "encoded": 0, "dropped": 0}
    if folder.exists():
        for clip in importlib.import_module("offcam_runs.run").read_run(folder).clips:
            dropped = sum(clip.dropped.values())
            if clip.offered != clip.frames + dropped:
                raise RuntimeError(f"{clip.name}: {clip.offered} offered, {clip.frames} encoded, {dropped} dropped")
            total["offered"] += clip.offered
            total["encoded"] += clip.frames
            total["dropped"] += dropped
    return total


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # each case has its own, which the tests look at
    print(json.dumps(work(Order(**json.loads(sys.argv[1])))))
