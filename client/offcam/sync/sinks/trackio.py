"""trackio: a run of its own beside the user's, in the same project."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import trackio

from offcam.sync.sinks.remote import Lines

if TYPE_CHECKING:
    from offcam.sync.core import ClipSent


class Tracker(Lines):
    """Logs into a run that is known by its name."""

    key: ClassVar[str] = "run `hf auth login`, or set HF_TOKEN, to one that may write there"
    defaults: ClassVar[Mapping[str, str]] = {"project": "offcam", "name": "{name}"}
    options: ClassVar[Mapping[str, str]] = {
        "project": "by default the script's, or `offcam`",
        "name": "of the run, by default the folder's name",
        "group": "by default the script's run",
        "space_id": "a Hugging Face Space, by default none: trackio's own files",
        "server_url": "a server of trackio's",
    }

    def open(self, options: Mapping[str, str]) -> str:
        """Go on with the run of that name, or make it."""
        self._run = trackio.init(
            resume="allow", config=self.facts, embed=False, auto_log_gpu=False, auto_log_cpu=False, **options
        )
        self.has = self._run._next_step  # noqa: SLF001 - so many lines; there is no other way to know
        return f"project {self._run.project}, run {self._run.name}"

    def line(self, values: dict[str, Any], step: int) -> None:
        """Log one; a thread of trackio's stores it."""
        self._run.log(values, step=step)

    def video(self, clip: ClipSent) -> object:
        """As trackio's."""
        return trackio.Video(clip.path, caption=clip.caption, format="mp4")

    def end(self) -> None:
        """Wait until all is stored."""
        self._run.finish()
