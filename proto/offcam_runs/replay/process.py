"""Starting the process that replays episodes: in the interpreter that the env was made in, and no other."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from typing import TYPE_CHECKING

from offcam_proto.errors import NotReplayable
from offcam_runs.idle import give_way

if TYPE_CHECKING:
    from offcam_runs.replay.recipe import Recipe


def start(recipe: Recipe, environ: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start it. The process takes lines of `requests.Request` on stdin, answers each on stdout, and leaves at the end.

    Args:
        recipe: of the env. The caller has made sure that it is the user's own: what it names is run.
        environ: the caller's environment, by which the process finds the recorder daemon.

    Raises:
        NotReplayable: the recipe's interpreter or working directory does not exist.
    """
    environment = {**environ, **recipe.variables, "PYTHONPATH": os.pathsep.join(recipe.path), "OFFCAM": "on"}
    try:
        process = subprocess.Popen(
            [recipe.executable, "-m", "offcam.replay"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=recipe.folder,
            env=environment,
            start_new_session=True,  # Ctrl-C is for the caller; the process leaves once nobody asks any more
        )
    except OSError as error:
        raise NotReplayable(
            f"{recipe.executable} cannot be started in {recipe.folder}, where the env was made: {error.strerror}"
        ) from error
    give_way(process.pid)
    return process
