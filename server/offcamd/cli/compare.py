"""``offcam compare``: statistics of groups of runs, as Agarwal et al. (NeurIPS 2021) recommend."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from offcam_proto.errors import ConfigError
from offcamd.cli.options import JsonOption, SessionOption
from offcamd.cli.text import TextColumn, number, numbers, print_table, printable, say_json, styled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from offcam_runs.analysis import Comparison
    from offcam_runs.run import Run

PROFILE_COLUMNS = 7
"""Scores of a profile that fit into a line; `--json` has all of them."""


def compare(
    groups: Annotated[
        list[Path],
        typer.Argument(
            metavar="GROUP...",
            help="At least two: run folders, or folders that hold run folders, the seeds of one algorithm.",
            readable=False,  # as of all verbs
            show_default=False,
        ),
    ],
    threshold: Annotated[
        Optional[float],
        typer.Option(help="The score that is enough, for the optimality gap.", metavar="<float>", show_default=False),
    ] = None,
    last: Annotated[
        int, typer.Option(help="Episodes at the end of a run whose mean return is its score.", min=1, metavar="<int>")
    ] = 100,
    scale: Annotated[
        Optional[list[str]],
        typer.Option(
            help="The returns of an env that count as 0 and as 1; may be given several times.",
            metavar="ENV=LOW:HIGH",
            show_default=False,
        ),
    ] = None,
    confidence: Annotated[
        float, typer.Option(help="Confidence level of the intervals.", min=0.5, max=0.999, metavar="<float>")
    ] = 0.95,
    as_json: JsonOption = False,
    session: SessionOption = "",
) -> None:
    """Compare groups of runs: which algorithm is better, and how sure that is.

    IQM, optimality gap, probability of improvement, sample efficiency and performance profiles, with stratified
    bootstrap intervals over runs (Agarwal et al., NeurIPS 2021). A run's score is the mean return of its last episodes.
    """
    from offcam_runs.comparing import compare_runs

    scales = dict(map(_scale, scale or ()))
    found = compare_runs(
        _read(groups, session), threshold=threshold, episodes=last, scales=scales, confidence=confidence
    )
    if as_json:
        say_json({"score": f"mean return of the last {last} episodes", **found.as_dict()})
        return
    _show(found)
    typer.echo(f"score: mean return of the last {last:,} episodes of a run")
    typer.echo(f"{100 * confidence:g} %: stratified bootstrap interval over runs")
    for warning in found.warnings:
        typer.echo(f"offcam: {printable(warning)}", err=True)


def _read(folders: Sequence[Path], session: str) -> dict[str, list[Run]]:
    """The runs of each group, by the group's name."""
    from offcam_runs.discover import labels, run_folders
    from offcam_runs.run import read_run
    from offcam_runs.sessions import session_of

    wanted = session_of(session)
    found = run_folders(folders)
    return {
        label: [read_run(folder, wanted) for folder in given]
        for label, given in zip(labels(folders), found, strict=True)
    }


def _scale(text: str) -> tuple[str, tuple[float, float]]:
    """Parse ``ENV=LOW:HIGH``: an env's id, and its returns that count as 0 and as 1."""
    env, _, ends = text.rpartition("=")
    low, _, high = ends.partition(":")
    try:
        return env, (float(low), float(high))
    except ValueError:
        raise ConfigError(f"--scale takes ENV=LOW:HIGH, as CartPole-v1=20:500, got {text!r}") from None


def _show(found: Comparison) -> None:
    """Print the tables. They fit 80 columns with any number of groups, as each group has lines of its own."""
    name, percent = TextColumn("", "name"), f"{100 * found.confidence:g} %"
    heads = [] if found.threshold is None else [f"gap to {number(found.threshold)}", percent]
    _headed(", ".join(found.tasks))
    print_table(
        [name, *numbers("runs", "IQM", percent, *heads)],
        (
            (group.label, f"{group.runs:,}", *_cells(group.iqm), *(_cells(group.gap) if group.gap else ()))
            for group in found.groups
        ),
    )
    _headed("\nprobability that a run of one is better than one of another")
    print_table(
        [name, TextColumn("", "name"), *numbers("probability", percent)],
        ((better, f"> {than}", *_cells(probability)) for better, than, probability in found.pairs),
    )
    _headed("\nsample efficiency: IQM when so much of the shortest run's steps was done")
    print_table(
        [name, *numbers("steps", "IQM", percent)],
        (
            (group.label, f"{fraction:.0%}", *_cells((center, low, high)))
            for group in found.groups
            for fraction, center, low, high in zip(
                found.fractions, group.efficiency.center, group.efficiency.low, group.efficiency.high, strict=True
            )
        ),
    )
    places = [round(place * (found.thresholds.size - 1) / (PROFILE_COLUMNS - 1)) for place in range(PROFILE_COLUMNS)]
    _headed("\nperformance profile: share of runs with a score above")
    print_table(
        [name, *numbers(*(number(found.thresholds[place]) for place in places))],
        ((group.label, *(f"{group.profile.center[place]:.2f}" for place in places)) for group in found.groups),
    )
    typer.echo("")


def _headed(text: str) -> None:
    typer.echo(styled(text, bold=True))


def _cells(estimate: Sequence[float]) -> tuple[str, str]:
    """A number and its interval; a dash where there is none."""
    value, low, high = estimate
    interval = "-" if math.isnan(low) else f"{number(low)} to {number(high)}"
    return "-" if math.isnan(value) else number(value), interval
