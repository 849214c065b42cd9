"""``offcam demo``: the main job in one command, from an agent to a verified video."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from offcam_proto.errors import OffcamError
from offcam_runs.format import INDEX_NAME
from offcamd.cli.folders import latest, show_listing
from offcamd.cli.options import JsonOption
from offcamd.cli.progress import progress_bar, waiting
from offcamd.cli.text import printable, say_json
from offcamd.cli.verify import show_verdict
from offcamd.process import exit_codes

FolderArgument = Annotated[Path, typer.Argument(help="Where the recordings go.")]

QUIET = {"SDL_VIDEODRIVER": "dummy", "SDL_AUDIODRIVER": "dummy", "PYGAME_HIDE_SUPPORT_PROMPT": "1"}
"""Has pictures drawn in memory: SDL must not look for a display or a loudspeaker, and complain that there is none."""


def demo(folder: FolderArgument = Path("offcam-demo"), as_json: JsonOption = False) -> None:
    """Record CartPole and LunarLander agents, list their episodes and videos, and verify them."""
    from offcamd.config.settings import load
    from offcamd.process.launch import DEFAULT_TIMEOUT_SECONDS, start_detached

    with waiting("Starting the recorder daemon"):
        info = start_detached(load({}, embedded=True), DEFAULT_TIMEOUT_SECONDS)
    if not as_json:
        where = info.http or "no HTTP address"
        typer.echo(f"The recorder daemon runs (pid {info.pid}); its statistics are at {where}.")
    folder = folder / time.strftime("%Y%m%dT%H%M%S")  # one for each call, so that its table shows that alone
    began = time.monotonic()
    if _record(folder, info.endpoint, as_json=as_json):
        failed = OffcamError("the agents failed, see above; `offcam doctor` may know why.")
        raise typer.Exit(exit_codes.say(failed, exit_codes.PROBLEM, as_json=as_json))
    seconds = time.monotonic() - began
    if not as_json:
        typer.echo(f"Recorded in {seconds:.1f} s.\n")
    runs = [_look(run, as_json=as_json) for run in sorted(path.parent for path in folder.glob(f"*/{INDEX_NAME}"))]
    well = all(run["ok"] for run in runs)
    if as_json:
        say_json({"ok": well, "folder": str(folder), "seconds": seconds, "runs": runs})
    if not well:
        raise typer.Exit(exit_codes.PROBLEM)
    if not as_json:
        name = printable(str(folder))
        typer.echo(f"Watch them in any player or browser. More: `offcam view {name}`, `offcam status`.")


def _record(folder: Path, endpoint: str, *, as_json: bool) -> int:
    """Have the agents record in a process of their own, and return its exit code.

    The agents are a process of their own, as in real life: the server never imports the client. Ctrl-C is for this
    process, which ends them.
    """
    with subprocess.Popen(
        [sys.executable, "-m", "offcam.demo", str(folder)],
        env={**os.environ, **QUIET, "OFFCAM_ADDR": endpoint},
        stdout=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
    ) as agents:
        try:
            assert agents.stdout is not None  # noqa: S101 - asked for above
            for line in agents.stdout:
                typer.echo(line, nl=False, err=as_json)
            return agents.wait()
        except BaseException:
            agents.terminate()
            raise


def _look(folder: Path, *, as_json: bool) -> dict[str, Any]:
    """Show a run and verify it; returns what was found, for JSON."""
    from offcamd.reports.verify import verify

    listing = latest(folder)
    if not as_json:
        show_listing(listing)
    with progress_bar("Verifying") as progress:
        verdict = verify(folder, progress=progress)
    files = [str(file) for file in sorted(folder.glob("*.mp4"))]
    if not as_json:
        show_verdict(verdict)
        for file in files:
            typer.echo(f"  {printable(file)}")
        typer.echo("")
    return {"folder": str(folder), "files": files, "episodes": listing.episodes, **verdict.as_dict()}
