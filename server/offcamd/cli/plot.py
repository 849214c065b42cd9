"""``offcam plot``: learning curves as a figure."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Optional

import typer

from offcam_proto.errors import ConfigError
from offcamd.cli.extras import require
from offcamd.cli.folders import FoldersArgument  # noqa: TC001 - typer evaluates the verbs' annotations

if TYPE_CHECKING:
    from collections.abc import Sequence

    from offcamd.columns import EpisodeColumns
    from offcamd.plot import Line

ENDINGS = (".png", ".svg", ".pdf")


def plot(
    folders: FoldersArgument,
    output: Annotated[Path, typer.Option("-o", "--output", help="The figure: FILE.png, .svg or .pdf.")] = Path(
        "plot.png"
    ),
    group: Annotated[
        bool,
        typer.Option(
            "--group", help="Runs are seeds of one curve: those in one FOLDER together, or all that are given."
        ),
    ] = False,
    axis: Annotated[Literal["episode", "step", "time"], typer.Option("--x", help="The horizontal axis.")] = "episode",
    window: Annotated[
        Optional[int],  # noqa: UP045 - Python 3.10 takes no `|` here
        typer.Option(help="Episodes of the moving average. Default 100, or a tenth of the shortest run.", min=1),
    ] = None,
    statistic: Annotated[Literal["iqm", "mean", "median"], typer.Option(help="Over seeds.")] = "iqm",
    confidence: Annotated[float, typer.Option(help="Of the interval over seeds.", min=0.5, max=0.999)] = 0.95,
    raw: Annotated[
        Optional[bool],  # noqa: UP045 - as above
        typer.Option(help="Show single episodes. Default: of up to 5 runs, not with --group.", show_default=False),
    ] = None,
    title: Annotated[Optional[str], typer.Option(help="Default: the env's name.", show_default=False)] = None,  # noqa: UP045 - as above
) -> None:
    """Plot learning curves: returns with their moving average, intervals over seeds, and lengths.

    Several runs are laid over each other. An existing FILE is replaced.
    """
    if output.suffix.lower() not in ENDINGS:
        raise ConfigError(f"-o must end in {', '.join(ENDINGS)}, which says the format; got {str(output)!r}")
    require("matplotlib", extra="plot", verb="plot")
    from offcamd.atomicfile import replacing  # noqa: PLC0415 - verbs import when they run
    from offcamd.plot import Look, count, draw  # noqa: PLC0415 - takes long to import

    lines = _lines(folders, group=group)
    with replacing(output) as file:
        draw(lines, Look(axis, window, statistic, confidence, raw, title), file)
    episodes = sum(run.length.size for line in lines for run in line.runs)
    typer.echo(f"{output}: {count(episodes, 'episode')} of {count(sum(len(line.runs) for line in lines), 'run')}")


def _lines(folders: Sequence[Path], *, group: bool) -> list[Line]:
    """The lines of a figure; runs without an episode are left out, and that is said."""
    from offcamd.columns import labels, read_columns, run_folders  # noqa: PLC0415 - as above
    from offcamd.plot import Line  # noqa: PLC0415 - as above

    found = run_folders(folders)
    runs = {folder: read_columns(folder) for given in found for folder in given}
    for folder in [folder for folder, run in runs.items() if not run.length.size]:
        typer.echo(f"offcam: {folder} has no finished episodes yet", err=True)
        del runs[folder]
    names = dict(zip(runs, labels(list(runs)), strict=True))
    if not group:
        return [Line(names[folder], (run,)) for folder, run in runs.items()]
    groups: dict[str, list[EpisodeColumns]] = {}
    singles = [given[0] for given, path in zip(found, folders, strict=True) if given == [path]]
    for given, path in zip(found, folders, strict=True):
        label = path.absolute().name if given != [path] else _together(singles)
        groups.setdefault(label, []).extend(runs[folder] for folder in given if folder in runs)
    return [Line(label, tuple(members)) for label, members in groups.items() if members]


def _together(folders: Sequence[Path]) -> str:
    """A name for runs that were given together: of the folder they share, or of all of them."""
    parents = {folder.absolute().parent for folder in folders}
    return parents.pop().name if len(parents) == 1 else "all runs"
