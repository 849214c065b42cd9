"""``offcam show``: the statistics of runs, and of several seeds together."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from offcamd.cli.folders import RunsArgument, folders_of, which_session
from offcamd.cli.options import JsonOption, SessionOption
from offcamd.cli.text import TextColumn, number, numbers, print_table, printable, say_json, styled

if TYPE_CHECKING:
    from offcam_runs.analysis import SuccessRule
    from offcam_runs.run import Run

NO_RULE = "nobody said what success is, and no episode has an `is_success`: give a rule with --success"


def show(
    named: RunsArgument,
    as_json: JsonOption = False,
    last: Annotated[
        Optional[int],
        typer.Option(help="Only the last so many episodes of each run.", min=1, metavar="<int>", show_default=False),
    ] = None,
    success: Annotated[
        Optional[str],
        typer.Option(
            help="What success is, for its rate: conditions joined by `and`, as 'terminated and return >= 200'. "
            "Default: what the env said, `is_success` or `success`.",
            metavar="<rule>",
            show_default=False,
        ),
    ] = None,
    confidence: Annotated[
        float, typer.Option(help="Confidence level of the intervals.", min=0.5, max=0.999, metavar="<float>")
    ] = 0.95,
    session: SessionOption = "",
) -> None:
    """Show a run's statistics: mean, std, median, interquartile mean with their intervals.

    Return, length and seconds are of an episode; reward, seconds and speed of a step stand below, and with --success,
    or where the env says what succeeded, the share of episodes that did.

    Of several runs of one env also those of all seeds together: each run counts by its mean return of its last 100
    episodes.
    """
    from offcam_runs.analysis import SuccessRule
    from offcam_runs.discover import run_folders
    from offcam_runs.run import read_run
    from offcam_runs.sessions import session_of

    wanted = session_of(session)
    rule = SuccessRule(success) if success is not None else None
    runs = [read_run(folder, wanted, last=last) for given in run_folders(folders_of(named)) for folder in given]
    found = {"runs": [_run(run, rule, confidence) for run in runs], "groups": _groups(runs, confidence)}
    if as_json:
        say_json(found)
        return
    for run in found["runs"]:
        _print_run(run)
    for group in found["groups"]:
        typer.echo(styled(printable(f"{group['env_id']}: {group['count']} runs together"), bold=True))
        _print_statistics({group["score"]: group})
        typer.echo("")
    typer.echo(f"IQM: interquartile mean; {100 * confidence:g} %: bootstrap interval over episodes (or runs)")


def _run(run: Run, rule: SuccessRule | None, confidence: float) -> dict[str, Any]:
    """One run's statistics, ready for JSON."""
    from offcam_runs.analysis import summary

    episodes = run.episodes
    known = rule is not None or episodes.success_rule is not None
    success = episodes.success_rate(rule, confidence=confidence).as_dict() if known else None
    return {
        "folder": run.folder,
        "session": run.session,
        "sessions": list(run.sessions),
        "env_ids": list(run.env_ids),
        "episodes": len(episodes),
        "steps": int(episodes.length.sum()),
        "return": episodes.summary(confidence=confidence).as_dict(),
        "length": episodes.summary("length", confidence=confidence).as_dict(),
        "duration": episodes.summary("duration", confidence=confidence).as_dict(),
        "per_step": episodes.per_step().as_dict(),
        "success": success,
        "success_why": None if known else NO_RULE,
        "info": {
            name: summary(column, confidence=confidence, intervals=False).as_dict()
            for name, column in episodes.info.items()
        },
    }


def _groups(runs: list[Run], confidence: float) -> list[dict[str, Any]]:
    """For each env with at least two runs, the statistics of their scores, ready for JSON."""
    from offcam_runs.run import SCORE_EPISODES, Runs

    groups: dict[str, list[Run]] = {}
    for run, score in zip(runs, Runs(tuple(runs)).scores(), strict=True):
        if math.isfinite(score):
            groups.setdefault(", ".join(run.env_ids), []).append(run)
    return [
        {
            "env_id": env_id,
            "score": f"mean return of the last {SCORE_EPISODES} episodes",
            **Runs(tuple(members)).summary(confidence=confidence).as_dict(),
        }
        for env_id, members in groups.items()
        if len(members) > 1
    ]


def _print_run(run: dict[str, Any]) -> None:
    envs = f" of {', '.join(run['env_ids'])}" if run["env_ids"] else ""
    odd = run["return"]["non_finite"]
    left_out = f"; left out as not finite: {odd:,} of the returns" if odd else ""
    title = f"{run['folder']}: {run['episodes']:,} episodes{envs}, {run['steps']:,} steps{left_out}"
    typer.echo(styled(printable(title), bold=True))
    if said := which_session(run["session"], run["sessions"]):
        typer.echo(said)
    if run["episodes"]:
        _print_statistics({"return": run["return"], "length": run["length"], "seconds": run["duration"]})
        step = run["per_step"]
        typer.echo(
            f"per step: reward {number(step['reward'])}, {number(step['seconds'])} seconds; "
            f"{number(step['steps_per_second'])} steps a second"
        )
        if success := run["success"]:
            low, high = success["interval"]
            typer.echo(
                f"success {success['rate']:.1%} ({low:.1%} to {high:.1%}): {success['successes']:,} of "
                f"{success['count']:,} episodes with {success['rule']}"
            )
        for name, value in run["info"].items():
            if name not in ("is_success", "success"):
                typer.echo(printable(f"{name}: mean {number(value['mean'])} of {value['count']:,} episodes"))
    typer.echo("")


def _print_statistics(columns: dict[str, dict[str, Any]]) -> None:
    """Print statistics in rows: mean and interquartile mean with their intervals, and the rest."""
    confidence = f"{100 * next(iter(columns.values()))['confidence']:g} %"
    rows: list[list[str]] = []
    for name, key in (("mean", "mean"), ("IQM", "iqm")):
        rows.append([name, *(number(column[key]) for column in columns.values())])
        rows.append([f"  {confidence}", *(_interval(column[f"{key}_interval"]) for column in columns.values())])
    rows += [[key, *(number(column[key]) for column in columns.values())] for key in ("std", "median", "min", "max")]
    print_table([TextColumn(""), *numbers(*columns)], rows)


def _interval(ends: list[float | None]) -> str:
    return "-" if None in ends else f"{number(ends[0])} to {number(ends[1])}"
