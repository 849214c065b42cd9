"""A tracker of another package: it keeps what it is sent in a file, and does as another file says."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from waiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path

SINK = """
import json, os, time, urllib.error
from offcam.sync.sinks.sink import Sink

class Log(Sink):
    options = {"to": "a folder"}

    def __init__(self, run, options, saved):
        super().__init__(run, options, saved)
        self.where = options["to"]
        self._note({"made": saved, "pid": os.getpid(), "nice": os.nice(0), "name": run.name})

    def send(self, batch):
        mood = open(os.path.join(self.where, "mood")).read()
        if mood != "well":
            self._note({mood: os.getpid()})
        while mood == "hang":
            time.sleep(0.01)
        if mood == "raise":
            raise ValueError("it is not\\nin the mood")
        if mood == "500":
            raise urllib.error.HTTPError("http://tracker", 500, "Internal Server Error", None, None)
        if mood == "die":
            os.kill(os.getpid(), 9)
        for episode in batch.episodes:
            self._note({"episode": episode.number, "return": episode.return_})
        if batch.clip:
            self._note({"clip": os.path.basename(batch.clip.path), "number": batch.clip.number,
                        "bytes": os.path.getsize(batch.clip.path)})
        return {"batches": self.saved.get("batches", 0) + 1}

    def _note(self, what):
        with open(os.path.join(self.where, "log"), "a") as log:
            log.write(json.dumps(what) + "\\n")
"""


def plug(package: Path) -> None:
    """Make a folder that has the package, for ``sys.path``."""
    info = package / "plugged-1.dist-info"
    info.mkdir(parents=True)
    (package / "plugged.py").write_text(SINK)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: plugged\nVersion: 1\n")
    (info / "entry_points.txt").write_text(
        "[offcam.sinks]\nlog = plugged:Log\nnone = plugged:json\ngone = plugged:Gone\n"
    )


@dataclass
class MoodyTracker:
    """The tracker ``log``.

    Attributes:
        folder: of its files.
    """

    folder: Path

    def __post_init__(self) -> None:
        self.folder.mkdir()
        self.be("well")

    @property
    def to(self) -> str:
        return f"log:to={self.folder}"

    def be(self, mood: str) -> None:
        """Be ``well``, or ``hang``, ``raise``, ``die``, or answer ``500``, from the next batch on."""
        new = self.folder / "mood.new"
        new.write_text(mood)
        new.replace(self.folder / "mood")

    def heard(self, what: str) -> list[Any]:
        """What it was told under a name, in order."""
        try:
            lines = (self.folder / "log").read_text().splitlines()
        except FileNotFoundError:
            return []
        return [found[what] for found in map(json.loads, lines) if what in found]

    def wait(self, what: str, count: int) -> list[Any]:
        """Wait until it was told so many things under a name."""
        return wait_until(
            lambda: len(found := self.heard(what)) >= count and found, f"{count} x {what}", lambda: self.heard(what)
        )

    def kill(self) -> None:
        """Kill the processes that send to it and are left."""
        for pid in self.heard("pid"):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
