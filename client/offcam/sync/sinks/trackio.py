"""trackio: a run of its own beside the user's, in the same project."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import trackio

from offcam.sync.sinks.sink import Sink

if TYPE_CHECKING:
    from offcam.sync.core import Batch
    from offcam.sync.index import RunFacts


class Tracker(Sink):
    """Logs into a run that is known by its name: each process that sends a recorded run goes on with the same.

    What is logged has steps of our own, counted from 0. So what trackio has already is known when it comes again.
    """

    late: ClassVar[bool] = True
    options: ClassVar[Mapping[str, str]] = {
        "project": "by default the script's, or `offcam`",
        "name": "of the run, by default the folder's name",
        "group": "by default the script's run",
        "space_id": "a Hugging Face Space, by default none: trackio's own files",
        "server_url": "a server of trackio's",
    }

    def __init__(self, run: RunFacts, options: Mapping[str, str], saved: Mapping[str, Any]) -> None:
        super().__init__(run, options, saved)
        self._step = int(saved.get("step", 0))  # of the next line
        self._over = False
        self._run = trackio.init(
            resume="allow",
            config={"folder": run.folder, "session": run.session, "env_ids": list(run.env_ids)},
            embed=False,
            auto_log_gpu=False,
            auto_log_cpu=False,
            **{"project": "offcam", "name": run.name, **options},
        )
        self._has = self._run._next_step  # noqa: SLF001 - so many lines; there is no other way to know
        self.where = f"project {self._run.project}, run {self._run.name}"

    def send(self, batch: Batch) -> dict[str, Any]:
        """Log it; a thread of trackio's stores it."""
        for episode in batch.episodes:
            self._log({"offcam/episode": episode.number, **episode.values})
        if (clip := batch.clip) is not None:
            new = self._step >= self._has
            video = {"offcam/video": trackio.Video(clip.path, caption=clip.caption, format="mp4")} if new else {}
            self._log({"offcam/episode": clip.number, **video})
        return {"step": self._step}

    def finish(self) -> None:
        """Wait until all is stored."""
        self._over = True
        self._run.finish()

    def close(self) -> None:
        """Leave it. What is not stored comes again."""
        if not self._over:
            self._run.finish()

    def _log(self, values: dict[str, Any]) -> None:
        if self._step >= self._has:
            self._run.log(values, step=self._step)
        self._step += 1
