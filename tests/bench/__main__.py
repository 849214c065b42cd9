"""Measure what recording costs: offcam and what else could be used, side by side. Linux only.

    python tests/bench                     the table, as text
    python tests/bench --quick             sooner and noisier
    python tests/bench --json FILE         the table and every single run, as JSON too
    python tests/bench --against TREE      with another working tree of offcam as a row of its own
    python tests/bench --all               that and all that follows
    python tests/bench --crowded           with free cores and with busy ones: what is to be reached
    python tests/bench --micro             what the pieces of offcam cost by themselves
    python tests/bench --faults            what a step costs while something is wrong with the daemon
    python tests/bench --reach             the limits: records, streams, 1080p, memory, import
    python tests/bench --quality           decoded videos against what was rendered, per preset and per layout
    python tests/bench --growth            how the cost of a frame grows with its size and the length of its clip

Nothing is asserted. Close what else runs: on a busy machine the ratios are worth little.

To see where the time goes, profile one side while a recording runs, for example with py-spy (not a
dependency)::

    py-spy record --native --rate 500 --output client.svg -- python tests/bench/worker.py '{...}'
    py-spy record --native --rate 500 --threads --output daemon.svg -- python -m offcamd serve --http off

or let ``perf record -g -p PID`` look into x264 and libzmq. The worker's argument is a `worker.Order`.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import agents
import crowded
import growth
import harness
import micro
import quality
import reach
import recorders
import report
from gymnasium.error import DependencyNotInstalled

import faults

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from worker import Run

    Machine: TypeAlias = dict[str, object]
    Part: TypeAlias = tuple[list[str], dict[str, Any]]

ENV_IDS = ("CartPole-v1", "LunarLander-v3", "ALE/Breakout-v5")


def main() -> int:
    """Parse the command line and do it."""
    options = _parser().parse_args()
    chosen = [name for name in PARTS if getattr(options, name, False) or options.all] or ["table"]
    machine = report.machine()
    told: dict[str, dict[str, Any]] = {}
    for name in chosen if options.all else chosen[:1]:
        lines, told[name] = PARTS[name](options, machine)
        _progress("")
        if name != "table":  # which has them in it
            lines = [*(f"{key}: {value}" for key, value in machine.items()), "", *lines]
        print("\n".join(lines), flush=True)
    _write(options.json, {"machine": machine, **(told if options.all else told[chosen[0]])})
    return 0


def _table(options: argparse.Namespace, machine: Machine) -> Part:
    contestants, notes = _contestants(options)
    env_ids = [env_id for env_id in options.envs if _available(env_id, notes)]
    runs: list[Run] = []
    with tempfile.TemporaryDirectory(prefix="offcam-bench-") as scratch:
        amount = (_steps(options), _repetitions(options), Path(scratch))
        for run in harness.measure_all(contestants, env_ids, *amount, patient=not options.quick):
            runs.append(run)
            _progress(f"repetition {run.repetition + 1} of {_repetitions(options)}: {run.env_id}, {run.label}")
    machine["load average at the end"] = " ".join(f"{load:.1f}" for load in os.getloadavg())
    return [report.text(runs, machine, notes)], report.as_json(runs, machine, notes)


def _reach(options: argparse.Namespace, _machine: Machine) -> Part:
    rows = []
    with tempfile.TemporaryDirectory(prefix="offcam-bench-") as scratch:
        for row in reach.measure_all(Path(scratch), quick=options.quick):
            rows.append(row)
            _progress(row["measure"])
    return reach.text(rows), {"rows": rows}


def _quality(options: argparse.Namespace, _machine: Machine) -> Part:
    rows = list(quality.measure_all(options.steps or (60 if options.quick else 300)))
    return quality.text(rows), {"rows": rows}


def _growth(options: argparse.Namespace, _machine: Machine) -> Part:
    rows = list(growth.measure_all(quick=options.quick))
    return growth.text(rows), {"rows": rows}


def _faults(options: argparse.Namespace, _machine: Machine) -> Part:
    env_id, runs = options.envs[0], []
    with tempfile.TemporaryDirectory(prefix="offcam-bench-") as scratch:
        for run in faults.measure_all(env_id, _steps(options), _repetitions(options), Path(scratch)):
            runs.append(run)
            _progress(f"repetition {run['repetition'] + 1} of {_repetitions(options)}: {run['case']}")
    return faults.text(runs, env_id, _steps(options)), {"rows": faults.medians(runs), "runs": runs}


def _crowded(options: argparse.Namespace, _machine: Machine) -> Part:
    notes: list[str] = []
    env_ids = [env_id for env_id in options.envs if _available(env_id, notes)]
    with tempfile.TemporaryDirectory(prefix="offcam-bench-") as scratch:
        amount = (_steps(options), _repetitions(options), Path(scratch))
        rows = crowded.measure_all(env_ids, *amount, _progress)
    return [*crowded.text(rows), *notes], {"rows": rows}


def _micro(options: argparse.Namespace, _machine: Machine) -> Part:
    pieces = micro.measure_all(0.05 if options.quick else 0.5)
    return micro.text(pieces), {"pieces": pieces}


PARTS: dict[str, Callable[[argparse.Namespace, Machine], Part]] = {
    "table": _table, "reach": _reach, "faults": _faults, "quality": _quality, "growth": _growth, "micro": _micro,
    "crowded": _crowded,
}  # fmt: skip


def _steps(options: argparse.Namespace) -> int:
    return options.steps or (200 if options.quick else 1000)


def _repetitions(options: argparse.Namespace) -> int:
    return options.repetitions or (3 if options.quick else 5)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python tests/bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="200 steps, 3 repetitions, no waiting for a calm machine")
    parser.add_argument("--steps", type=int, help="steps of each run, 1000 by default")
    parser.add_argument("--repetitions", type=int, help="runs of each recorder, 5 by default")
    parser.add_argument("--envs", nargs="+", default=ENV_IDS, metavar="ID", help="on which environments")
    parser.add_argument("--recorders", nargs="+", choices=recorders.RECORDERS, help="which of them, all by default")
    parser.add_argument("--against", type=Path, nargs="+", default=(), metavar="TREE", help="other trees of offcam")
    parser.add_argument("--all", action="store_true", help="measure everything")
    parser.add_argument("--crowded", action="store_true", help="measure with busy cores, too, beside what is aimed at")
    parser.add_argument("--micro", action="store_true", help="measure the pieces instead")
    parser.add_argument("--faults", action="store_true", help="measure, on the first env, a daemon in trouble instead")
    parser.add_argument("--reach", action="store_true", help="measure the limits instead")
    parser.add_argument("--quality", action="store_true", help="compare what is shown with what was rendered instead")
    parser.add_argument("--growth", action="store_true", help="measure how the cost of a frame grows instead")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write it there too")
    return parser


def _contestants(options: argparse.Namespace) -> tuple[list[harness.Contestant], list[str]]:
    notes: list[str] = []
    chosen: list[harness.Contestant] = []
    for name in recorders.RECORDERS:
        if options.recorders and name not in (*options.recorders, recorders.RENDER_ONLY):
            continue
        if module := recorders.missing(name):
            notes.append(f"Not measured: {name}, as {module} is not installed.")
            continue
        chosen.append(harness.Contestant(name, name))
    trees = [tree.resolve() for tree in options.against]
    return [*chosen, *(harness.Contestant(f"offcam@{tree.name}", recorders.OFFCAM, tree) for tree in trees)], notes


def _available(env_id: str, notes: list[str]) -> bool:
    try:
        agents.make(env_id).close()
    except (DependencyNotInstalled, ModuleNotFoundError) as error:
        notes.append(f"Not measured: {env_id}: {error}")
        return False
    return True


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\033[K{text}")


def _write(path: Path | None, content: object) -> None:
    if path is not None:
        path.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
