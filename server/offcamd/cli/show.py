"""``offcam show``: the statistics of runs, and of several seeds together."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from offcamd.cli.folders import FoldersArgument  # noqa: TC001 - typer evaluates the verbs' annotations
from offcamd.cli.options import JsonOption  # noqa: TC001 - as above
from offcamd.cli.text import number, plain_console

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from offcamd.analysis import SuccessRule
    from offcamd.columns import EpisodeColumns

SCORE_EPISODES = 100
"""Episodes at the end of a run whose mean return is its score among other seeds."""

WIDTH = 80
"""A narrower terminal wraps the lines, so that no number is cut."""


def show(
    folders: FoldersArgument,
    as_json: JsonOption = False,
    last: Annotated[
        Optional[int],  # noqa: UP045 - Python 3.10 takes no `|` here
        typer.Option(help="Only the last so many episodes of each run.", min=1, show_default=False),
    ] = None,
    success: Annotated[
        str, typer.Option(help="What success is: conditions joined by `and`, as 'terminated and return >= 200'.")
    ] = "return > 0",
    confidence: Annotated[float, typer.Option(help="Of the intervals.", min=0.5, max=0.999)] = 0.95,
) -> None:
    """Show a run's statistics: mean, std, median, interquartile mean with their intervals, and success rate.

    Return, length and seconds are of an episode; reward, seconds and speed of a step stand below.

    Of several runs of one env also those of all seeds together: each run counts by its mean return of its last 100
    episodes.
    """
    from offcamd.analysis import SuccessRule  # noqa: PLC0415 - verbs import when they run
    from offcamd.columns import read_columns, run_folders  # noqa: PLC0415 - as above
    from offcamd.jsontext import dumps  # noqa: PLC0415 - as above

    rule = SuccessRule(success)
    runs = [read_columns(folder) for given in run_folders(folders) for folder in given]
    if last is not None:
        runs = [run.last(last) for run in runs]
    found = {
        "runs": [_run(run, rule, confidence) for run in runs],
        "groups": _groups(runs, confidence),
    }
    if as_json:
        typer.echo(dumps(found, indent=2))
        return
    console = plain_console()
    console.width = max(console.width, WIDTH)
    for run in found["runs"]:
        _print_run(console, run)
    for group in found["groups"]:
        console.print(f"{group['env_id']}: {group['count']} runs together", style="bold", soft_wrap=True)
        console.print(_table({group["score"]: group}))
        console.print("")
    console.print(f"IQM: interquartile mean; {100 * confidence:g} %: bootstrap interval over episodes (or runs)")


def _run(run: EpisodeColumns, rule: SuccessRule, confidence: float) -> dict[str, Any]:
    """One run's statistics, ready for JSON."""
    from offcamd.analysis import per_step, success_rate, summary  # noqa: PLC0415 - as above

    columns = {"return": run.return_, "length": run.length, "duration": run.duration}
    flags = {"terminated": run.terminated, "truncated": run.truncated}
    return {
        "folder": str(run.folder),
        "env_ids": list(run.env_ids),
        "episodes": run.length.size,
        "steps": int(run.length.sum()),
        **{name: summary(values, confidence=confidence).as_dict() for name, values in columns.items()},
        "per_step": per_step(run.return_, run.length, run.duration).as_dict(),
        "success": success_rate({**columns, **flags}, rule, confidence=confidence).as_dict(),
    }


def _groups(runs: list[EpisodeColumns], confidence: float) -> list[dict[str, Any]]:
    """For each env of at least two runs the statistics of their scores, ready for JSON."""
    from offcamd.analysis import summary  # noqa: PLC0415 - as above

    scores: dict[str, list[float]] = {}
    for run in runs:
        score = summary(run.last(SCORE_EPISODES).return_, intervals=False).mean
        if math.isfinite(score):
            scores.setdefault(", ".join(run.env_ids), []).append(score)
    return [
        {
            "env_id": env_id,
            "score": f"mean return of the last {SCORE_EPISODES} episodes",
            **summary(values, confidence=confidence).as_dict(),
        }
        for env_id, values in scores.items()
        if len(values) > 1
    ]


def _print_run(console: Console, run: dict[str, Any]) -> None:
    envs = f" of {', '.join(run['env_ids'])}" if run["env_ids"] else ""
    odd = run["return"]["non_finite"]
    left_out = f"; left out as not finite: {odd:,} of the returns" if odd else ""
    title = f"{run['folder']}: {run['episodes']:,} episodes{envs}, {run['steps']:,} steps{left_out}"
    console.print(title, style="bold", soft_wrap=True)
    if run["episodes"]:
        console.print(_table({"return": run["return"], "length": run["length"], "seconds": run["duration"]}))
        step = run["per_step"]
        console.print(
            f"per step: reward {number(step['reward'])}, {number(step['seconds'])} seconds; "
            f"{number(step['steps_per_second'])} steps a second",
            soft_wrap=True,
        )
        success = run["success"]
        low, high = success["interval"]
        console.print(
            f"success {success['rate']:.1%} ({low:.1%} to {high:.1%}): {success['successes']:,} of "
            f"{success['count']:,} episodes with {success['rule']}",
            soft_wrap=True,
        )
    console.print("")


def _table(columns: dict[str, dict[str, Any]]) -> Table:
    """Statistics in rows: mean and interquartile mean with their intervals, and the rest."""
    from rich.table import Table  # noqa: PLC0415 - as above

    confidence = f"{100 * next(iter(columns.values()))['confidence']:g} %"
    rows: list[list[str]] = []
    for name, key in (("mean", "mean"), ("IQM", "iqm")):
        rows.append([name, *(number(column[key]) for column in columns.values())])
        rows.append([f"  {confidence}", *(_interval(column[f"{key}_interval"]) for column in columns.values())])
    rows += [[key, *(number(column[key]) for column in columns.values())] for key in ("std", "median", "min", "max")]
    table = Table(box=None, pad_edge=False)
    for place, heading in enumerate(["", *columns]):
        width = max(len(row[place]) for row in rows)
        table.add_column(heading, justify="right" if place else "left", no_wrap=True, min_width=width)
    for row in rows:
        table.add_row(*row)
    return table


def _interval(ends: list[float | None]) -> str:
    return "-" if None in ends else f"{number(ends[0])} to {number(ends[1])}"
