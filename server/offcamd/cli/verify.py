"""``offcam verify``: whether all videos of runs are whole and as the index says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from offcamd.cli.folders import RunsArgument, folders_of, over_runs
from offcamd.cli.options import JsonOption
from offcamd.cli.progress import progress_bar
from offcamd.cli.text import counted, printable
from offcamd.process import exit_codes

if TYPE_CHECKING:
    from pathlib import Path

    from offcamd.reports.verify import Verification


def verify(named: RunsArgument, as_json: JsonOption = False) -> None:
    """Decode every video of runs and check it against the index.

    Exits with 1 if a video is wrong or could not be checked, 2 if a run cannot be read.
    """
    from offcamd.reports.verify import verify as verify_folder

    def look(folder: Path) -> Verification:
        with progress_bar("Decoding") as progress:
            return verify_folder(folder, progress=progress)

    folders = folders_of(named)
    found = over_runs(folders, look, show=show_verdict, to_json=lambda verdict: verdict.as_dict(), as_json=as_json)
    code = exit_codes.CANNOT if None in found else exit_codes.FINE
    if any(verdict is not None and not verdict.ok for verdict in found):
        code = max(code, exit_codes.PROBLEM)
    raise typer.Exit(code)


def show_verdict(verdict: Verification) -> None:
    """Print what the verification of a run found."""
    for note in verdict.notes:
        typer.echo(printable(f"note: {note.file}: {note.text}"))
    for problem in verdict.problems:
        typer.echo(printable(f"{problem.kind}: {problem.file}: {problem.text}"))
    found = "all is well" if verdict.ok else counted(len(verdict.problems), "problem")
    if not verdict.ok and not verdict.clips_checked:
        found = f"nothing could be checked, {found}"
    checked = f"{counted(verdict.clips_checked, 'video')}, {counted(verdict.frames_checked, 'frame')} checked"
    typer.echo(f"{checked}: {found}.")
