"""The journal of a stream: what is in it at each moment, and what of it is left, whatever is full or gone."""

from __future__ import annotations

import errno
import os
import random
import shutil
import socket
from pathlib import Path

import pytest

from offcam.recorder import journal as recorder
from offcam.recorder.journal import STEP_BYTES, Journal
from offcam_proto import codec
from offcam_proto.client_outbox import Outbox
from offcam_proto.client_stream import ClientStream
from offcam_proto.messages import Hello, OpenStream
from offcam_proto.records import StepRecord
from offcam_runs import journal
from offcam_runs.file_lock import held
from run_samples import clip, columns, episode

STREAM = bytes(range(16))
CLIENT = Hello(Hello.MAGIC, 1, bytes(16), 7, "host", "offcam/0")


def opened(folder: Path) -> OpenStream:
    return OpenStream(0, STREAM, str(folder), "", 0, False, "CartPole-v1", 1, False, 0.0)


def body(seq: int) -> bytes:
    return b"%d" % seq * (1 + seq % 7)


def path(folder: Path) -> Path:
    return journal.journal_of(folder, STREAM)


def written(folder: Path) -> list[tuple[int, bytes]]:
    """The records that whoever opens the file finds in it."""
    opening, client, *records = journal.frames(path(folder).read_bytes())
    assert (opening[0], client[0]) == (0, 0)
    assert codec.decode_client([client[1]]) == CLIENT
    assert codec.decode_client([opening[1]]).stream == STREAM
    return records


@pytest.fixture(params=[True, False], ids=["mapped", "written"])
def mapped(request, monkeypatch) -> bool:
    monkeypatch.setattr(recorder, "_safe_to_map", lambda _: request.param)
    return request.param


@pytest.fixture
def state(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state" / "offcam"


@pytest.fixture
def said() -> list[tuple[str, str]]:
    return []


@pytest.fixture
def log(tmp_path, state, mapped, said):
    made = Journal(opened(tmp_path / "run"), CLIENT, here=True, said=lambda *what: said.append(what))
    yield made
    made.end()


def put(log: Journal, first: int, last: int) -> None:
    assert log.append(first, [body(seq) for seq in range(first, last + 1)]) == last - first + 1


def test_a_record_is_in_the_file_once_it_is_kept(folder, log):
    assert not folder.exists()
    put(log, 1, 1)
    assert written(folder) == [(1, body(1))]
    assert (log.place, held(path(folder))) == (str(folder), True)
    put(log, 2, 5)
    assert written(folder) == list(log.after(0)) == [(seq, body(seq)) for seq in range(1, 6)]
    assert list(log.after(3)) == [(4, body(4)), (5, body(5))]


def test_it_is_cut_back_when_all_is_acked_and_gone_when_the_stream_is(folder, log):
    put(log, 1, 20_000)
    log.acked(19_999)
    assert list(log.after(0)) == [(20_000, body(20_000))]
    log.acked(20_000)
    assert list(log.after(0)) == written(folder) == []
    assert path(folder).stat().st_size <= STEP_BYTES
    put(log, 20_001, 20_002)
    assert [seq for seq, _ in written(folder)] == [20_001, 20_002]
    log.end()
    assert list(folder.iterdir()) == []


def test_it_rests_where_all_is_acked_and_comes_back_with_the_next_record(folder, log):
    put(log, 1, 3)
    log.acked(2)
    log.rest()
    assert [seq for seq, _ in written(folder)][-1] == 3
    log.acked(3)
    log.rest()
    assert list(folder.iterdir()) == []
    put(log, 4, 5)
    assert written(folder) == list(log.after(0)) == [(4, body(4)), (5, body(5))]


def test_one_that_is_never_acked_whole_does_not_grow_for_ever(folder, log):
    for seq in range(1, 60_001):
        put(log, seq, seq)
        log.acked(max(seq - 5, 0))
    assert [seq for seq, _ in log.after(0)] == list(range(59_996, 60_001))
    assert path(folder).stat().st_size <= 8 * STEP_BYTES
    assert written(folder)[-5:] == list(log.after(0))
    assert held(path(folder)), "what took its place is locked, too"


def test_it_is_bounded_by_the_disk_alone(folder, log, monkeypatch):
    monkeypatch.setattr("offcam_proto.backlog.MAX_UNACKED_RECORDS", 3)
    put(log, 1, 100_000)
    assert sum(1 for _ in log.after(0)) == 100_000


def test_numbers_are_lowered_where_the_index_was_replaced(folder, log):
    put(log, 1, 9)
    log.acked(6)
    log.renumber(4)
    assert list(log.after(0)) == written(folder) == [(seq - 4, body(seq)) for seq in (7, 8, 9)]
    put(log, 6, 6)
    log.acked(5)
    assert list(log.after(0)) == [(6, body(6))]


def test_they_are_lowered_where_the_folder_is_gone_too(folder, log):
    put(log, 1, 9)
    log.acked(6)
    shutil.rmtree(folder)
    log.renumber(4)
    assert list(log.after(0)) == [(seq - 4, body(seq)) for seq in (7, 8, 9)]
    log.acked(5)
    put(log, 6, 6)
    assert list(log.after(0)) == written(folder) == [(6, body(6))]


def full(monkeypatch, *folders: Path) -> None:
    """Let there be no room in some folders."""
    allocate, write = os.posix_fallocate, os.pwrite

    def there(fd: int) -> None:
        if any(Path(f"/proc/self/fd/{fd}").readlink().is_relative_to(folder) for folder in folders):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", lambda fd, *size: (there(fd), allocate(fd, *size))[1])
    monkeypatch.setattr(os, "pwrite", lambda fd, *data: (there(fd), write(fd, *data))[1])


def test_where_the_folder_becomes_full_all_that_is_left_moves(folder, log, state, said, monkeypatch):
    put(log, 1, 3)
    log.acked(1)
    full(monkeypatch, folder)
    put(log, 4, 10_000)
    assert said == [(str(folder), os.strerror(errno.ENOSPC))]
    assert log.place == str(state)
    assert list(log.after(0)) == written(state) == [(seq, body(seq)) for seq in range(2, 10_001)]
    assert not path(folder).exists()
    assert state.stat().st_mode & 0o077 == 0
    log.acked(10_000)
    log.end()
    assert not path(state).exists()


def test_where_nothing_has_room_what_is_new_is_kept_in_memory(folder, log, state, said, monkeypatch):
    put(log, 1, 3)
    with monkeypatch.context() as patch:
        full(patch, folder, state)
        put(log, 4, 9_000)
        assert {where for where, _ in said} == {str(folder), str(state)}
        put(log, 9_001, 9_001)
    put(log, 9_002, 9_002)
    assert [seq for seq, _ in log.after(0)] == list(range(1, 9_003)), "and in order, though there is room again"
    assert [seq for seq, _ in written(folder)] == [1, 2, 3], "what is in the file is there still"
    log.acked(4)
    assert [seq for seq, _ in log.after(0)] == list(range(5, 9_003))
    log.acked(9_002)
    put(log, 9_003, 9_003)
    assert written(folder) == [(9_003, body(9_003))]


def test_episodes_that_outlive_the_process_are_counted_in_columns_too(folder, log, state, monkeypatch):
    wire = ClientStream(Outbox(), opened(folder), log, forget=lambda _: None)
    wire.record(columns(), clip(), StepRecord(0, 0, 0, 1, 0, 0, "[]", b""), episode())
    assert (wire.unacked, wire.kept_episodes, log.in_memory) == (5, 3, 0)
    full(monkeypatch, folder, state)
    wire.record(*[columns()] * 3_000)
    assert (wire.unacked, log.in_memory) == (6_005, 6_000)
    assert wire.kept_episodes == 3


@pytest.mark.parametrize("here", [True, False])
def test_a_folder_that_cannot_be_used_is_none(tmp_path, state, mapped, said, here):
    (tmp_path / "run").write_text("")
    log = Journal(opened(tmp_path / "run"), CLIENT, here=here, said=lambda *what: said.append(what))
    put(log, 1, 2)
    assert [where for where, _ in said] == [str(tmp_path / "run")] * here
    assert (log.place, [seq for seq, _ in written(state)]) == (str(state), [1, 2])
    log.end()


@pytest.mark.parametrize("gone", ["removed", "renamed", "remade"])
def test_a_folder_that_is_gone_gets_what_is_left(tmp_path, folder, log, gone, monkeypatch):
    monkeypatch.setattr(recorder, "LOOK_SECONDS", 0.0)
    put(log, 1, 3)
    log.acked(1)
    if gone == "renamed":
        folder.rename(tmp_path / "other")
    else:
        shutil.rmtree(folder)
    if gone == "remade":
        path(folder).parent.mkdir(parents=True)
        path(folder).write_bytes(b"another's")
    put(log, 4, 4)
    assert [seq for seq, _ in log.after(0)] == [seq for seq, _ in written(folder)] == [2, 3, 4]
    assert held(path(folder))


def test_what_was_torn_ends_it(folder, log):
    """Cut off at any byte, or with any bit of a head another: what is before it is whole, and there is nothing else."""
    put(log, 1, 3)
    data = path(folder).read_bytes()
    records = written(folder)
    size = len(data.rstrip(b"\0"))
    begins = [data.index(journal.frame(*each)) for each in records]
    chance = random.Random(1)
    for cut in range(begins[0], size):
        assert list(journal.frames(data[:cut]))[2:] == records[: sum(cut >= begin for begin in begins) - 1]
    for _ in range(200):
        at = chance.randrange(begins[2], begins[2] + journal.FRAME.size)
        torn = bytearray(data)
        torn[at] ^= 1 << chance.randrange(8)
        assert list(journal.frames(torn))[2:] == records[:2]


def test_a_forked_child_does_not_keep_it_locked(folder, log):
    put(log, 1, 1)
    ours, theirs = socket.socketpair()
    child = os.fork()
    if not child:
        ours.close()
        theirs.send(b"up")
        theirs.recv(1)
        os._exit(0)
    theirs.close()
    assert ours.recv(2) == b"up"
    log._file.forget()  # as if the parent had died
    log._file = None
    taken = held(path(folder))
    ours.close()
    os.waitpid(child, 0)
    assert not taken
    assert written(folder) == [(1, body(1))]


def test_the_file_is_there_before_the_first_record(tmp_path, state, mapped):
    backlog = Journal(opened(tmp_path), CLIENT, here=True, said=pytest.fail)
    backlog.begin()
    assert written(tmp_path) == []
    assert held(path(tmp_path))
    inode = path(tmp_path).stat().st_ino
    backlog.begin()
    assert backlog.append(1, [body(1)]) == 1
    assert written(tmp_path) == [(1, body(1))]
    assert path(tmp_path).stat().st_ino == inode
    backlog.acked(1)
    backlog.rest()
    assert not path(tmp_path).parent.exists()
