"""``offcam recover``: finish what a dead daemon left in run folders, and take in what clients left there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from offcamd.cli.folders import FoldersArgument, over_runs
from offcamd.cli.options import JsonOption
from offcamd.cli.progress import progress_bar
from offcamd.cli.text import counted, printable
from offcamd.process import exit_codes

if TYPE_CHECKING:
    from pathlib import Path

    from offcamd.store.recovery import Recovery

EXIT_CODES = {"lossless": exit_codes.FINE, "nothing": exit_codes.PROBLEM, "lossy": exit_codes.LOSSY}
WORST_FIRST = (exit_codes.CANNOT, exit_codes.LOSSY, exit_codes.FINE, exit_codes.PROBLEM)
"""Exit codes of several runs, the worst first: that one of them had nothing to recover says nothing of the others."""

_WORDS = {
    "nothing": "nothing to recover",
    "lossless": "nothing that reached a file is lost",
    "lossy": "something is lost, see above",
}


def recover(folders: FoldersArgument, as_json: JsonOption = False) -> None:
    """Finish the videos that a killed daemon left in run folders, and take in what clients left. Needs no daemon.

    Exits with 0 where nothing is known to be lost, 3 where something is, 1 where there is nothing to recover, and 2
    where it cannot, as when a daemon is writing the folder; of several runs with the worst.
    """
    from offcamd.store.recovery import recover_folder

    def look(folder: Path) -> tuple[Path, Recovery]:
        with progress_bar("Recovering") as progress:
            return folder, recover_folder(folder, progress)

    found = over_runs(
        folders,
        look,
        show=lambda result: _show(result[1]),
        to_json=lambda result: {"folder": str(result[0]), **result[1].as_dict()},
        as_json=as_json,
        unfinished=True,
    )
    codes = {exit_codes.CANNOT if result is None else EXIT_CODES[result[1].outcome] for result in found}
    raise typer.Exit(next(code for code in WORST_FIRST if code in codes))


def _show(recovery: Recovery) -> None:
    taken_in = recovery.taken_in
    if taken_in.journals:
        typer.echo(f"{counted(taken_in.episodes, 'episode')} that clients had left are in the index")
    if taken_in.missing:
        typer.echo(f"{counted(taken_in.missing, 'record')} before them are gone with an index that was removed")
    for problem in taken_in.problems:
        typer.echo(printable(problem))
    if taken_in.busy:
        typer.echo(f"{counted(taken_in.busy, 'client')} still recording: what waits there is for the next daemon")
    for clip in recovery.clips:
        lost = f"; {clip.loss}" if clip.loss else ""
        typer.echo(printable(f"{clip.file}: {clip.state}, {counted(clip.frames, 'frame')}{lost}"))
    videos = f"{counted(len(recovery.clips), 'video')}: " if recovery.clips else ""
    typer.echo(f"{videos}{_WORDS[recovery.outcome]}.")
