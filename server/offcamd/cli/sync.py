"""``offcam sync``: sends runs to a tracker."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from offcam_proto.errors import ConfigError, OffcamError, SyncFailed
from offcamd.cli.folders import FoldersArgument, over_runs
from offcamd.cli.options import JsonOption, SessionOption
from offcamd.cli.text import counted, printable, size
from offcamd.process import exit_codes

TRIES = 4
"""How many failures of a tracker in a row end the sending, unless it follows a training."""


def sync(
    folders: FoldersArgument,
    to: Annotated[
        str,
        typer.Option(
            help="Where to: a tracker's name and options, as wandb or tensorboard:logdir=runs, the URL of a place "
            "in object storage, as s3://bucket/run, or that of a hub, as tcp://head:8721. A wrong name lists all.",
            metavar="<tracker>",
            show_default=False,
        ),
    ],
    follow: Annotated[
        bool, typer.Option("--follow", help="Go on until the training is over, however often the tracker fails.")
    ] = False,
    local_limit: Annotated[
        Optional[str],
        typer.Option(
            help="Of object storage: most bytes of a run's folder, as 20GB. The oldest videos that are there for "
            "certain are removed here, and then the oldest files of steps.",
            metavar="<size>",
            show_default=False,
        ),
    ] = None,
    as_json: JsonOption = False,
    session: SessionOption = "",
) -> None:
    """Send runs to a tracker, where you look at trainings, to object storage or to a hub. Goes on where the last ended.

    Exits with 1 where a tracker fails and is given up: the rest is sent the next time.
    """
    from offcam_runs.sessions import ALL, session_of
    from offcam_runs.sync.process import SyncRequest, with_options

    tracker, options = with_options(to, {"local_limit": local_limit})
    wanted = session_of(session)
    if wanted == ALL:
        raise ConfigError("sessions are sent one by one: give --session N")
    request = SyncRequest(
        folder="", tracker=tracker, options=options, session=wanted, follow=follow, tries=0 if follow else TRIES
    )

    def send(folder: Path) -> dict[str, Any]:
        return _send(SyncRequest(**{**vars(request), "folder": str(folder.absolute())}))

    done = over_runs(folders, send, show=_show, to_json=lambda said: said, as_json=as_json)
    if None in done:
        raise typer.Exit(exit_codes.CANNOT)
    if any(each and not _all_sent(each) for each in done):
        raise typer.Exit(exit_codes.PROBLEM)


def _send(request: Any) -> dict[str, Any]:  # noqa: ANN401 - a SyncRequest, which is imported late
    from offcam_runs.sync.process import start

    with start(request, sys.path, stdout=subprocess.PIPE, stderr=None) as process:
        assert process.stdin is not None and process.stdout is not None  # noqa: S101, PT018 - pipes both
        try:
            process.stdin.close()
            text = process.stdout.read()
        except BaseException:
            process.terminate()  # it is in a session of its own, which Ctrl-C does not reach
            raise
    try:
        said: dict[str, Any] = json.loads(text)
    except ValueError as error:
        raise SyncFailed(f"the process that sends ended with {process.returncode}: see above") from error
    if "error" in said and "kind" in said:
        kind: type[OffcamError] = ConfigError if said["kind"] == "ConfigError" else SyncFailed
        raise kind(said["error"])
    return said


def _all_sent(said: dict[str, Any]) -> bool:
    return not said["behind_episodes"] + said["behind_clips"]


def _show(said: dict[str, Any]) -> None:
    sent = f"{counted(said['sent_episodes'], 'episode')} and {counted(said['sent_clips'], 'video')}"
    typer.echo(printable(f"{said['where'] or said['tracker']}: {sent}"))
    if said["evicted_clips"] + said["evicted_steps"]:
        gone = f"{counted(said['evicted_clips'], 'video')} ({size(said['evicted_bytes'])})"
        steps = f" and {counted(said['evicted_steps'], 'file')} of steps" if said["evicted_steps"] else ""
        typer.echo(f"  {gone}{steps} evicted here; the folder has {size(said['folder_bytes'])}")
    if not _all_sent(said):
        left = f"{counted(said['behind_episodes'], 'episode')} and {counted(said['behind_clips'], 'video')}"
        typer.echo(printable(f"  {left} are not sent: {said['error']}"))
