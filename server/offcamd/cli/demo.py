"""``offcam demo``: the main job in one command, from an agent to a verified video."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from offcam_proto.run_format import INDEX_NAME
from offcamd.cli.folders import show_folder

FolderArgument = Annotated[Path, typer.Argument(help="Where the recordings go.")]


def demo(folder: FolderArgument = Path("offcam-demo")) -> None:
    """Record CartPole and LunarLander agents, list their episodes and videos, and verify them."""
    from offcamd.config import load  # noqa: PLC0415 - verbs import when they run
    from offcamd.launch import DEFAULT_TIMEOUT_SECONDS, start_detached  # noqa: PLC0415 - as above
    from offcamd.verify import verify  # noqa: PLC0415 - as above

    info = start_detached(load({}, embedded=True), DEFAULT_TIMEOUT_SECONDS)
    typer.echo(f"The recorder daemon runs (pid {info.pid}); its statistics are at {info.http or 'no HTTP address'}.")
    folder = folder / time.strftime("%Y%m%dT%H%M%S")  # each run its own, so that its table shows it alone
    began = time.monotonic()
    # The agents are a process of their own, as in real life: the daemon's side never imports the client's.
    agents = subprocess.run(
        [sys.executable, "-m", "offcam.demo", str(folder)],
        check=False,
        env={**os.environ, "OFFCAM_ADDR": info.endpoint},
    )
    if agents.returncode:
        typer.echo("offcam: the agents failed, see above; `offcam doctor` may know why.", err=True)
        raise typer.Exit(1)
    typer.echo(f"Recorded in {time.monotonic() - began:.1f} s.\n")
    problems = 0
    for run in sorted(path.parent for path in folder.glob(f"*/{INDEX_NAME}")):
        show_folder(run)
        verdict = verify(run)
        for problem in verdict.problems:
            typer.echo(f"{problem.kind}: {problem.file}: {problem.text}", err=True)
        problems += len(verdict.problems)
        found = "all there and playable" if not verdict.problems else f"{len(verdict.problems)} problems"
        typer.echo(f"Verified {verdict.clips_checked} videos, {verdict.frames_checked:,} frames: {found}.")
        for file in sorted(run.glob("*.mp4")):
            typer.echo(f"  {file}")
        typer.echo("")
    if problems:
        raise typer.Exit(1)
    typer.echo(f"Watch them in any player or browser. More: `offcam ls {folder}/cartpole`, `offcam status`.")
