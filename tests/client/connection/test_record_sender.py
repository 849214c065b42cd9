"""When records that are held back are sent."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest

from offcam.connection import timeouts
from offcam.connection.record_sender import RecordSender

SECONDS = 30


@pytest.fixture
def sent():
    return threading.Event()


@pytest.fixture
def sender(sent):
    session = SimpleNamespace(send_held=lambda: None, streams={})
    sender = RecordSender(SimpleNamespace(lock=threading.RLock(), session=session, send_due=sent.set))
    yield sender
    sender.close()


def soon(sender: RecordSender, times: int, singles: int) -> None:
    for _ in range(times):
        with sender._exchange.lock:
            sender.soon(singles)


def test_so_many_of_single_envs_are_sent_at_once(sender, sent, monkeypatch):
    monkeypatch.setattr(timeouts, "RECORDS_SECONDS", 3600)
    soon(sender, timeouts.HELD_RECORDS - 1, 1)
    assert not sent.is_set()
    soon(sender, 1, 1)
    assert sent.wait(SECONDS)
    sent.clear()
    soon(sender, 10 * timeouts.HELD_RECORDS, 0)
    assert not sent.is_set()


def test_fewer_are_sent_after_a_while_and_so_are_later_ones(sender, sent, monkeypatch):
    monkeypatch.setattr(timeouts, "RECORDS_SECONDS", 0.001)
    for _ in range(5):
        soon(sender, 1, 1)
        assert sent.wait(SECONDS)
        sent.clear()


def test_nobody_waits_at_the_end(sender, sent, monkeypatch):
    monkeypatch.setattr(timeouts, "RECORDS_SECONDS", 3600)
    soon(sender, 1, 1)
    sender.close()
    assert not [each for each in threading.enumerate() if each._target == sender._run]


def test_the_thread_ends_with_the_last_stream_and_the_next_one_has_another(sender, sent, monkeypatch):
    monkeypatch.setattr(timeouts, "RECORDS_SECONDS", 0.001)
    streams = sender._exchange.session.streams
    streams[1] = "a stream"
    sender.begin()
    thread = sender._thread
    sender.rest()
    assert thread.is_alive()
    streams.clear()
    sender.rest()
    assert not thread.is_alive()
    soon(sender, 1, 1)
    assert sent.wait(SECONDS)


def test_without_another_thread_they_are_sent_in_the_step(sender, sent, monkeypatch):
    def none_left(self):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", none_left)
    for _ in range(3):
        soon(sender, 1, 1)
        assert sent.is_set()
        sent.clear()
