"""MLflow: metrics and artifacts of the user's run, or of one of its own.

Metrics have the records' own times and steps, by which MLflow's store recognises those that come twice.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final

from mlflow.entities import Metric, Run
from mlflow.tracking import MlflowClient

from offcam.sync.sinks.remote import Remote

if TYPE_CHECKING:
    from collections.abc import Iterator

    from offcam.sync.core import Batch

ARTIFACTS: Final = "offcam"
"""Folder of videos among the run's artifacts."""

MOST_METRICS: Final = 1000
"""Most metrics that MLflow takes in one call."""

_MARK: Final = "offcam.run"
_NOT_IN_NAMES: Final = re.compile(r"[^\w\-. /]")


class Tracker(Remote):
    """Logs into one run."""

    key: ClassVar[str] = "set MLFLOW_TRACKING_TOKEN, or _USERNAME and _PASSWORD, to one that may write there"
    defaults: ClassVar[Mapping[str, str]] = {"experiment": "Default", "run_name": "{name}"}
    options: ClassVar[Mapping[str, str]] = {
        "tracking_uri": "by default MLFLOW_TRACKING_URI, or MLflow's own",
        "experiment": "of a run that is made, by default MLflow's own",
        "run_id": "a run that is there, by default the script's active one; else one is made",
        "run_name": "of a run that is made, by default the folder's name",
    }

    def open(self, options: Mapping[str, str]) -> str:
        """Take the run that is given, or make one."""
        self._client = MlflowClient(tracking_uri=options.get("tracking_uri"))
        self._run_id = options.get("run_id") or self.saved.get("run_id") or self._own(options).info.run_id
        return f"{self._client.tracking_uri}, run {self._run_id}"

    def send(self, batch: Batch) -> dict[str, Any]:
        """Log a batch, which is stored when this returns."""
        metrics = list(_metrics(batch))
        for begin in range(0, len(metrics), MOST_METRICS):
            self._client.log_batch(self._run_id, metrics=metrics[begin : begin + MOST_METRICS], synchronous=True)
        if batch.clip is not None:
            self._client.log_artifact(self._run_id, batch.clip.path, ARTIFACTS)
        return {"run_id": self._run_id}

    def finish(self) -> None:
        """End the run if this sink made it."""
        if "run_id" not in self.given:
            self._client.set_terminated(self._run_id)

    def _own(self, options: Mapping[str, str]) -> Run:
        """The MLflow run that was made for the recorded run, or is made now."""
        name = options["experiment"]
        experiment = self._client.get_experiment_by_name(name)
        number = experiment.experiment_id if experiment else self._client.create_experiment(name)
        mark = f"{self.run.created}-{self.run.session}"
        found = self._client.search_runs([number], f"tags.`{_MARK}` = '{mark}'", max_results=1)
        if found:
            return found[0]
        tags = {_MARK: mark, "offcam.folder": self.run.folder}
        began = int(self.run.began * 1000)
        return self._client.create_run(number, began, tags, options["run_name"])


def _metrics(batch: Batch) -> Iterator[Metric]:
    for episode in batch.episodes:
        time = int(episode.ended * 1000)
        for name, value in episode.values.items():
            yield Metric(_NOT_IN_NAMES.sub("_", name), value, time, episode.number)
