"""A network that is away for a day while the training goes on. Waiting is a clock's that tells it has passed."""

from __future__ import annotations

import errno
import os
from itertools import pairwise
from pathlib import Path

import pytest

from object_runs import grow
from offcam.sync import worker
from offcam.sync.core import FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS
from offcam.sync.sinks import memory
from offcam_runs.sync.process import SyncRequest
from offcam_runs.sync.state import read_all

HOUR, DAY = 3600.0, 86_400.0
FIRST, LATER = 6, 4


class Clock:
    """The worker's: who sleeps finds that the time is over, and that meanwhile happened what was due."""

    def __init__(self):
        self.now = 1.8e9
        self.due = []

    def time(self):
        return self.now

    monotonic = time

    def sleep(self, seconds):
        self.now += seconds
        for entry in [entry for entry in self.due if entry[0] <= self.now]:
            self.due.remove(entry)
            entry[1]()


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(worker, "time", clock)
    return clock


@pytest.fixture
def tries(monkeypatch, clock):
    """When the tracker was asked while it was away, which is for a day."""
    monkeypatch.setattr(memory.Tracker, "sent", [])
    asked, send, back = [], memory.Tracker.send, clock.now + DAY

    def away(self, batch):
        if clock.now < back:
            asked.append(clock.now)
            raise OSError(errno.ENETUNREACH, os.strerror(errno.ENETUNREACH))
        return send(self, batch)

    monkeypatch.setattr(memory.Tracker, "send", away)
    return asked


def state(run):
    (found,) = read_all(Path(run))
    return found.state


def sent():
    episodes = [each.number for batch in memory.Tracker.sent for each in batch.episodes]
    return episodes, [batch.clip.clip for batch in memory.Tracker.sent if batch.clip]


@pytest.mark.parametrize("late", [False, True], ids=["stored at once", "stored in the end"])
def test_all_of_it_is_sent_once_and_meanwhile_it_is_said(tmp_path, video, clock, tries, monkeypatch, late):
    monkeypatch.setattr(memory.Tracker, "late", late)
    run = grow(tmp_path / "run", 0, FIRST, video, over=False)
    seen = []
    began = clock.now
    clock.due = [
        (began + 6 * HOUR, lambda: seen.append(state(run))),
        (began + 7 * HOUR, lambda: grow(run, FIRST, LATER, video)),
        (began + 18 * HOUR, lambda: seen.append(state(run))),
    ]
    assert worker.SyncWorker(SyncRequest(folder=str(run), tracker="memory", follow=True)).run()
    assert sent() == (list(range(FIRST + LATER)), list(range(FIRST + LATER)))
    assert [(each.behind_episodes, each.behind_clips) for each in seen] == [(FIRST,) * 2, (FIRST + LATER,) * 2]
    assert all("Network is unreachable" in each.error for each in seen)
    assert 0 < seen[0].failures < seen[1].failures < len(tries)
    found = state(run)
    assert (found.failures, found.error, found.behind_since) == (len(tries), "", None)
    assert (found.sent_episodes, found.sent_clips, found.over) == (FIRST + LATER, FIRST + LATER, True)


def test_it_is_asked_less_and_less_often_and_soon_after_it_is_back(tmp_path, video, clock, tries):
    began = clock.now
    run = grow(tmp_path / "run", 0, 1, video)
    assert worker.SyncWorker(SyncRequest(folder=str(run), tracker="memory")).run()
    waits = [later - earlier for earlier, later in pairwise(tries)]
    for number, wait in enumerate(waits):
        longest = min(FIRST_WAIT_SECONDS * 2**number, LONGEST_WAIT_SECONDS)
        assert longest / 2 <= wait <= longest + 1e-3
    assert len(set(waits[10:])) > 100, "many that failed together do not return together"
    assert clock.now - began <= DAY + LONGEST_WAIT_SECONDS
    assert sent() == ([0], [0])


def test_a_week_after_the_end_it_is_given_up_and_the_next_one_sends_all(tmp_path, video, clock, tries, monkeypatch):
    def gone(*_):
        raise OSError(errno.ENETUNREACH, os.strerror(errno.ENETUNREACH))

    run, began = grow(tmp_path / "run", 0, FIRST, video), clock.now
    with monkeypatch.context() as patch:
        patch.setattr(memory.Tracker, "send", gone)
        sender = worker.SyncWorker(SyncRequest(folder=str(run), tracker="memory", follow=True, owner=os.getpid()))
        sender._ended = began  # as after `END`
        assert not sender.run()
    assert worker.AFTER_END_SECONDS < clock.now - began <= worker.AFTER_END_SECONDS + LONGEST_WAIT_SECONDS + 1
    assert (state(run).behind_episodes, state(run).behind_clips, state(run).over) == (FIRST, FIRST, False)
    assert worker.SyncWorker(SyncRequest(folder=str(run), tracker="memory")).run()
    assert sent() == (list(range(FIRST)), list(range(FIRST)))
