"""What is pending is read as if it were in the index already."""

import contextlib
import json
import shutil
import time
from collections import OrderedDict

import pytest

from journal_samples import frame, journal_bytes, write_journal
from offcam_proto.codec import pack_record
from offcam_proto.errors import NotARunFolder
from offcam_runs import pending
from offcam_runs.database import open_to_read
from offcam_runs.discover import matching, run_folders
from offcam_runs.file_lock import FileLock
from offcam_runs.folder_lock import FolderLock
from offcam_runs.pending import committed
from offcam_runs.run import read_run
from offcamd.store.index import RunIndex
from offcamd.store.recovery import recover_folder
from run_samples import PEER, A, B, clip, episode, open_clip, packed, stream


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "run"
    path.mkdir()
    return path


def files(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_run_without_any_index_is_read_from_its_journals(folder):
    write_journal(folder, *map(episode, range(5)), clip(0))
    before = files(folder)
    run = read_run(folder)
    assert [row.episode for row in run.episodes] == [0, 1, 2, 3, 4]
    assert run.episodes.summary().mean == 12.0
    (video,) = run.clips
    assert (video.state, video.file, video.offered, video.dropped) == ("aborted", None, 21, {"lost": 21})
    (found,) = run.streams
    assert (found.stream, found.state, found.env_id) == (A.hex(), "lost", "CartPole-v1")
    assert json.dumps(run.as_dict())
    assert files(folder) == before  # a reader leaves the folder as it is


def test_what_the_index_has_counts_once(folder):
    index = RunIndex.open(folder)
    index.open_stream(stream(), PEER)
    index.apply(A, 1, packed(episode(0), episode(1), episode(2)))
    write_journal(folder, *map(episode, range(5)))
    assert [row.episode for row in read_run(folder).episodes] == [0, 1, 2, 3, 4]
    write_journal(folder, episode(1), episode(2), first_seq=2)  # nothing new
    with open_to_read(folder) as database:
        assert database.execute("PRAGMA database_list").fetchone()[2]  # the index itself
        assert committed(database) == 3
    index.close()
    assert read_run(folder).streams[0].host == PEER.host


def test_new_episodes_are_behind_those_of_the_index(folder):
    index = RunIndex.open(folder)
    index.open_stream(stream(), PEER)
    index.apply(A, 1, packed(episode(0)))
    index.close()
    write_journal(folder, episode(1), opening=stream(B, env_id="Other-v0"))
    write_journal(folder, episode(1), first_seq=2)
    run = read_run(folder)
    assert [run.streams[row.stream].stream for row in run.episodes] == [A.hex(), A.hex(), B.hex()]
    assert run.episodes.number.tolist() == [0, 1, 2]
    with open_to_read(folder) as database:
        assert committed(database) == 1


def test_a_pending_account_of_a_clip_completes_it(folder):
    index = RunIndex.open(folder)
    index.open_stream(stream(), PEER)
    index.clip_opened(A, open_clip(0), "rl-video-episode-0.mp4")
    write_journal(folder, clip(0))
    (found,) = read_run(folder).clips
    assert (found.state, found.offered, found.complete, found.length) == ("recording", 21, True, 20)
    index.close()


def test_reading_agrees_with_what_is_taken_in(folder):
    write_journal(folder, *(episode(n, started=10.0 * n) for n in range(4)), clip(0))
    write_journal(folder, *(episode(n, started=10.0 * n + 5) for n in range(4)), opening=stream(B, started=999.0))
    pending = read_run(folder).as_dict()
    recover_folder(folder)
    assert not (folder / "offcam.pending").exists()
    taken_in = read_run(folder).as_dict()
    assert (pending.pop("pending"), taken_in.pop("pending")) == (8, 0)
    assert taken_in == pending


def test_a_record_that_nobody_understands_is_counted(folder):
    path = write_journal(folder, episode(0))
    body = pack_record(episode(1)).replace(b"\xc3", b"\xc4", 1)
    path.write_bytes(journal_bytes(stream(), episode(0)) + frame(2, body))
    run = read_run(folder)
    assert (len(run.episodes), run.quarantined) == (1, 1)


def test_folders_with_journals_alone_are_runs(tmp_path):
    for name in ("a", "b"):
        write_journal(tmp_path / name, episode())
    (tmp_path / "c" / "offcam.pending").mkdir(parents=True)
    assert run_folders([tmp_path]) == [[tmp_path / "a", tmp_path / "b"]]
    assert matching([str(tmp_path / "*")]) == [str(tmp_path / "a"), str(tmp_path / "b")]
    with pytest.raises(NotARunFolder):
        read_run(tmp_path / "c")


def test_who_asks_again_and_again_is_spared_what_is_on_its_way(folder):
    index = RunIndex.open(folder)
    index.open_stream(stream(), PEER)
    index.close()
    path = write_journal(folder, episode(0, started=time.time(), duration=0.0))

    def seen():
        with open_to_read(folder, settled=True) as database:
            return database.execute("SELECT count(*) FROM episodes").fetchone()[0]

    assert seen() == 1
    writer, client = FolderLock.acquire(folder, "a test"), FileLock.take(path, 0o600)
    assert seen() == 0  # in a moment it is in the index
    assert len(read_run(folder).episodes) == 1
    client.release()
    assert seen() == 1  # its client died
    client = FileLock.take(path, 0o600)
    writer.release()
    assert seen() == 1  # nobody takes it in
    writer = FolderLock.acquire(folder, "a test")
    shutil.rmtree(path.parent)
    path = write_journal(folder, episode(0, started=time.time() - 60, duration=0.0))
    late = FileLock.take(path, 0o600)
    assert seen() == 1  # it waits for too long
    for lock in (writer, client, late):
        lock.release()


# --- journals that had no place in their folder -----------------------------------------------------------


@pytest.fixture
def state(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state" / "offcam"


def test_what_had_no_place_in_the_folder_is_read_and_taken_in_by_it(tmp_path, state):
    folder = tmp_path / "run"
    path = write_journal(state, episode(0), opening=stream(folder=str(folder)))
    write_journal(state, episode(7), opening=stream(B, folder=str(tmp_path / "another")))
    assert [row.episode for row in read_run(folder).episodes] == [0]
    assert not folder.exists()
    assert recover_folder(folder).outcome == "lossless"
    assert not path.exists()
    assert [row.episode for row in read_run(folder).episodes] == [0]
    assert [row.episode for row in read_run(tmp_path / "another").episodes] == [7]


def test_what_a_daemon_of_another_host_has_the_rest_of_is_left_to_it(tmp_path, state):
    folder = tmp_path / "run"
    path = write_journal(state, episode(5), opening=stream(folder=str(folder)), first_seq=6)
    index = RunIndex.open(folder)
    index.close()
    assert len(read_run(folder).episodes) == 0
    assert recover_folder(folder).outcome == "nothing"
    assert path.exists()
    index = RunIndex.open(folder)
    index.open_stream(stream(), PEER)  # it was of this folder, which became full
    index.apply(A, 1, packed(*map(episode, range(5))))
    index.close()
    assert [row.episode for row in read_run(folder).episodes] == list(range(6))
    assert recover_folder(folder).outcome == "lossless"


def test_what_others_may_have_written_is_passed_over(tmp_path, state):
    folder = tmp_path / "run"
    write_journal(state, episode(0), opening=stream(folder=str(folder)))
    (state / "offcam.pending").chmod(0o777)
    with pytest.raises(NotARunFolder):
        read_run(folder)


# --- one look after the other ---------------------------------------------------------------------------------


@pytest.fixture
def put(monkeypatch):
    """How many records each look puts into its copy."""
    counts = []
    add = pending.add_records

    def counting(database, records, add_steps):
        several = list(records)
        counts.append(len(several))
        return add(database, several, add_steps)

    monkeypatch.setattr(pending, "add_records", counting)
    monkeypatch.setattr(pending, "_copies", OrderedDict())
    return counts


def look(folder):
    """What the page sees: each episode with its stream, and whether that is live."""
    query = "SELECT stream, state, seq, episode FROM episodes e JOIN streams s ON s.id = stream_id ORDER BY e.id"
    with open_to_read(folder, settled=True) as database:
        return database.execute(query).fetchall()


def test_the_next_look_adds_what_is_new(folder, put):
    write_journal(folder, *map(episode, range(3)))
    write_journal(folder, episode(0), opening=stream(B))
    assert look(folder) == look(folder)
    write_journal(folder, *map(episode, range(5)))
    seen = look(folder)
    assert put == [4, 0, 2]
    assert sorted(row[2:] for row in seen if row[0] == A.hex()) == [(number + 1, number) for number in range(5)]
    pending._copies.clear()
    assert sorted(look(folder)) == sorted(seen)


def test_a_look_takes_nothing_for_granted_once_the_index_or_a_journal_is_another(folder, put):
    write_journal(folder, *map(episode, range(3)))
    look(folder)
    index = RunIndex.open(folder)
    index.open_stream(stream(), PEER)
    index.apply(A, 1, packed(*map(episode, range(2))))
    assert [row[2] for row in look(folder)] == [1, 2, 3]
    write_journal(folder, episode(2), episode(3), first_seq=3)
    assert [row[2] for row in look(folder)] == [1, 2, 3, 4]
    index.apply(A, 3, packed(episode(2)))
    assert [row[2] for row in look(folder)] == [1, 2, 3, 4]
    index.close()
    assert put == [3, 1, 2, 1]


def test_of_many_runs_the_last_copies_are_kept(tmp_path, put, monkeypatch):
    folders = [tmp_path / str(number) for number in range(pending.MOST_COPIES + 1)]
    for each in folders:
        each.mkdir()
        write_journal(each, episode(0))
        look(each)
    assert list(pending._copies) == folders[1:]
    monkeypatch.setattr(pending, "KEPT_BYTES", 0)
    look(folders[1])
    assert list(pending._copies) == folders[2:]


def test_what_a_reader_puts_before_the_tables_is_its_own(folder, put):
    write_journal(folder, *map(episode, range(2)))
    with open_to_read(folder, settled=True) as database:
        database.execute("CREATE TEMP VIEW episodes AS SELECT * FROM main.episodes WHERE seq = 1")  # as for a session
        assert len(database.execute("SELECT * FROM episodes").fetchall()) == 1
    write_journal(folder, *map(episode, range(3)))
    assert [row[2] for row in look(folder)] == [1, 2, 3]
    assert put == [2, 1]


def test_a_stream_that_has_ended_is_seen_to(folder, put):
    path = write_journal(folder, episode(0))
    with contextlib.ExitStack() as stack:
        lock = FileLock.take(path, 0o644)
        stack.callback(lock.release)
        assert [row[1] for row in look(folder)] == ["live"]
    assert [row[1] for row in look(folder)] == ["lost"]
