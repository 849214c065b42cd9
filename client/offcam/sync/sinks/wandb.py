"""W&B: a run of its own beside the user's, in the same group. Nothing is written into the user's.

A second process that logs into the user's run takes steps from it, so that the user's own points at those are refused.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final

from offcam.sync.sinks.sink import Sink

if TYPE_CHECKING:
    from offcam.sync.core import Batch, ClipSent
    from offcam.sync.index import RunFacts

JOB_TYPE: Final = "offcam"

# The service that belongs to the user's process and ends with it: this one has its own.
os.environ.pop("WANDB_SERVICE", None)

import wandb  # noqa: E402 - not before that


class Tracker(Sink):
    """Logs into a run whose id comes of the recorded run's: each process that sends it goes on with the same.

    What is logged has steps of our own, counted from 0. So what W&B's server has already is known when it comes again.
    """

    late: ClassVar[bool] = True

    options: ClassVar[Mapping[str, str]] = {
        "project": "by default the user's run's, or W&B's own default",
        "entity": "likewise",
        "group": "by default the user's run's group, or its id",
        "name": "of the run, by default the folder's name",
        "dir": "where W&B keeps its files, by default as it does, by WANDB_DIR",
        "mode": "online, offline or disabled, by default as WANDB_MODE says",
    }

    def __init__(self, run: RunFacts, options: Mapping[str, str], saved: Mapping[str, Any]) -> None:
        super().__init__(run, options, saved)
        what = repr((run.created, run.session, sorted(options.items())))
        self._step = int(saved.get("step", 0))  # of the next line
        self._over = False
        self._run = wandb.init(
            id=f"offcam-{hashlib.sha256(what.encode()).hexdigest()[:12]}",
            job_type=JOB_TYPE,
            resume="allow",
            config={"folder": run.folder, "session": run.session, "env_ids": list(run.env_ids)},
            settings=wandb.Settings(silent=True, console="off", disable_git=True, x_disable_stats=True),
            **{"name": run.name, **options},
        )
        self._has = self._run.step  # so many lines, where it was resumed
        self._run.define_metric("offcam/episode")
        self._run.define_metric("offcam/*", step_metric="offcam/episode")
        self.where = self._run.url or str(self._run.settings.sync_dir)

    def send(self, batch: Batch) -> dict[str, Any]:
        """Log it: W&B's own process writes it down, and uploads it as it can."""
        for episode in batch.episodes:
            self._log({"offcam/episode": episode.number, **episode.values})
        if (clip := batch.clip) is not None:
            video = {} if self._step < self._has else {"offcam/video": _video(clip)}
            self._log({"offcam/episode": clip.number, **video})
        return {"step": self._step}

    def finish(self) -> None:
        """Wait until all is uploaded, or in offline mode written down."""
        self._over = True
        self._run.finish()
        wandb.teardown()  # its own process writes the end of the file as it leaves

    def close(self) -> None:
        """Leave it. What is not uploaded comes again."""
        if not self._over:
            self.finish()

    def _log(self, values: dict[str, Any]) -> None:
        if self._step >= self._has:
            self._run.log(values, step=self._step)
        self._step += 1


def _video(clip: ClipSent) -> wandb.Video:
    return wandb.Video(clip.path, caption=clip.caption, format="mp4")
