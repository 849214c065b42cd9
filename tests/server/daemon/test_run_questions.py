"""What a daemon answers that cannot look how far a run came: that it cannot, and no number that might be wrong."""

from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from offcam_proto.resuming import DAEMON, RunRequest
from offcam_runs.database import IndexLocked
from offcamd.daemon.run_questions import RunQuestions
from offcamd.process.health import Health
from offcamd.store import run_reader
from offcamd.store.run_reader import RunRead, RunReader
from offcamd.store.tasks import Passed
from waiting import HANG_SECONDS, wait_until


class Session(SimpleNamespace):
    """Takes down what a peer is told."""

    def __init__(self):
        super().__init__(told=[])

    def run(self, token, **found):
        self.told.append((token, found))

    def no_run(self, token, code="", text=""):
        self.told.append((token, code, text))


@pytest.fixture
def scene():
    tasks, spoken = [], []
    reader = SimpleNamespace(read=lambda *_: False)
    here = []
    storage = SimpleNamespace(put=tasks.append)
    questions = RunQuestions(Path("/srv"), storage, reader, spoken.append, here.__contains__)
    peer = SimpleNamespace(user="", session=Session())
    here.append(peer)
    questions.ask(peer, RunRequest(7, "/r", "v"))
    (task,) = tasks
    return SimpleNamespace(questions=questions, question=task.reply, told=peer.session.told, spoken=spoken, here=here)


@pytest.mark.parametrize("event", [{"gone": frozenset({"/r"})}, {"stuck": frozenset({"/r"})}])
def test_what_waits_for_an_index_is_not_left_out_unsaid(scene, event):
    scene.questions.passed(scene.question, Passed(scene.question, **event))
    ((token, code, text),) = scene.told
    assert (token, code) == (7, DAEMON)
    assert "the index of /r cannot be written" in text
    assert len(scene.spoken) == 1


def test_who_has_left_is_told_nothing(scene):
    """Its routing id may be another's by now."""
    scene.here.clear()
    scene.questions.passed(scene.question, Passed(scene.question))
    scene.questions.answered(scene.question, RunRead(scene.question, None))
    assert scene.told == scene.spoken == []


def test_too_many_questions_are_said_to_be(scene):
    scene.questions.passed(scene.question, Passed(scene.question))
    assert scene.told == [(7, DAEMON, "too many clients ask the daemon at the same time: start this one again later")]


def test_an_index_that_is_locked_for_now_is_not_at_fault(scene):
    scene.questions.answered(scene.question, RunRead(scene.question, None, IndexLocked("for now")))
    assert scene.told == [(7, DAEMON, "for now")]


def test_the_reader_goes_on_whatever_it_meets(monkeypatch):
    heard, health = [], Health()
    reader = RunReader(heard.append, health)

    def broken(folder, _):
        if folder == "/bad":
            raise AssertionError("unforeseen")

    monkeypatch.setattr(run_reader, "run_before", broken)
    assert reader.read("/bad", "v", 1)
    assert reader.read("/good", "v", 2)
    wait_until(lambda: len(heard) == 2, "both are answered", lambda: heard)
    assert "unforeseen" in str(heard[0].error)
    assert heard[1] == RunRead(2, None)
    assert health.unexpected_errors == {"store": 1}
    assert health.problems == {}


def test_no_more_questions_wait_than_may(monkeypatch):
    gate, began, heard = threading.Event(), threading.Event(), []

    def slow(*_):
        began.set()
        assert gate.wait(HANG_SECONDS)

    monkeypatch.setattr(run_reader, "run_before", slow)
    monkeypatch.setattr(run_reader, "MOST_WAITING", 2)
    reader = RunReader(heard.append, Health())
    assert reader.read("/r", "v", 0)
    assert began.wait(HANG_SECONDS)
    assert [reader.read("/r", "v", number) for number in (1, 2, 3)] == [True, True, False]
    gate.set()
    wait_until(lambda: len(heard) == 3, "the others are answered", lambda: heard)
    assert [event.reply for event in heard] == [0, 1, 2]
