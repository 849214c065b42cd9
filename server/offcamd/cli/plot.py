"""``offcam plot``: learning curves as a figure."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Optional

import typer

from offcam_proto.errors import ConfigError
from offcamd.cli.folders import RunsArgument, folders_of
from offcamd.cli.options import JsonOption, SessionOption, file_to_write, require, say_written
from offcamd.cli.text import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from offcam_runs.long_run import LongRun
    from offcam_runs.run import Run
    from offcam_runs.sessions import Session
    from offcamd.reports.plot import FigureLine

ENDINGS = (".png", ".svg", ".pdf")


def plot(
    named: RunsArgument,
    output: Annotated[
        Path, typer.Option("-o", "--output", help="The figure: FILE.png, .svg or .pdf; - is stdout, as PNG.")
    ] = Path("plot.png"),
    group: Annotated[
        bool,
        typer.Option(
            "--group", help="Runs are seeds of one curve: those in one FOLDER together, or all that are given."
        ),
    ] = False,
    axis: Annotated[Literal["episode", "step", "time"], typer.Option("--x", help="The horizontal axis.")] = "episode",
    window: Annotated[
        Optional[int],
        typer.Option(
            help="Episodes of the moving average. Default 100, or a tenth of the shortest run.", min=1, metavar="<int>"
        ),
    ] = None,
    statistic: Annotated[Literal["iqm", "mean", "median"], typer.Option(help="The statistic over seeds.")] = "iqm",
    confidence: Annotated[
        float,
        typer.Option(help="Confidence level of the interval over seeds.", min=0.5, max=0.999, metavar="<float>"),
    ] = 0.95,
    raw: Annotated[
        Optional[bool],
        typer.Option(help="Show single episodes. Default: of up to 5 runs, not with --group.", show_default=False),
    ] = None,
    value: Annotated[
        Optional[str],
        typer.Option(
            help="Show this value of the episodes, as is_success, in place of their lengths.",
            metavar="<name>",
            show_default=False,
        ),
    ] = None,
    title: Annotated[Optional[str], typer.Option(help="Default: the env's name.", show_default=False)] = None,
    as_json: JsonOption = False,
    session: SessionOption = "",
) -> None:
    """Plot learning curves: returns with their moving average, intervals over seeds, and lengths.

    Several runs are laid over each other. An existing FILE is replaced. Runs without an episode are left out; it is an
    error if no other run is left.
    """
    to = file_to_write(output, as_json=as_json)
    ending = output.suffix.lower()
    if ending not in ENDINGS:
        if to.file is not None:
            raise ConfigError(f"-o must end in {', '.join(ENDINGS)}, which says the format; got {str(output)!r}")
        ending = ".png"
    require("matplotlib", extra="plot", verb="plot")
    from offcam_runs.sessions import session_of
    from offcamd.process.atomic_file import replacing
    from offcamd.reports.plot import FigureStyle, draw

    lines = _lines(folders_of(named), session_of(session), group=group)
    with replacing(output, ending) as file:
        look = FigureStyle(
            axis=axis, window=window, statistic=statistic, confidence=confidence, raw=raw, title=title, value=value
        )
        draw(lines, look, file)
    episodes = sum(run.count for line in lines for run in line.runs)
    runs = sum(len(line.runs) for line in lines)
    say_written(
        to,
        f"{counted(episodes, 'episode')} of {counted(runs, 'run')}",
        {"file": str(output), "episodes": episodes, "runs": runs},
        as_json=as_json,
    )


def _lines(folders: Sequence[Path], session: Session, *, group: bool) -> list[FigureLine]:
    """The lines of a figure. Runs without an episode are left out, with a note; ConfigError if none is left."""
    from offcam_runs.discover import labels, run_folders
    from offcam_runs.long_run import run_to_plot
    from offcamd.reports.plot import FigureLine

    found = run_folders(folders)
    runs = {folder: run_to_plot(folder, session) for given in found for folder in given}
    without = [folder for folder, run in runs.items() if not run.count]
    if len(without) == len(runs):
        where = ", ".join(map(str, folders))
        raise ConfigError(f"there are no finished episodes in {where} yet to be plotted: come back when one has ended")
    for folder in without:
        typer.echo(f"offcam: {folder} has no finished episodes yet", err=True)
        del runs[folder]
    names = dict(zip(runs, labels(list(runs)), strict=True))
    if not group:
        return [FigureLine(names[folder], (run,)) for folder, run in runs.items()]
    groups: dict[str, list[Run | LongRun]] = {}
    singles = [given[0] for given, path in zip(found, folders, strict=True) if given == [path]]
    for given, path in zip(found, folders, strict=True):
        label = path.absolute().name if given != [path] else _together(singles)
        groups.setdefault(label, []).extend(runs[folder] for folder in given if folder in runs)
    return [FigureLine(label, tuple(members)) for label, members in groups.items() if members]


def _together(folders: Sequence[Path]) -> str:
    """A name for runs that form one line: that of the folder they share, or of all of them."""
    parents = {folder.absolute().parent for folder in folders}
    return parents.pop().name if len(parents) == 1 else "all runs"
