"""trackio: a run of its own beside the user's, in the same project, or with ``resume=must`` the user's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import trackio
from trackio.sqlite_storage import SQLiteStorage

from offcam.sync.sinks.remote import NUMBER, Lines
from offcam_proto.errors import ConfigError

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
        "resume": "`must`: a run that is there, by its name, as the script's own; by default one is made",
        "space_id": "a Hugging Face Space, by default none: trackio's own files",
        "server_url": "a server of trackio's",
    }

    def open(self, options: Mapping[str, str]) -> str:
        """Go on with the run of that name, or make it; or join the user's."""
        if self._joins(options):
            rest = {name: text for name, text in options.items() if name in ("project", "name")}
            self._init(rest, "must")
            self._run.config = {}  # otherwise the first line would replace the config of the user's run
            own = SQLiteStorage.get_metric_values(self._run.project, self._run.name, NUMBER, run_id=self._run.id)
            self.has = len(own)
        else:
            rest = {name: text for name, text in options.items() if name != "resume"}
            self._init({"config": self.facts, **rest}, "allow")
            self.has = self._run._next_step  # noqa: SLF001 - the number of lines, which nothing public tells
        return f"project {self._run.project}, run {self._run.name}"

    def _init(self, options: Mapping[str, Any], resume: str) -> None:
        self._run = trackio.init(resume=resume, embed=False, auto_log_gpu=False, auto_log_cpu=False, **options)

    def _joins(self, options: Mapping[str, str]) -> bool:
        """Whether to log into a run that others write into. Raises ConfigError where that cannot be."""
        resume = options.get("resume", "allow")
        if resume not in ("allow", "must"):
            raise ConfigError(f"resume is `must` or `allow`, not {resume!r}")
        if resume == "must" and "name" not in self.given:
            raise ConfigError("resume=must goes on with a run that is there: say which one, with name=")
        if resume == "must" and (where := options.get("space_id") or options.get("server_url")):
            raise ConfigError(f"resume=must is for trackio's own files, not for {where}: leave it out there")
        return resume == "must"

    def line(self, values: dict[str, Any], step: int) -> None:
        """Log one line; a thread of trackio's stores it."""
        self._run.log(values, step=step)

    def video(self, clip: ClipSent) -> object:
        """The video as trackio's."""
        return trackio.Video(clip.path, caption=clip.caption, format="mp4")

    def end(self) -> None:
        """Wait until all is stored."""
        self._run.finish()
