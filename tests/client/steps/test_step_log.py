"""The rows of a stream: what is in its tail at each moment, what is sealed, and that none is there twice or missing."""

from __future__ import annotations

import os
import shutil
import struct
import sys
import threading
from pathlib import Path

import pytest

from offcam.recorder import journal as recorder
from offcam.recorder.journal import Journal
from offcam.recorder.steps import StepLog
from offcam_proto import codec
from offcam_proto.errors import ConfigError
from offcam_proto.messages import Hello, OpenStream
from offcam_proto.records import StepRecord
from offcam_runs import journal
from offcam_runs.journal_reader import read, unsealed_rows
from offcam_runs.steps.layout import HEAP, STEPS, TAPE, Column
from run_samples import episode
from stepreader import rows_of

STREAM = bytes(range(16))
CLIENT = Hello(Hello.MAGIC, 1, bytes(16), 7, "host", "offcam/0")
COLUMNS = (Column("episode", "<i8"), Column("value", "<f8"))
TEXTS = (Column("episode", "<i8"), Column("said", HEAP))


class Stream:
    """A journal and the steps that go into it, as an env's stream has them."""

    def __init__(self, folder: Path) -> None:
        info = OpenStream(0, STREAM, str(folder), "", 0, False, "E", 1, False, 0.0)
        self.journal = Journal(info, CLIENT, here=True, said=lambda *_: None)
        self.steps = StepLog(self.record, self.journal.tail)
        self.seq = 1
        self.path = journal.journal_of(folder, STREAM)

    def record(self, *records) -> None:
        assert self.journal.append(self.seq, [codec.pack_record(each) for each in records]) == len(records)
        self.seq += len(records)

    def left(self) -> list[StepRecord]:
        """What whoever takes in the journal of a dead client finds of steps."""
        found = read(self.path, ended=True)
        assert found is not None
        records = [codec.unpack_record(body) for body in found.bodies]
        return [each for each in records if isinstance(each, StepRecord)]

    def rows(self) -> list[tuple[int, float]]:
        return [(row["row"], row["value"]) for record in self.left() for row in rows_of(record)]


@pytest.fixture
def stream(folder, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(folder.parent / "state"))
    monkeypatch.setattr(recorder, "_safe_to_map", lambda _: True)
    made = Stream(folder)
    yield made
    made.journal.end()


def test_each_row_outlives_its_client_at_once(stream):
    buffer = stream.steps.buffer(STEPS, COLUMNS)
    for number in range(5_000):
        assert buffer.add(number // 10, float(number)) == number
        if number % 977 == 0 or number > 4_990:
            assert stream.rows() == [(row, float(row)) for row in range(number + 1)]
    (*sealed, last) = stream.left()
    assert len(sealed) == stream.seq - 1 > 0
    assert (sealed[0].first_episode, sealed[0].last_episode) == (0, (sealed[0].count - 1) // 10)
    assert last.last_episode == 499
    assert all(len(codec.pack_record(each)) <= 64 * 1024 for each in sealed)


def test_a_record_of_another_kind_between_leaves_the_rows_their_number(stream):
    buffer = stream.steps.buffer(STEPS, COLUMNS)
    buffer.add(0, 1.0)
    stream.record(episode())
    found = read(stream.path, ended=True)
    assert (found.first_seq, found.last_seq) == (1, 2)
    stream.journal.acked(1)
    found = read(stream.path, ended=True)
    assert (found.first_seq, found.last_seq) == (2, 2), "the index has the first"
    assert read(stream.path).bodies == [], "its client has it still"


@pytest.mark.parametrize("cleared", [False, True])
def test_rows_that_are_sealed_already_are_not_taken_twice(stream, cleared):
    """A client that is killed when the record is in the journal, and its rows are in the tail still."""
    buffer = stream.steps.buffer(STEPS, COLUMNS)
    stream.steps.buffer(TAPE, COLUMNS).add(0, 7.0)
    for number in range(3):
        buffer.add(0, float(number))
    tail = journal.tail_of(stream.path)
    before = tail.read_bytes()
    buffer.seal()
    if cleared:
        buffer.add(0, 3.0)
    else:
        tail.write_bytes(before)
    assert sorted((each.table, each.first_row, each.count) for each in stream.left()) == (
        [(STEPS, 0, 3), (STEPS, 3, 1), (TAPE, 0, 1)] if cleared else [(STEPS, 0, 3), (TAPE, 0, 1)]
    )


def test_whoever_looks_while_they_are_written_finds_whole_rows_alone(stream):
    """Of a section whose rows become a record in the midst of the look there is nothing: they are in the journal."""
    buffer = stream.steps.buffer(STEPS, TEXTS)
    done = threading.Event()
    looks: list[StepRecord] = []

    def write():
        number = 0
        while not done.is_set():
            text = b"%d" % number * (number % 50)
            buffer.add_with_heap((number, len(text)), text)
            number += 1

    thread = threading.Thread(target=write)
    thread.start()
    try:
        while len({each.first_row for each in looks}) < 20:
            looks += [record for _, record in unsealed_rows(stream.path.parent.parent)]
    finally:
        done.set()
        thread.join()
    for record in looks:
        for row in rows_of(record):
            assert (row["episode"], row["said"]) == (row["row"], b"%d" % row["row"] * (row["row"] % 50))


@pytest.mark.parametrize("again", [False, True])
def test_a_section_that_becomes_a_record_in_the_midst_of_a_look_is_left_out(stream, monkeypatch, again):
    buffer = stream.steps.buffer(STEPS, COLUMNS)
    for number in range(3):
        buffer.add(0, float(number))
    folder = stream.path.parent.parent
    assert [record.count for _, record in unsealed_rows(folder)] == [3]
    pread, reads = os.pread, []

    def meanwhile(descriptor, size, at):
        found = pread(descriptor, size, at)
        reads.append(size)
        if len(reads) == 1:
            buffer.seal()
            for number in range(5 * again):
                buffer.add(0, float(number))
        return found

    monkeypatch.setattr(os, "pread", meanwhile)
    assert unsealed_rows(folder) == []
    assert len(reads) == 3
    assert [record.first_row for _, record in unsealed_rows(folder)] == [3] * again


def test_values_of_no_fixed_size_lie_behind_their_rows(stream):
    buffer = stream.steps.buffer(STEPS, TEXTS)
    said = [b"%d" % number * (number % 300) for number in range(600)]
    for number, text in enumerate(said):
        assert buffer.add_with_heap([0, len(text)], text) == number
    assert [row["said"] for record in stream.left() for row in rows_of(record)] == said
    assert len(stream.left()) > 1
    with pytest.raises(OverflowError):
        buffer.add_with_heap([0, 50_000], bytes(50_000))
    assert buffer.add_with_heap([0, 2], b"ab") == len(said), "nothing was written of what is too large"


@pytest.mark.parametrize("columns", [COLUMNS, TEXTS])
def test_a_signal_handler_that_flushes_at_any_moment_takes_whole_rows_each_once(stream, monkeypatch, columns):
    """Between any two instructions of what writes a row and makes a record of rows."""
    monkeypatch.setattr("offcam.recorder.steps.tail.ROOM_BYTES", 50)  # of three rows there is a record
    buffer = stream.steps.buffer(STEPS, columns)
    wait = number = 0

    def trace(frame, event, _):
        nonlocal wait
        if frame.f_code.co_filename != StepLog.buffer.__code__.co_filename:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            wait -= 1
            if wait == 0:
                sys.settrace(None)
                stream.steps.seal()
                sys.settrace(trace)
        return trace

    def add_with_a_flush_at(moment):
        nonlocal wait, number
        wait = moment
        sys.settrace(trace)
        try:
            if columns is COLUMNS:
                assert buffer.add(0, float(number)) == number
            else:
                assert buffer.add_with_heap([0, 4], b"%4d" % number) == number
        finally:
            sys.settrace(None)
        number += 1
        return wait <= 0

    moment = 1
    while sum([add_with_a_flush_at(moment) for _ in range(8)]):  # of which some make room, and some do not
        moment += 1
    assert moment > 100
    value = columns[1].name
    assert [(row["row"], float(row[value])) for record in stream.left() for row in rows_of(record)] == [
        (row, float(row)) for row in range(number)
    ]


def test_a_row_that_does_not_fit_is_none(stream):
    buffer = stream.steps.buffer(STEPS, COLUMNS)
    buffer.add(0, 1.0)
    with pytest.raises(struct.error):
        buffer.add(2**63, 1.0)
    assert buffer.add(0, 2.0) == 1
    assert stream.rows() == [(0, 1.0), (1, 2.0)]


def test_other_columns_begin_another_record(stream):
    buffer = stream.steps.buffer(STEPS, COLUMNS)
    buffer.add(0, 1.0)
    buffer.change((*COLUMNS, Column("more", "|u1")))
    buffer.add(0, 2.0, 3)
    assert stream.rows() == [(0, 1.0), (1, 2.0)]
    with pytest.raises(ConfigError, match="at most"):
        buffer.change((Column("large", "<f8", (5_000,)),))
    assert buffer.add(0, 4.0, 5) == 2, "it stays as it was"


def test_nothing_is_left_where_all_is_acked(folder, stream):
    buffer = stream.steps.buffer(STEPS, COLUMNS)
    buffer.add(0, 1.0)
    stream.journal.rest()
    assert stream.rows() == [(0, 1.0)], "rows that are not sealed keep the files"
    stream.steps.seal()
    stream.journal.acked(1)
    stream.journal.rest()
    stream.steps.rest()
    assert list(folder.iterdir()) == []
    assert buffer.add(0, 2.0) == 1
    assert stream.rows() == [(1, 2.0)]
    assert (read(stream.path, ended=True).first_seq) == 2


def test_who_leaves_keeps_the_rows(folder, stream):
    buffer = stream.steps.buffer(STEPS, COLUMNS)
    buffer.add(0, 1.0)
    stream.journal.leave()
    assert stream.rows() == [(0, 1.0)]
    assert read(stream.path).ended is not None


def test_a_tail_that_is_damaged_takes_nothing_with_it(stream, caplog):
    buffer = stream.steps.buffer(STEPS, COLUMNS)
    buffer.add(0, 1.0)
    stream.record(episode())
    tail = journal.tail_of(stream.path)
    whole = tail.read_bytes()
    for at, damage in ((0, b"x"), (32 * 1024, b"\xff\xff\xff"), (32 * 1024 + 70, b"{{{"), (32 * 1024 + 32, b"\xff")):
        tail.write_bytes(whole[:at] + damage + whole[at + len(damage) :])
        assert len(read(stream.path, ended=True).bodies) == 1
    for size in (0, 100, 40_000, 32 * 1024 + 100):
        tail.write_bytes(whole[:size])
        assert len(read(stream.path, ended=True).bodies) in (1, 2)
    assert "tail" in caplog.text


def test_it_goes_where_the_journal_goes(folder, stream, monkeypatch):
    monkeypatch.setattr(recorder, "LOOK_SECONDS", 0.0)
    buffer = stream.steps.buffer(STEPS, COLUMNS)
    buffer.add(0, 1.0)
    stream.record(episode())
    shutil.rmtree(folder)
    buffer.add(0, 2.0)
    stream.record(episode())
    buffer.add(0, 3.0)
    assert stream.rows() == [(0, 1.0), (1, 2.0), (2, 3.0)]


def test_where_a_file_cannot_be_mapped_rows_are_in_memory(folder, monkeypatch):
    monkeypatch.setattr(recorder, "_safe_to_map", lambda _: False)
    stream = Stream(folder)
    buffer = stream.steps.buffer(STEPS, COLUMNS)
    buffer.add(0, 1.0)
    assert not journal.tail_of(stream.path).exists()
    stream.steps.seal()
    assert stream.rows() == [(0, 1.0)]
    stream.journal.end()


def test_a_forked_child_writes_into_no_tail_of_its_parents(stream):
    buffer = stream.steps.buffer(STEPS, COLUMNS)
    buffer.add(0, 1.0)
    before = journal.tail_of(stream.path).read_bytes()
    if not (pid := os.fork()):
        if any(str(each.resolve()).endswith(".tail") for each in Path("/proc/self/fd").iterdir()):
            os._exit(4)
        stream.steps._attach = lambda: os._exit(3)  # what makes a stream of the child's own
        buffer._attach = stream.steps._attach
        buffer.add(0, 9.0)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 3
    assert journal.tail_of(stream.path).read_bytes() == before
    assert buffer.add(0, 2.0) == 1
    assert stream.rows() == [(0, 1.0), (1, 2.0)]
