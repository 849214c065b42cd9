"""The Hugging Face Hub: videos, episodes as CSV, and a card, in a folder of a repository.

A video that comes twice has the same path, and the package does not upload again what a repository has already.
"""

from __future__ import annotations

import csv
import io
import os
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final

from huggingface_hub import CommitOperationAdd, EvalResult, HfApi, ModelCardData
from huggingface_hub.utils import disable_progress_bars

from offcam.sync.sinks.remote import Remote
from offcam_proto.errors import ConfigError
from offcam_runs.run import HEADS, SCORE_EPISODES, cells, read_run

if TYPE_CHECKING:
    from offcam.sync.core import Batch
    from offcam_runs.run import Run

BETWEEN_SECONDS: Final = 120.0
"""Least pause between two commits, as the Hub takes only so many an hour, and each stays in the history."""

BETWEEN_TABLES_SECONDS: Final = 1200.0
"""Least pause between two commits of the table of episodes, as each has all of them."""

MOST_FILES: Final = 50
"""Most files in a commit."""

MOST_BYTES: Final = 256 << 20
"""Most bytes of a commit's videos, unless one is larger, as they have to be uploaded within ``timeout``."""

KINDS: Final = ("dataset", "model")


class Tracker(Remote):
    """Commits into one repository, into a folder with the run's name. All else in the repository is left alone.

    The videos of some minutes are one commit. A repository that is not there is made, private unless ``private=false``.
    """

    late: ClassVar[bool] = True
    key: ClassVar[str] = "run `hf auth login`, or set HF_TOKEN, to one that may write there"
    defaults: ClassVar[Mapping[str, str]] = {"repo": "", "type": KINDS[0], "folder": "{name}", "private": "true"}
    options: ClassVar[Mapping[str, str]] = {
        "repo": "the repository, as me/cartpole",
        "type": "dataset, which is the default, or model",
        "folder": "in the repository, by default the folder's name",
        "private": "true, which is the default, or false: of a repository that is made",
    }

    def open(self, options: Mapping[str, str]) -> str:
        """Make the repository if it is not there."""
        self._repo, self._kind, private = options["repo"], options["type"], options["private"]
        if not self._repo:
            raise ConfigError("'hub' needs a repository: give it as hub:repo=me/cartpole")
        if self._kind not in KINDS or private not in ("true", "false"):
            raise ConfigError(f"type is dataset or model and private is true or false, got {self._kind!r}, {private!r}")
        self._folder = options["folder"].strip("/")
        if not self._folder or {".", ".."} & set(self._folder.split("/")):
            raise ConfigError(f"{self._folder!r} is no folder in a repository")
        self._videos: dict[str, str] = {}  # by path in the repository, the files that wait for a commit
        self._bytes = 0  # size of these files
        self._newest = ""  # the last video's file
        self._episodes = False  # whether there are episodes that are not committed
        self._committed = self._tabled = time.monotonic()
        disable_progress_bars()
        self._api = HfApi(library_name="offcam")
        self._api.create_repo(self._repo, repo_type=self._kind, private=private == "true", exist_ok=True)
        beneath = "datasets/" if self._kind == "dataset" else ""
        return f"{self._api.endpoint}/{beneath}{self._repo}/tree/main/{self._folder}"

    def send(self, batch: Batch) -> dict[str, Any]:
        """Take a batch, and commit it with others once that is due."""
        self._episodes |= bool(batch.episodes)
        if (clip := batch.clip) is not None:
            self._videos[f"{self._folder}/{clip.name}.mp4"] = clip.path
            self._bytes += os.path.getsize(clip.path)
            self._newest = clip.path
        now = time.monotonic()
        full = len(self._videos) >= MOST_FILES or self._bytes >= MOST_BYTES
        if full or now - self._committed >= BETWEEN_SECONDS:
            self._commit(table=now - self._tabled >= BETWEEN_TABLES_SECONDS)
        return {}

    def finish(self) -> None:
        """Commit what is left, and what the repository has of its own."""
        self._commit(table=True, end=True)

    def _commit(self, *, table: bool, end: bool = False) -> None:
        # without videos that their rule has let go meanwhile
        files: dict[str, str | bytes] = {name: path for name, path in self._videos.items() if os.path.exists(path)}
        if table and self._episodes:
            files |= self._table()
        if end if self._kind == "model" else table and self._episodes:
            files |= self._own()
        if files:
            operations = [CommitOperationAdd(path_in_repo=name, path_or_fileobj=file) for name, file in files.items()]
            self._api.create_commit(
                self._repo, operations, commit_message=f"{self.run.name}, recorded by offcam", repo_type=self._kind
            )
        self._committed = time.monotonic()
        self._videos, self._bytes = {}, 0
        if table:
            self._episodes, self._tabled = False, self._committed

    def _table(self) -> dict[str, str | bytes]:
        """Files by path: the table of episodes, and the run's card."""
        run = read_run(self.run.folder, self.run.session)
        text = io.StringIO()
        columns = run.columns(label=self.run.name)
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
        rows = "\n".join(f"| {head} | {_plain(cell)} |" for head, cell in zip(HEADS[1:], cells(run)[1:], strict=True))
        name = _plain(self.run.name)
        card = (
            f"# {name}\n\n| | |\n|---|---|\n{rows}\n\n`episodes.csv` has an episode a row, as `offcam export` does.\n"
        )
        return {f"{self._folder}/episodes.csv": text.getvalue().encode(), f"{self._folder}/README.md": card.encode()}

    def _own(self) -> dict[str, str | bytes]:
        """The repository's own card, if it has none: a model's with its return, and beside it the newest video."""
        if self._api.file_exists(self._repo, "README.md", repo_type=self._kind):
            return {}
        data = ModelCardData(tags=["reinforcement-learning", "offcam"])
        files: dict[str, str | bytes] = {}
        if self._kind == "model":
            data.model_name = self._repo.rpartition("/")[2]
            data.eval_results = _results(read_run(self.run.folder, self.run.session))
            if os.path.exists(self._newest):
                files["replay.mp4"] = self._newest  # the name by which the Hub shows it
        return {**files, "README.md": f"---\n{data.to_yaml()}\n---\n{_CARD}".encode()}


def _results(run: Run) -> list[EvalResult] | None:
    """The return that the Hub ranks a model by; None where there is none, or it would be of several envs."""
    recent = run.episodes[-SCORE_EPISODES:].summary(intervals=False)
    if not recent.count or len(run.env_ids) != 1:
        return None
    (env_id,) = run.env_ids
    return [
        EvalResult(
            task_type="reinforcement-learning",
            dataset_type=env_id,
            dataset_name=env_id,
            metric_type="mean_reward",
            metric_name=f"mean return of the last {recent.count} episodes",
            metric_value=f"{recent.mean:.2f} +/- {recent.std:.2f}",
        )
    ]


_CARD: Final = """
# Recorded agents

Each folder is a run: its videos, its episodes, and a card with its numbers.
"""


def _plain(text: str) -> str:
    """Text in which nothing is taken for Markdown."""
    return "".join(f"\\{char}" if char in "\\`*_{}[]<>()#+!|~&" else char for char in text)
