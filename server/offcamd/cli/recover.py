"""``offcam recover``: finish what a dead daemon left in a run folder."""

from __future__ import annotations

import typer

from offcamd.cli.folders import FolderArgument, progress_bar
from offcamd.cli.options import JsonOption  # noqa: TC001 - typer evaluates the verbs' annotations

EXIT_CODES = {"lossless": 0, "nothing": 1, "lossy": 3}


def recover(folder: FolderArgument, as_json: JsonOption = False) -> None:
    """Finish the videos that a killed daemon left in a run folder. Needs no daemon.

    Exits with 0 where nothing is known to be lost, 3 where something is, 1 where there is nothing to recover, and 2
    where it cannot, as when a daemon is writing the folder.
    """
    from offcamd.jsontext import dumps  # noqa: PLC0415 - verbs import when they run
    from offcamd.recovery import recover_folder  # noqa: PLC0415 - as above

    with progress_bar("Recovering") as progress:
        recovery = recover_folder(folder, progress)
    if as_json:
        typer.echo(dumps({"folder": str(folder), **recovery.as_dict()}, indent=2))
    else:
        for clip in recovery.clips:
            typer.echo(f"{clip.file}: {clip.state}, {clip.frames:,} frames" + (f"; {clip.loss}" if clip.loss else ""))
        videos = f"{len(recovery.clips)} videos: " if recovery.clips else ""
        typer.echo(f"{videos}{_WORDS[recovery.outcome]}.")
    raise typer.Exit(EXIT_CODES[recovery.outcome])


_WORDS = {
    "nothing": "nothing to recover",
    "lossless": "nothing that reached a file is lost",
    "lossy": "something is lost, see above",
}
