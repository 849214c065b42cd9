"""W&B: a run of its own beside the user's, in the same group. Nothing is written into the user's.

A second process that logs into the user's run would use up steps, and W&B would refuse the user's own points at those.

What is logged goes to W&B's own process, which uploads it, and which gives up, and says so to nobody, what its backend
refuses or is too long away for. So the backend is asked at the end what it has.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any, ClassVar, Final

from offcam.sync.sinks.remote import Lines
from offcam_proto.errors import ConfigError

if TYPE_CHECKING:
    from offcam.sync.core import Batch, ClipSent

JOB_TYPE: Final = "offcam"

FINISH_SECONDS: Final = 240.0
"""How many seconds W&B's process may take to upload what is left, before the run is let go of and tried again."""

FILES_A_PAGE: Final = 1000

_REFUSED: Final = re.compile(r"returned error (401|403)\b")

# This variable names W&B's service of the user's process, which ends with that; this process needs one of its own.
os.environ.pop("WANDB_SERVICE", None)
os.environ["WANDB_SILENT"] = "true"  # what matters of its own lines is in its errors

import wandb  # noqa: E402 - after the variables are right
from wandb.errors import AuthenticationError  # noqa: E402 - likewise


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
        """Go on with the run of that id, or make it.

        Raises:
            ConfigError: W&B has no key here, or takes no such option.
            wandb.Error: W&B cannot be reached, or refuses.
            LoginRefused: it refuses the key.
        """
        self._videos: dict[int, str] = {}  # the file of each, by its line's step
        what = repr((self.run.created, self.run.session, sorted(self.given.items())))
        settings = wandb.Settings(
            silent=True,
            console="off",
            disable_git=True,
            x_disable_stats=True,
            finish_timeout=FINISH_SECONDS,
            finish_timeout_raises=True,
        )
        with ExitStack() as failed:
            failed.callback(_leave)  # W&B's process keeps the id of a run that did not begin
            try:
                self._run = wandb.init(
                    id=f"offcam-{hashlib.sha256(what.encode()).hexdigest()[:12]}",
                    job_type=JOB_TYPE,
                    resume="allow",
                    config=self.facts,
                    settings=settings,
                    **options,
                )
            except (wandb.UsageError, AuthenticationError) as error:  # of this process, as that there is no key
                raise ConfigError(str(error)) from error
            except wandb.Error as error:
                if found := _REFUSED.search(str(error)):
                    raise LoginRefused(str(error), int(found[1])) from error
                raise
            failed.pop_all()
        self.has = self._run.starting_step  # the number of lines, if the run was resumed
        self._run.define_metric("offcam/episode")
        self._run.define_metric("offcam/*", step_metric="offcam/episode")
        return self._run.url or str(self._run.settings.sync_dir)

    def send(self, batch: Batch) -> dict[str, Any]:
        """Log a batch, and note which video has to be there in the end, even where its line is there already."""
        if batch.clip is not None:
            self._videos[self._step] = batch.clip.path
        return super().send(batch)

    def line(self, values: dict[str, Any], step: int) -> None:
        """Log one line: W&B's own process writes it to disk, and uploads it when it can."""
        self._run.log(values, step=step, commit=True)  # so that a video's name has this step, whatever was before

    def video(self, clip: ClipSent) -> object:
        """The video as W&B's."""
        return wandb.Video(clip.path, caption=clip.caption, format="mp4")

    def end(self) -> None:
        """Wait until all is uploaded, or in offline mode written down.

        Raises:
            LinesMissing: W&B's backend has not all lines.
            wandb.Error: it cannot be reached, or refuses.
            TimeoutError: it took too long.
        """
        self._run.finish()
        if not (self._run.offline or self._run.disabled):
            self._make_sure()
        _leave()  # W&B's own process writes the end of the file when it ends

    def close(self) -> None:
        """Let go of the run, and end W&B's own process: another one can go on with the run."""
        try:
            super().close()
        finally:
            _leave()

    def _make_sure(self) -> None:
        """Upload each video that the backend has not."""
        run = wandb.Api().run(self._run.path)
        if run.historyLineCount < self._step and run.lastHistoryStep + 1 < self._step:  # some may have gone elsewhere
            raise LinesMissing(f"W&B has {run.historyLineCount} of {self._step} lines")
        files = run.files(pattern="media/%", per_page=FILES_A_PAGE)
        there = {file.name.rpartition("_")[0]: file.size for file in files}
        for step, path in self._videos.items():
            name = f"media/videos/offcam/video_{step}"  # as W&B calls it, and behind that its digest
            if os.path.exists(path) and there.get(name) != os.path.getsize(path):
                _upload(run, path, f"{name}_{_digest(path)[:20]}.mp4")


class LoginRefused(OSError):
    """W&B refused the key, of which its own error has the status in its text alone."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status_code = status


class LinesMissing(OSError):
    """W&B's backend has not all that its own process was given."""


def _leave() -> None:
    """Have W&B's own process end, which uploads until then."""
    with suppress(SystemExit):  # where that process was killed, W&B would end this one, too
        wandb.teardown()


def _upload(run: Any, path: str, name: str) -> None:  # noqa: ANN401 - W&B's
    """Upload a file by a name that has folders: W&B takes it from where the file lies."""
    with tempfile.TemporaryDirectory() as folder:
        copy = os.path.join(folder, name)
        os.makedirs(os.path.dirname(copy))
        shutil.copyfile(path, copy)
        run.upload_file(copy, root=folder)


def _digest(path: str) -> str:
    """The SHA-256 of a file."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while part := file.read(1 << 20):
            digest.update(part)
    return digest.hexdigest()
