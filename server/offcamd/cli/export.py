"""``offcam export``: runs as files for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Optional

import typer

from offcamd.cli.extras import require
from offcamd.cli.folders import FoldersArgument, progress_bar


def export(
    folders: FoldersArgument,
    form: Annotated[Literal["csv", "jsonl", "parquet", "monitor"], typer.Option("--to", help="The format.")],
    output: Annotated[
        Optional[Path],  # noqa: UP045 - Python 3.10 takes no `|` here
        typer.Option(
            "-o",
            "--output",
            help="The file. Default: FOLDER's name and the format, here. For monitor a folder.",
            show_default=False,
        ),
    ] = None,
    what: Annotated[Literal["episodes", "clips"], typer.Option(help="A row for each of what.")] = "episodes",
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Export episodes to CSV, JSON lines, Parquet, or Stable-Baselines3's monitor.csv (one file for each env)."""
    from offcamd.columns import run_folders  # noqa: PLC0415 - verbs import when they run
    from offcamd.export import export as export_runs  # noqa: PLC0415 - as above

    if form == "parquet":
        require("pyarrow", extra="parquet", verb="export --to parquet")
    path = output or Path(f"{folders[0].absolute().name}-{'monitor' if form == 'monitor' else f'{what}.{form}'}")
    runs = [folder for given in run_folders(folders) for folder in given]
    with progress_bar("Exporting") as progress:
        done = export_runs(runs, form, path, what=what, force=force, progress=progress)
    noun = what if form != "monitor" else f"episodes in {len(done.files)} file{'s' * (len(done.files) != 1)}"
    typer.echo(f"{path}: {done.rows:,} {noun}")
