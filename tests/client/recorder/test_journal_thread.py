"""The journal on a file system that may stall: what is in the file, what in memory, and that nobody waits for long."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from offcam.recorder import journal as recorder
from offcam.recorder import journal_thread
from offcam.recorder.journal import Journal
from offcam.recorder.journal_thread import ThreadedJournal, journal_of
from offcam_proto.messages import Hello, OpenStream
from offcam_runs import filesystem, journal
from waiting import HANG_SECONDS, wait_until

if TYPE_CHECKING:
    from pathlib import Path

STREAM = bytes(range(16))
CLIENT = Hello(Hello.MAGIC, 1, bytes(16), 7, "host", "offcam/0")


def opened(folder: Path) -> OpenStream:
    return OpenStream(0, STREAM, str(folder), "", 0, False, "CartPole-v1", 1, False, 0.0)


def numbered(first: int, last: int) -> list[tuple[int, bytes]]:
    return [(seq, b"%d" % seq * (1 + seq % 7)) for seq in range(first, last + 1)]


def put(log: ThreadedJournal, first: int, last: int) -> int:
    return log.append(first, [body for _, body in numbered(first, last)])


def written(folder: Path) -> list[tuple[int, bytes]]:
    """The records that whoever opens the file finds in it."""
    path = journal.journal_of(folder, STREAM)
    return list(journal.frames(path.read_bytes()))[2:] if path.exists() else []


@pytest.fixture
def said() -> list[tuple[str, str]]:
    return []


@pytest.fixture
def log(folder, tmp_path, said, monkeypatch):
    """One whose file system answers, however busy the machine is."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(filesystem, "LOCAL_TYPES", frozenset())
    monkeypatch.setattr(recorder, "_safe_to_map", lambda _: False)
    for patience in ("_steps", "_leaving"):
        monkeypatch.setattr(journal_thread, patience, journal_thread._Patience(HANG_SECONDS, 10.0))
    made = journal_of(opened(folder), CLIENT, here=True, said=lambda *what: said.append(what))
    assert isinstance(made, ThreadedJournal)
    yield made
    made.end()
    wait_until(lambda: "offcam-journal" not in {each.name for each in threading.enumerate()}, "its thread has ended")


@pytest.fixture
def stalled(log, monkeypatch):
    """Its file system answers nobody until this is set; no step waits for it."""
    answers = threading.Event()

    def stall() -> threading.Event:
        monkeypatch.setattr(journal_thread._steps, "seconds", 0.0)
        log._worker.do(answers.wait)
        return answers

    yield stall
    answers.set()
    monkeypatch.setattr(journal_thread._steps, "seconds", HANG_SECONDS)


def test_only_a_file_system_that_is_not_this_host_s_has_a_thread(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    table = tmp_path / "mounts"
    for kind, stalls in (("ext4", False), ("overlay", False), ("nfs4", True), ("fuse.sshfs", True), ("lustre", True)):
        table.write_text(f"server:/x / {kind} rw 0 0\n")
        assert filesystem.may_stall(folder, table) is stalls
    assert not filesystem.may_stall(folder, tmp_path / "none"), "a system that does not say it"
    monkeypatch.setattr(journal_thread, "may_stall", lambda _: False)
    assert isinstance(journal_of(opened(folder), CLIENT, here=True, said=pytest.fail), Journal)


def test_a_record_is_in_the_file_once_it_is_kept(folder, log, said):
    for seq in range(1, 101):
        assert put(log, seq, seq) == 1
        assert (written(folder)[-1:], log.in_memory) == (numbered(seq, seq), 0)
    log.rest()
    assert (list(log.after(40)), log.place, said) == (numbered(41, 100), str(folder), [])


def test_it_rests_once_all_is_acked_and_comes_back(folder, log):
    put(log, 1, 3)
    log.acked(3)
    log.rest()
    assert not folder.exists() or not list(folder.iterdir())
    put(log, 4, 5)
    assert written(folder) == list(log.after(0)) == numbered(4, 5)


def test_while_it_stalls_records_are_in_memory_and_then_in_the_file(folder, log, stalled):
    put(log, 1, 3)
    answers = stalled()
    for seq in range(4, 1001):
        assert put(log, seq, seq) == 1
    assert (written(folder), log.in_memory) == (numbered(1, 3), 997)
    assert list(log.after(0)) == numbered(1, 1000), "what is in the file can be sent, too"
    log.acked(2)
    answers.set()
    wait_until(lambda: not log.in_memory, "all is in the file")
    assert (written(folder)[-998:], list(log.after(0))) == (numbered(3, 1000), numbered(3, 1000))


def test_a_wait_in_vain_is_not_made_again_before_a_pause(folder, log, stalled, monkeypatch):
    answers = stalled()
    put(log, 1, 1)
    monkeypatch.setattr(journal_thread._steps, "seconds", HANG_SECONDS)
    put(log, 2, 2)  # or the test would hang
    answers.set()
    wait_until(lambda: not log.in_memory, "all is in the file")
    waited = []
    monkeypatch.setattr(journal_thread._Job, "run", lambda job: (waited.append(job.done), job.work(), job.done.set()))
    answers.clear()
    log._worker.do(answers.wait)
    put(log, 3, 3)  # as the pause is not over
    assert log.in_memory == 1
    answers.set()
    wait_until(lambda: not log.in_memory, "all is in the file")
    monkeypatch.setattr(journal_thread._steps, "pause", 0.0)
    put(log, 4, 4)
    assert (log.in_memory, written(folder)) == (0, numbered(1, 4))


def test_for_many_streams_no_step_waits_longer_than_for_one(folder, log, stalled, monkeypatch):
    answers = stalled()
    put(log, 1, 1)  # in vain
    other = journal_of(replace(opened(folder), stream=bytes(16)), CLIENT, here=True, said=pytest.fail)
    other._worker.do(answers.wait)
    monkeypatch.setattr(journal_thread._steps, "seconds", HANG_SECONDS)
    assert put(other, 1, 1) == 1  # or the test would hang
    assert other.in_memory == 1
    answers.set()
    other.look()
    assert other.in_memory == 0
    other.end()


def test_a_process_that_leaves_waits_once_for_what_does_not_answer(folder, log, stalled, monkeypatch):
    answers = stalled()
    put(log, 1, 1)
    monkeypatch.setattr(journal_thread._leaving, "seconds", 0.0)
    log.look()
    monkeypatch.setattr(journal_thread._leaving, "seconds", HANG_SECONDS)
    log.leave()  # or the test would hang
    assert (log.in_memory, written(folder)) == (1, [])
    answers.set()
    wait_until(lambda: written(folder) == numbered(1, 1), "the thread has done what was asked of it")


def test_one_that_is_behind_for_long_is_told(folder, log, stalled, said, monkeypatch):
    monkeypatch.setattr(journal_thread, "TOLD_SECONDS", 0.0)
    put(log, 1, 1)
    stalled()
    put(log, 2, 2)
    assert said == []
    put(log, 3, 3)
    assert [(where, what[:31]) for where, what in said] == [(str(folder), "its file system has not answere")]


def test_what_waits_in_memory_is_bounded(log, stalled, monkeypatch):
    monkeypatch.setattr("offcam_proto.backlog.MAX_UNACKED_RECORDS", 100)
    stalled()
    assert (put(log, 1, 80), put(log, 81, 160)) == (80, 20)


def test_what_is_in_the_file_is_read_from_there_once_it_is_much(folder, log, stalled, monkeypatch):
    monkeypatch.setattr(journal_thread, "MAX_BYTES_IN_FLIGHT", 100)
    monkeypatch.setattr(journal_thread, "_READ_BYTES", 100)
    put(log, 1, 500)
    put(log, 501, 502)
    assert len(log._records) <= 2
    assert list(log.after(7)) == numbered(8, 502)
    answers = stalled()
    put(log, 503, 503)
    assert list(log.after(0)) == [], "not out of order"
    answers.set()
    monkeypatch.setattr(journal_thread._steps, "pause", 0.0)
    monkeypatch.setattr(journal_thread._steps, "seconds", HANG_SECONDS)
    wait_until(lambda: list(log.after(0)) == numbered(1, 503), "it can be read again")


def test_numbers_are_lowered_in_what_is_not_in_the_file_yet_too(folder, log, stalled):
    put(log, 1, 7)
    answers = stalled()
    put(log, 8, 9)
    log.acked(6)
    log.renumber(4)
    put(log, 6, 6)
    lowered = [(seq - 4, body) for seq, body in numbered(7, 9)] + numbered(6, 6)
    assert (list(log.after(0)), log.in_memory) == (lowered, 3)
    answers.set()
    wait_until(lambda: not log.in_memory, "all is in the file")
    assert written(folder) == list(log.after(0)) == lowered


def test_where_no_folder_can_be_used_all_is_in_memory(folder, tmp_path, log, said):
    folder.write_text("")
    (tmp_path / "state").write_text("")
    put(log, 1, 3)
    put(log, 4, 5)
    assert (log.in_memory, log.place, list(log.after(0))) == (5, "", numbered(1, 5))
    assert {where for where, _ in said} == {str(folder), str(tmp_path / "state" / "offcam")}


def test_who_leaves_leaves_the_file_with_all_in_it(folder, log, stalled):
    put(log, 1, 3)
    answers = stalled()
    put(log, 4, 9)
    answers.set()
    log.leave()
    assert written(folder) == numbered(1, 9)
