"""A tracker of one's own: a sink, which a package adds by an entry point. It keeps a CSV file and the videos.

The package names it in its ``pyproject.toml``, and is installed where trainings run::

    [project.entry-points."offcam.sinks"]
    csv = "own_tracker:Csv"

Then it is a tracker as all others are: ``offcam.record(env, "runs/cartpole", sync="csv:folder=sent")``, or::

    offcam sync runs/cartpole --to csv:folder=sent
"""

import csv
import os
import shutil

from offcam.sync.sinks.sink import Sink


class Csv(Sink):
    """A line for each episode, and beside these the videos."""

    options = {"folder": "where to, by default `csv` in the run folder"}
    paths = ("folder",)

    def __init__(self, run, options, saved):
        super().__init__(run, options, saved)
        self.where = os.path.join(run.folder, options.get("folder", "csv"))
        self.file = os.path.join(self.where, "episodes.csv")
        os.makedirs(self.where, exist_ok=True)
        with open(self.file, "a") as file:
            file.truncate(saved.get("bytes", 0))  # a batch that was not noted as sent comes again

    def send(self, batch):
        with open(self.file, "a", newline="") as file:
            csv.writer(file).writerows((each.number, each.return_, each.length) for each in batch.episodes)
            file.flush()
            os.fsync(file.fileno())
            size = file.tell()
        if batch.clip is not None:
            shutil.copy(batch.clip.path, self.where)
        return {"bytes": size}  # noted together with how far the run was sent
