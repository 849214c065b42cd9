"""W&B: a run of its own beside the user's, in the same group. Nothing is written into the user's.

A second process that logs into the user's run would use up steps, and W&B would refuse the user's own points at those.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final

from offcam.sync.sinks.remote import Lines

if TYPE_CHECKING:
    from offcam.sync.core import ClipSent

JOB_TYPE: Final = "offcam"

# This variable names W&B's service of the user's process, which ends with that; this process needs one of its own.
os.environ.pop("WANDB_SERVICE", None)

import wandb  # noqa: E402 - after the variable is removed


class Tracker(Lines):
    """Logs into a run whose id is made from the recorded run's."""

    key: ClassVar[str] = "run `wandb login`, or set WANDB_API_KEY, to one that may write there"
    defaults: ClassVar[Mapping[str, str]] = {"name": "{name}"}
    options: ClassVar[Mapping[str, str]] = {
        "project": "by default the user's run's, or W&B's own default",
        "entity": "likewise",
        "group": "by default the user's run's group, or its id",
        "name": "of the run, by default the folder's name",
        "dir": "where W&B keeps its files, by default as it does, by WANDB_DIR",
        "mode": "online, offline or disabled, by default as WANDB_MODE says",
    }

    def open(self, options: Mapping[str, str]) -> str:
        """Go on with the run of that id, or make it."""
        what = repr((self.run.created, self.run.session, sorted(self.given.items())))
        self._run = wandb.init(
            id=f"offcam-{hashlib.sha256(what.encode()).hexdigest()[:12]}",
            job_type=JOB_TYPE,
            resume="allow",
            config=self.facts,
            settings=wandb.Settings(silent=True, console="off", disable_git=True, x_disable_stats=True),
            **options,
        )
        self.has = self._run.step  # the number of lines, if the run was resumed
        self._run.define_metric("offcam/episode")
        self._run.define_metric("offcam/*", step_metric="offcam/episode")
        return self._run.url or str(self._run.settings.sync_dir)

    def line(self, values: dict[str, Any], step: int) -> None:
        """Log one line: W&B's own process writes it to disk, and uploads it when it can."""
        self._run.log(values, step=step)

    def video(self, clip: ClipSent) -> object:
        """The video as W&B's."""
        return wandb.Video(clip.path, caption=clip.caption, format="mp4")

    def end(self) -> None:
        """Wait until all is uploaded, or in offline mode written down."""
        self._run.finish()
        wandb.teardown()  # W&B's own process writes the end of the file when it ends
