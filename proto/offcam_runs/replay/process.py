"""Starting the process in which episodes happen again: the interpreter that the env was made in, and nothing else."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from typing import TYPE_CHECKING

from offcam_proto.errors import NotReplayable

if TYPE_CHECKING:
    from offcam_runs.replay.recipe import Recipe


def start(recipe: Recipe, environ: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start it. It takes lines of `requests.Request` on stdin, answers each on stdout, and leaves at the end of stdin.

    Args:
        recipe: of the env. Whoever calls this has made sure whose it is.
        environ: the environment of whoever calls, by which the recorder daemon is found.

    Raises:
        NotReplayable: that interpreter or its working directory is not there.
    """
    environment = {**environ, **recipe.variables, "PYTHONPATH": os.pathsep.join(recipe.path), "OFFCAM": "on"}
    try:
        return subprocess.Popen(
            [recipe.executable, "-m", "offcam.replay"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=recipe.folder,
            env=environment,
            start_new_session=True,  # Ctrl-C is for whoever asked; it leaves once nobody asks any more
        )
    except OSError as error:
        raise NotReplayable(
            f"{recipe.executable} cannot be started in {recipe.folder}, where the env was made: {error.strerror}"
        ) from error
