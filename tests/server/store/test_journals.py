"""Taking in what clients left in their journals: each record once, whoever dies meanwhile, and nothing unsaid."""

import queue
import sqlite3
import threading

import pytest

from journal_samples import write_journal
from offcam_proto.codec import pack_record
from offcam_proto.errors import RunFolderError
from offcam_runs.file_lock import FileLock
from offcam_runs.format import INDEX_NAME, PENDING_NAME
from offcam_runs.journal_reader import journals, pending
from offcam_runs.run import read_run
from offcamd.store import journals as taking
from offcamd.store import store as storing
from offcamd.store import tasks
from offcamd.store.index import RunIndex
from offcamd.store.journals import take_in
from offcamd.store.recovery import recover_folder
from offcamd.store.store import Store
from run_samples import PEER, A, B, clip, columns, episode, packed, stream
from waiting import wait_until


def numbers(folder):
    return [row.episode for row in read_run(folder, "all").episodes]


def stored(folder):
    """Sequence numbers in the index itself, and each stream's last."""
    database = sqlite3.connect(folder / INDEX_NAME)
    try:
        seqs = database.execute("SELECT stream, seq FROM episodes JOIN streams ON streams.id = stream_id").fetchall()
        return seqs, dict(database.execute("SELECT stream, last_seq FROM streams"))
    finally:
        database.close()


# --- once -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pieces", range(7))
def test_a_taking_in_that_is_cut_off_goes_on_where_it_was(folder, index, monkeypatch, pieces):
    monkeypatch.setattr(taking, "PIECE_RECORDS", 3)
    write_journal(folder, *map(episode, range(7)))
    write_journal(folder, *map(episode, range(5)), opening=stream(B))
    cut_off = take_in(index, journals(folder))
    taken = [next(cut_off) for _ in range(pieces)]
    cut_off.close()
    assert len(read_run(folder).episodes) == 12
    taken += take_in(index, journals(folder))
    assert sum(one.journals for one in taken) == 2
    assert sum(one.episodes for one in taken) == 12
    seqs, last = stored(folder)
    assert sorted(seqs) == [(A.hex(), seq) for seq in range(1, 8)] + [(B.hex(), seq) for seq in range(1, 6)]
    assert last == {A.hex(): 7, B.hex(): 5}
    assert not (folder / PENDING_NAME).exists()


def test_what_was_committed_by_the_wire_is_passed_over(folder, index):
    index.open_stream(stream(), PEER)
    index.apply(A, 1, packed(*map(episode, range(4))))
    write_journal(folder, *map(episode, range(2, 7)), first_seq=3)
    assert sum(taken.episodes for taken in take_in(index, journals(folder))) == 3
    assert numbers(folder) == list(range(7))
    assert index.open_stream(stream(), PEER).last_seq == 7


def test_columns_are_taken_in_as_many_episodes_each_once(folder, index):
    index.open_stream(stream(), PEER)
    index.apply(A, 1, packed(episode(0), columns()))
    write_journal(folder, columns(), episode(5), columns(), columns(), first_seq=2)
    assert [(journal.first_seq, journal.last_seq) for journal in pending(folder)] == [(2, 8)]
    assert sum(taken.episodes for taken in take_in(index, journals(folder))) == 5
    seqs, last = stored(folder)
    assert sorted(seqs) == [(A.hex(), seq) for seq in range(1, 9)]
    assert last == {A.hex(): 8}


def test_pieces_are_bounded_by_what_they_have_of_episodes(folder, index, monkeypatch):
    monkeypatch.setattr(taking, "PIECE_RECORDS", 3)
    write_journal(folder, *[columns()] * 6)
    assert [taken.episodes for taken in take_in(index, journals(folder)) if taken.episodes] == [4, 4, 4]


def test_what_a_client_was_about_to_put_in_its_place_goes_with_it(folder, index):
    path = write_journal(folder, episode(0))
    path.with_name(path.name + ".new").write_bytes(b"OFFCAMJ1")
    list(take_in(index, [path]))
    assert not (folder / PENDING_NAME).exists()


def test_the_journal_of_a_client_that_lives_is_left_to_it(folder, index):
    path = write_journal(folder, episode(0))
    lock = FileLock.take(path, 0o600)
    (taken,) = [one for one in take_in(index, [path]) if one.busy]
    assert (taken.busy, path.exists()) == (1, True)
    lock.release()
    list(take_in(index, [path]))
    assert not path.exists()
    list(take_in(index, [path]))  # gone meanwhile
    assert not path.exists()


def test_a_journal_that_begins_behind_what_the_index_has_is_taken_in_and_the_gap_counted(folder, index):
    write_journal(folder, episode(5), episode(6), first_seq=6)
    write_journal(folder, opening=stream(B))
    taken = list(take_in(index, journals(folder)))
    assert sum(one.missing for one in taken) == 5
    assert stored(folder) == ([(A.hex(), 6), (A.hex(), 7)], {A.hex(): 7, B.hex(): 0})


def test_one_that_is_no_journal_stays_and_the_others_are_taken_in(folder, index):
    bad = write_journal(folder, opening=stream(B))
    bad.write_bytes(b"what is this")
    write_journal(folder, episode(0))
    taken = list(take_in(index, journals(folder)))
    assert [len(one.problems) for one in taken if one.problems] == [1]
    assert (journals(folder), numbers(folder)) == ([bad], [0])


def test_a_record_that_the_disk_has_damaged_is_told_of_and_those_behind_it_are_taken_in(folder):
    path = write_journal(folder, *map(episode, range(5)))
    data = bytearray(path.read_bytes())
    at = data.index(pack_record(episode(2)))
    data[at + 5] ^= 1
    path.write_bytes(data)
    assert (numbers(folder), read_run(folder).quarantined) == ([0, 1, 3, 4], 1)
    recover_folder(folder)
    assert (numbers(folder), read_run(folder).quarantined) == ([0, 1, 3, 4], 1)
    assert stored(folder)[1] == {A.hex(): 5}


def test_columns_that_the_disk_has_damaged_cost_as_many_records_and_no_other(folder):
    path = write_journal(folder, episode(0), columns(), episode(3))
    data = bytearray(path.read_bytes())
    data[data.index(pack_record(columns())) + 2] ^= 1  # how many episodes they are of
    path.write_bytes(data)
    assert (numbers(folder), read_run(folder).quarantined) == ([0, 3], 2)
    recover_folder(folder)
    assert (numbers(folder), read_run(folder).quarantined) == ([0, 3], 2)
    assert stored(folder)[1] == {A.hex(): 4}


def test_an_index_that_cannot_be_written_keeps_the_journal(folder, index, monkeypatch):
    path = write_journal(folder, episode(0))

    def full(_records):
        raise RunFolderError("no room")

    monkeypatch.setattr(index, "take_in", full)
    with pytest.raises(RunFolderError):
        list(take_in(index, [path]))
    monkeypatch.undo()
    assert path.exists()
    list(take_in(index, [path]))
    assert numbers(folder) == [0]


# --- offcam recover ---------------------------------------------------------------------------------------


def test_recover_makes_an_index_of_journals_alone(folder):
    write_journal(folder, *map(episode, range(3)), clip(0))
    found = recover_folder(folder)
    assert found.outcome == "lossless"
    assert found.as_dict()["taken_in"] == {"journals": 1, "episodes": 3, "missing": 0, "problems": (), "busy": 0}
    assert (numbers(folder), pending(folder)) == ([0, 1, 2], [])
    assert read_run(folder).streams[0].state == "lost"
    assert recover_folder(folder).outcome == "nothing"


def test_recover_says_what_it_cannot_take_in(folder):
    write_journal(folder, episode(0)).write_bytes(b"what is this")
    found = recover_folder(folder)
    assert (found.outcome, len(found.taken_in.problems)) == ("lossy", 1)


# --- the daemon -------------------------------------------------------------------------------------------


@pytest.fixture
def store():
    events = queue.SimpleQueue()
    opened = Store(events.put, "a test")
    opened.events = events
    yield opened
    opened.close()


def until(store, kind):
    while True:
        event = store.events.get(timeout=20)
        if isinstance(event, kind):
            return event


def test_the_daemon_that_opens_a_folder_takes_in_what_lies_there(folder, store):
    write_journal(folder, *map(episode, range(3)))
    later = stream(B, folder=str(folder), resumes=True)  # of the same session
    store.put(tasks.OpenStreamTask(str(folder), later, PEER, (), "a reply"))
    assert until(store, tasks.Recovered).episodes == 3
    assert until(store, tasks.StreamReady).last_seq == 0
    wait_until(lambda: not (folder / PENDING_NAME).exists(), "the journals to be removed")
    assert store.runs()[0]["episodes"] == 3


def test_a_client_that_comes_back_to_its_journal_is_told_what_was_taken_in(folder, store):
    write_journal(folder, *map(episode, range(3)))
    store.put(tasks.OpenStreamTask(str(folder), stream(folder=str(folder)), PEER, (), "a reply"))
    assert until(store, tasks.StreamReady).last_seq == 3
    store.put(tasks.RecordsTask(str(folder), A, 1, tuple(packed(*map(episode, range(5)))), "a reply"))
    assert until(store, tasks.Committed).applied.last_seq == 5
    assert numbers(folder) == list(range(5))


def test_what_a_client_left_that_died_is_taken_in_when_its_stream_ends(folder, store):
    store.put(tasks.OpenStreamTask(str(folder), stream(folder=str(folder)), PEER, (), "a reply"))
    until(store, tasks.StreamReady)
    store.put(tasks.RecordsTask(str(folder), A, 1, tuple(packed(episode(0))), "a reply"))
    until(store, tasks.Committed)
    write_journal(folder, *map(episode, range(3)))
    store.put(tasks.CloseStreamTask(str(folder), A, lost=True))
    assert until(store, tasks.Recovered).episodes == 2
    wait_until(lambda: not journals(folder), "the journal to be removed")
    assert numbers(folder) == [0, 1, 2]
    wait_until(lambda: not (folder / "offcam.lock").exists(), "the folder to be let go")


def test_a_long_journal_lets_others_in_between(folder, tmp_path, store, monkeypatch):
    monkeypatch.setattr(taking, "PIECE_RECORDS", 10)
    monkeypatch.setattr(storing, "TAKE_IN_SECONDS", 0.0)
    at_work, go_on = threading.Event(), threading.Event()
    real = RunIndex.take_in

    def slow(self, records):
        at_work.set()
        assert go_on.wait(20)
        return real(self, records)

    monkeypatch.setattr(RunIndex, "take_in", slow)
    write_journal(folder, *map(episode, range(30)))
    store.put(tasks.OpenStreamTask(str(folder), stream(B, folder=str(folder)), PEER, (), "a reply"))
    assert at_work.wait(20)
    other = tmp_path / "other"
    store.put(tasks.OpenStreamTask(str(other), stream(folder=str(other)), PEER, (), "another's reply"))
    go_on.set()
    replies = [until(store, tasks.StreamReady).reply for _ in range(2)]
    assert replies == ["a reply", "another's reply"]
    wait_until(lambda: numbers(folder) == list(range(30)) and not journals(folder), "the whole journal")


def test_a_daemon_that_stops_within_a_journal_leaves_the_rest_there(folder, monkeypatch):
    monkeypatch.setattr(taking, "PIECE_RECORDS", 1)
    monkeypatch.setattr(storing, "TAKE_IN_SECONDS", 0.0)
    write_journal(folder, *map(episode, range(200)))
    opened = Store(lambda _event: None, "a test")
    opened.put(tasks.OpenStreamTask(str(folder), stream(B, folder=str(folder)), PEER, (), "a reply"))
    opened.close()
    assert numbers(folder) == list(range(200))
    assert not (folder / "offcam.lock").exists()
    assert recover_folder(folder).outcome in ("lossless", "nothing")
    assert len(stored(folder)[0]) == 200
