"""``offcam export``: runs as files for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Optional

import typer

from offcam_proto.errors import ConfigError
from offcamd.cli.folders import FoldersArgument
from offcamd.cli.options import JsonOption, SessionOption, file_to_write, require, say_written
from offcamd.cli.progress import progress_bar
from offcamd.cli.text import counted, printable, say, size


def export(
    folders: FoldersArgument,
    form: Annotated[
        Literal["csv", "jsonl", "parquet", "monitor", "html", "lerobot"], typer.Option("--to", help="The format.")
    ],
    output: Annotated[
        Optional[Path],
        typer.Option(
            "-o",
            "--output",
            help="The file, - is stdout; by default FOLDER's name and the format. For monitor, html, lerobot a folder.",
            show_default=False,
        ),
    ] = None,
    what: Annotated[Literal["episodes", "clips", "steps"], typer.Option(help="A row for each of what.")] = "episodes",
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    as_json: JsonOption = False,
    session: SessionOption = "",
) -> None:
    """Export runs as tables, as a LeRobot dataset, or as a web page of their own.

    Episodes, clips or steps go to CSV, JSON lines, Parquet, or Stable-Baselines3's monitor.csv (one file for each
    env). With --to html the page itself, with all videos, as a folder that works from any disk and any web server.
    With --to lerobot a LeRobot dataset of videos and steps, recorded with steps=True.
    """
    if form == "html":
        _export_page(folders, output, force=force, as_json=as_json, session=session)
        return
    if form == "lerobot":
        _export_dataset(folders, output, force=force, as_json=as_json, session=session)
        return
    from offcam_runs.discover import run_folders
    from offcam_runs.sessions import session_of
    from offcamd.reports.export import export as export_runs

    if form == "parquet":
        require("pyarrow", extra="parquet", verb="export --to parquet")
    path = output or Path(f"{folders[0].absolute().name}-{'monitor' if form == 'monitor' else f'{what}.{form}'}")
    to = file_to_write(path, as_json=as_json)
    runs = [folder for given in run_folders(folders) for folder in given]
    with progress_bar("Exporting") as progress:
        done = export_runs(runs, form, path, what=what, force=force, session=session_of(session), progress=progress)
    rows = counted(done.rows, what.removesuffix("s")) + (f" ({done.missing:,} missing)" if done.missing else "")
    say_written(
        to,
        rows if form != "monitor" else f"{rows} in {counted(len(done.files), 'file')}",
        {
            "format": form,
            "files": [str(file) for file in done.files],
            "what": what,
            "rows": done.rows,
            "missing": done.missing,
        },
        as_json=as_json,
    )


def _export_page(folders: list[Path], output: Path | None, *, force: bool, as_json: bool, session: str) -> None:
    from offcamd.cli.view import check
    from offcamd.process.atomic_file import destination
    from offcamd.web.page_export import export_page

    for folder in folders:
        check(folder)
    path = output or Path(f"{folders[0].absolute().name}-html")
    where = destination(path).file  # where links lead, so that a link is not replaced
    if where is None:
        raise ConfigError(f"{path} is no folder: give one, as the page is many files")
    with progress_bar("Exporting") as progress:
        done = export_page(folders, where, session=session, force=force, progress=progress)
    facts = {"format": "html", "folder": str(path), "runs": done.runs, "clips": done.clips, "bytes": done.bytes}
    said = f"{counted(done.runs, 'run')} with {counted(done.clips, 'video')}, {size(done.bytes)}: open index.html in it"
    say(f"{printable(str(path))}: {said}", facts, as_json=as_json)


def _export_dataset(folders: list[Path], output: Path | None, *, force: bool, as_json: bool, session: str) -> None:
    require("pyarrow", extra="parquet", verb="export --to lerobot")
    from offcam_runs.discover import run_folders
    from offcam_runs.sessions import session_of
    from offcamd.reports.lerobot.dataset import export_dataset

    path = output or Path(f"{folders[0].absolute().name}-lerobot")
    runs = [folder for given in run_folders(folders) for folder in given]
    with progress_bar("Exporting") as progress:
        done = export_dataset(runs, path, session=session_of(session), force=force, progress=progress)
    facts = {"format": "lerobot", "folder": str(path), "episodes": done.episodes, "frames": done.frames}
    left_out = [each._asdict() for each in done.left_out]
    said = [f"{printable(str(path))}: {counted(done.episodes, 'episode')}, {counted(done.frames, 'frame')}"]
    said += [printable(f"left out: {file}: {reason}") for file, reason in done.left_out]
    say("\n".join(said), {**facts, "videos": done.videos, "left_out": left_out}, as_json=as_json)
