"""From the runs to the table: medians over the repetitions, with the method of each figure."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import statistics
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cores import CALM
from recorders import RENDER_ONLY

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from worker import Run

PACKAGES = (
    "offcam", "gymnasium", "numpy", "pyzmq", "av", "opencv-python-headless", "moviepy", "imageio-ffmpeg",
    "stable-baselines3", "ale-py",
)  # fmt: skip


@dataclass(frozen=True)
class Figure:
    """A column.

    Attributes:
        key: its name in the JSON.
        title: its name in the table.
        form: how a value is written.
        method: how it is measured, in a line.
        of: from a run, and render-only's run of the same repetition, to its value; None where there is none.
    """

    key: str
    title: str
    form: str
    method: str
    of: Callable[[Run, Run], float | None]


FIGURES = (
    Figure(
        "loop_ratio", "loop", "{:.3f}",
        "time of the loop (all steps and resets, not close()) / render-only's in the same repetition",
        lambda run, base: run.loop_seconds / base.loop_seconds,
    ),
    Figure(
        "longest_ms", "longest", "{:+.1f}",
        "ms by which the longest step (with the reset after it) is longer than render-only's longest",
        lambda run, base: run.longest_ms - base.longest_ms,
    ),
    Figure(
        "p99_ms", "p99", "{:+.2f}",
        "the same for the 99th percentile of all steps, ms",
        lambda run, base: run.p99_ms - base.p99_ms,
    ),
    Figure(
        "beyond_us", "thread", "{:.0f}",
        "us of a step spent outside of the env's own step() and render(), median over the steps without a reset, "
        "less render-only's. A recorder's threads can also slow what is inside: see loop",
        lambda run, base: run.beyond_us - base.beyond_us,
    ),
    Figure(
        "cpu_ms", "CPU", "{:.2f}",
        "ms of CPU per frame in all processes (self, ended children, and the daemon by /proc/PID/stat), from the "
        "first reset to the return of close(), less render-only's",
        lambda run, base: 1000 * (run.cpu_seconds - base.cpu_seconds) / (run.expected or run.steps),
    ),
    Figure(
        "daemon_cpu_ms", "daemon", "{:.2f}",
        "the daemon's part of that",
        lambda run, base: 1000 * run.daemon_cpu_seconds / (run.expected or run.steps),
    ),
    Figure(
        "close_s", "close", "{:.2f}",
        "seconds in close(), which returns when the files are complete",
        lambda run, base: run.close_seconds,
    ),
    Figure(
        "client_mib", "RSS", "{:.0f}",
        "MiB of memory that the training process had resident at most (VmHWM; a fresh process for each run)",
        lambda run, base: run.client_mib,
    ),
    Figure(
        "daemon_mib", "daemon RSS", "{:.0f}",
        "the same of the daemon, which starts anew for each run",
        lambda run, base: run.daemon_mib or None,
    ),
    Figure(
        "file_kib", "KiB/file", "{:.1f}",
        "mean size of the videos; one for each episode, except for sb3-vecvideo, which has one in all",
        lambda run, base: run.file_bytes / 1024 / run.files if run.files else None,
    ),
    Figure(
        "found", "found", "{:.0f}",
        "frames decoded from the videos after the run; what is missing was dropped or lost",
        lambda run, base: run.found,
    ),
    Figure(
        "expected", "of", "{:.0f}",
        "frames there should be: one for each reset and each step",
        lambda run, base: run.expected,
    ),
    Figure(
        "in_place_percent", "in place", "{:.1f}%",
        "part of the decoded frames that are at least as close to what was rendered at their time as to the frame "
        "before and the one after (first repetition, played again by the same seed). A repeated picture is not in "
        "place; a few others may be where less changed than the codec keeps",
        lambda run, base: None if run.in_place is None else 100 * run.in_place / max(run.found, 1),
    ),
    Figure(
        "psnr_db", "PSNR", "{:.1f}",
        "dB over all decoded frames, RGB against RGB, at the times they have in the file (first repetition)",
        lambda run, base: run.psnr_db,
    ),
)  # fmt: skip  # one line for each of its arguments


def medians(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """A row for each env and recorder: the median of each figure, and the spread of the loop's."""
    rows: list[dict[str, Any]] = []
    for env_id, label in dict.fromkeys((run.env_id, run.label) for run in runs):
        own = {run.repetition: run for run in runs if (run.env_id, run.label) == (env_id, label)}
        base = {run.repetition: run for run in runs if (run.env_id, run.label) == (env_id, RENDER_ONLY)}
        row: dict[str, Any] = {"env": env_id, "recorder": label, "repetitions": len(own)}
        for figure in FIGURES:
            values = [figure.of(run, base[repetition]) for repetition, run in own.items()]
            row[figure.key] = _median(values)
        ratios = [run.loop_seconds / base[repetition].loop_seconds for repetition, run in own.items()]
        row["loop_ratio_range"] = [min(ratios), max(ratios)]
        rows.append(row)
    return rows


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def text(runs: Sequence[Run], machine: dict[str, Any], notes: Sequence[str]) -> str:
    """The whole report."""
    lines = [f"{key}: {value}" for key, value in machine.items()]
    rows = medians(runs)
    for env_id in dict.fromkeys(run.env_id for run in runs):
        some = next(run for run in runs if run.env_id == env_id)
        base = [run.loop_seconds for run in runs if (run.env_id, run.label) == (env_id, RENDER_ONLY)]
        shape = "x".join(map(str, some.frame_shape))
        lines += ["", f"{env_id}, frames of {shape}, {some.steps} steps in {statistics.median(base):.2f} s render-only"]
        lines += _table([row for row in rows if row["env"] == env_id])
    lines += ["", "Medians over the repetitions; in brackets the least and the most.", _calm(runs)]
    lines += [f"  {figure.title:<11}{figure.method}" for figure in FIGURES]
    return "\n".join([*lines, *notes])


def _calm(runs: Sequence[Run]) -> str:
    found = [run.disturbance for run in runs]
    repeated, still = sum(run.attempts - 1 for run in runs), sum(each > CALM for each in found)
    return (
        f"Work beside a busy core took {statistics.median(found):.2f} [{min(found):.2f}, {max(found):.2f}] times as "
        f"long as alone, before or after a run: {repeated} runs were repeated as it took more than {CALM}, and {still} "
        f"of {len(runs)} are in the table even so."
    )


def _table(rows: Sequence[dict[str, Any]]) -> list[str]:
    body = [[row["recorder"], *(_cell(row, figure) for figure in FIGURES)] for row in rows]
    cells = [["recorder", *(figure.title for figure in FIGURES)], *body]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if place == 0 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in cells
    ]


def _cell(row: dict[str, Any], figure: Figure) -> str:
    value = row[figure.key]
    if value is None:
        return "-"
    written = figure.form.format(value)
    if figure.key == "loop_ratio" and row["repetitions"] > 1:
        low, high = row["loop_ratio_range"]
        written += f" [{low:.2f}, {high:.2f}]"
    return written


def machine() -> dict[str, Any]:
    """What it was measured on, with what, by which command."""
    with_versions = (f"{name} {_version(name)}" for name in PACKAGES)
    return {
        "command": f"python {' '.join(sys.argv)}",
        "machine": f"{_cpu_model()}, {len(os.sched_getaffinity(0))} CPUs, {platform.system()} {platform.release()}",
        "versions": f"Python {platform.python_version()}, " + ", ".join(with_versions),
        "load average at the start": " ".join(f"{load:.1f}" for load in os.getloadavg()),
    }


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "none"


def _cpu_model() -> str:
    match = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return match[1] if match else platform.machine()


def as_json(runs: Sequence[Run], machine_: dict[str, Any], notes: Sequence[str]) -> dict[str, Any]:
    """The same for programs, with every single run."""
    return {
        "machine": machine_,
        "notes": list(notes),
        "methods": {figure.key: figure.method for figure in FIGURES},
        "rows": medians(runs),
        "runs": [asdict(run) for run in runs],
    }
