"""What a node's recorder sends to object storage: runs that its workers record, each by one process for all of them."""

from __future__ import annotations

import os
import threading
from typing import NamedTuple

from offcam.sync import Sync
from offcam_runs.sync.process import SyncRequest, with_options


class SentRun(NamedTuple):
    """A run that is to be sent.

    Attributes:
        folder: its absolute path on this node.
        to: the URL of its place.
        local_limit: most bytes of its folder, as ``20GB``; empty for any number.
    """

    folder: str
    to: str
    local_limit: str = ""


class NodeSending:
    """Processes that send runs, until `end`. Thread-safe.

    A process that has ended early, as by a kill, is started again by `look`; it goes on where the storage says that
    the last one came to.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._jobs: dict[SentRun, str] = {}  # of runs that are being recorded, the job that records
        self._processes: dict[SentRun, Sync] = {}
        self._ended: dict[SentRun, Sync] = {}  # of runs whose end was said

    def add(self, run: SentRun, job: str) -> None:
        """Send a run from now on. A job begins a session, for which there is another process."""
        with self._lock:
            if self._jobs.get(run) != job:
                self._end(run)
                self._jobs[run] = job

    def look(self) -> None:
        """Start what does not run and should. Call it every now and then."""
        with self._lock:
            for run in self._jobs:
                before = self._ended.get(run)
                if before is not None and before.running:
                    continue  # it sends the session before
                process = self._processes.get(run)
                if process is None or not process.running:
                    self._processes[run] = _started(run, follow=True)

    def end(self) -> None:
        """Nothing more is recorded: have all of it sent, and the processes end."""
        self.look()
        with self._lock:
            for run in list(self._jobs):
                self._end(run)

    def _end(self, run: SentRun) -> None:
        self._jobs.pop(run, None)
        process = self._processes.pop(run, None)
        if process is not None:
            process.end(0)
            self._ended[run] = process

    def left(self) -> dict[str, bool]:
        """After `end`: by its URL, whether a run's process still sends. One that has not sent all is started again."""
        with self._lock:
            for run, process in self._ended.items():
                if not process.running and not process.wait(0) and run not in self._jobs:
                    self._ended[run] = _started(run, follow=False)
            return {run.to: process.running for run, process in self._ended.items()}


def _started(run: SentRun, *, follow: bool) -> Sync:
    tracker, options = with_options(run.to, {"local_limit": run.local_limit or None})
    owner = os.getpid() if follow else 0
    return Sync(SyncRequest(folder=run.folder, tracker=tracker, options=options, follow=follow, owner=owner))
