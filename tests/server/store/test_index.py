import json
import math
import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offcam_proto.errors import (
    FolderNotWritable,
    LocalProtocolError,
    RemoteProtocolError,
    RunFolderError,
    RunFormatTooNew,
)
from offcam_proto.records import ClipRecord
from offcam_runs import filesystem
from offcam_runs import format as fmt
from offcam_runs.database import open_to_read
from offcam_runs.encoded_result import EncodedResult
from offcam_runs.totals import run_totals
from offcamd.store import index_file
from offcamd.store.index import OpenedClip, RunIndex
from run_samples import PEER, A, B, clip, columns, episode, open_clip, packed, stream


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "runs" / "cart pole #1?"


@pytest.fixture
def index(folder):
    opened = RunIndex.open(folder)
    yield opened
    opened.close()


def rows(index, query):
    """What another program sees: only what is committed."""
    connection = sqlite3.connect(index.folder / fmt.INDEX_NAME)
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


def counts(index, number=0):
    query = "SELECT offered, received, encoded, dropped, state FROM clips WHERE clip = "
    ((*numbers, dropped, state),) = rows(index, query + str(number))
    return *numbers, json.loads(dropped), state


# --- opening and closing ----------------------------------------------------------------------------------


def test_opening_twice_keeps_everything(folder):
    first = RunIndex.open(folder)
    first.open_stream(stream(), PEER)
    first.apply(A, 1, packed(episode(0), episode(1)))
    created = rows(first, "SELECT * FROM meta ORDER BY key")
    first.close()
    second = RunIndex.open(folder)
    assert second.open_stream(stream(), PEER).last_seq == 2
    assert rows(second, "SELECT * FROM meta ORDER BY key") == created
    second.close()


def test_a_closed_index_is_one_plain_file(folder):
    index = RunIndex.open(folder)
    index.open_stream(stream(), PEER)
    index.apply(A, 1, packed(episode()))
    index.close()
    index.close()
    assert [path.name for path in folder.iterdir()] == [fmt.INDEX_NAME]
    header = (folder / fmt.INDEX_NAME).read_bytes()[:20]
    assert header[18:20] == b"\x01\x01"  # not in WAL mode, so it can be read where nobody may write


def test_closing_while_somebody_reads_loses_nothing(folder):
    index = RunIndex.open(folder)
    index.open_stream(stream(), PEER)
    with open_to_read(folder, session="all") as reader:
        reader.execute("SELECT * FROM episodes").fetchall()
        index.apply(A, 1, packed(episode()))
        index.close()
        assert reader.execute("SELECT count(*) FROM episodes").fetchone() == (0,)  # its own moment
    with open_to_read(folder, session="all") as reader:
        assert reader.execute("SELECT count(*) FROM episodes").fetchone() == (1,)


def test_local_file_systems_get_a_wal_others_a_synced_journal(folder, monkeypatch):
    for works, journal, level in ((True, "wal", 1), (False, "delete", 2)):
        monkeypatch.setattr(index_file, "wal_works_on", lambda _, works=works: works)
        index = RunIndex.open(folder)
        index.open_stream(stream(), PEER)
        assert index._db.execute("PRAGMA journal_mode").fetchone() == (journal,)
        assert index._db.execute("PRAGMA synchronous").fetchone() == (level,)
        index.close()


@pytest.mark.parametrize(
    ("folder", "expected"),
    [
        ("/home/me/run", "ext4"),
        ("/net/home/run", "nfs4"),
        ("/net/home", "nfs4"),
        ("/network", "ext4"),
        ("/my disk/run", "xfs"),
    ],
)
def test_filesystem_types(tmp_path, folder, expected):
    mounts = tmp_path / "mounts"
    mounts.write_text(
        "rootfs / rootfs rw 0 0\n/dev/vda / ext4 rw 0 0\nsrv:/h /net/home nfs4 rw 0 0\n"
        "/dev/sdb /my\\040disk xfs rw 0 0\n"
    )
    assert filesystem.filesystem_type(Path(folder), mounts) == expected
    assert filesystem.wal_works_on(Path(folder), mounts) is (expected != "nfs4")


def test_an_unknown_file_system_gets_no_wal(tmp_path):
    assert filesystem.wal_works_on(tmp_path, tmp_path / "no-mounts") is False


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(FolderNotWritable, match=r"file/run .*Not a directory"):
        RunIndex.open(tmp_path / "file" / "run")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_or_index_that_may_not_be_written(folder):
    RunIndex.open(folder).close()
    (folder / fmt.INDEX_NAME).chmod(0o444)
    with pytest.raises(FolderNotWritable, match="make it writable"):
        RunIndex.open(folder)
    (folder / fmt.INDEX_NAME).unlink()
    folder.chmod(0o555)
    with pytest.raises(FolderNotWritable, match="make it writable"):
        RunIndex.open(folder)


def test_a_newer_index_is_refused_and_left_alone(folder):
    RunIndex.open(folder).close()
    path = folder / fmt.INDEX_NAME
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {fmt.FORMAT_VERSION + 1}")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(RunFormatTooNew, match="upgrade offcam"):
        RunIndex.open(folder)
    assert path.read_bytes() == before


def test_an_older_index_is_upgraded(folder, monkeypatch):
    index = RunIndex.open(folder)
    index.open_stream(stream(), PEER)
    index.apply(A, 1, packed(episode(3)))
    index.close()
    version = fmt.FORMAT_VERSION
    monkeypatch.setattr(fmt, "FORMAT_VERSION", version + 1)
    monkeypatch.setattr(
        fmt, "_UPGRADES", {**fmt._UPGRADES, version: ("ALTER TABLE episodes ADD COLUMN note TEXT DEFAULT 'new'",)}
    )
    with open_to_read(folder) as reader:  # a reader leaves the folder as it is
        assert reader.execute("SELECT episode, note FROM episodes").fetchall() == [(3, "new")]
    assert b"note TEXT" not in (folder / fmt.INDEX_NAME).read_bytes()
    index = RunIndex.open(folder)
    assert rows(index, "SELECT episode, note FROM episodes") == [(3, "new")]
    assert rows(index, "PRAGMA user_version") == [(version + 1,)]
    index.close()


def test_sessions_of_an_older_index_are_told_by_time(folder, monkeypatch):
    monkeypatch.setattr(fmt, "FORMAT_VERSION", 1)
    index = RunIndex.open(folder)
    times = [(1, 9), (2, 3), (8, 12), (20, None), (21, 30), (31, 32), (None, None)]
    index._db.executemany(
        "INSERT INTO streams (id, stream, env_id, num_envs, vector, prefix, suffix, video, host, pid, client, state,"
        " started, ended) VALUES (?, ?, '', 1, 0, '', 0, 0, '', 0, '', 'closed', ?, ?)",
        [(number, f"{number:032}", *span) for number, span in enumerate(times, 1)],
    )
    index.close()
    monkeypatch.undo()
    with open_to_read(folder, session="all") as reader:
        found = [session for (session,) in reader.execute("SELECT session FROM streams ORDER BY id")]
    assert found == [1, 1, 1, 2, 3, 4, 1]


def test_a_stream_is_in_its_trainings_session_else_in_the_live_one_else_in_a_new_one(folder):
    index = RunIndex.open(folder)
    one, two = b"1" * 16, b"2" * 16

    def opened(number, training=bytes(16), prefix="rl-video", gone=()):
        message = stream(stream=bytes([number]) * 16, training=training, prefix=prefix)
        index.open_stream(message, PEER, [bytes([other] * 16).hex() for other in gone])
        return rows(index, "SELECT session FROM streams ORDER BY id DESC LIMIT 1")[0][0]

    assert opened(1, one) == 1
    assert opened(2, two) == 1  # they overlap
    index.close_stream(b"\1" * 16)
    index.close_stream(b"\2" * 16)
    assert opened(3) == 2
    assert opened(4) == 2
    assert opened(5, one, "eval") == 1  # later, but of the same training
    assert opened(6, one) == 1  # of which something is open
    index.apply(b"\6" * 16, 1, packed(episode()))
    for number in (3, 4, 5, 6):
        index.close_stream(bytes([number]) * 16)
    assert opened(7) == 3
    assert opened(8, gone=[7]) == 4  # what a killed client left counts as open no more
    assert opened(9, one, gone=[7, 8]) == 5  # a cell that is run again
    index.open_stream(stream(stream=b"\1" * 16, training=one), PEER)  # again, after a reconnection
    found = rows(index, "SELECT session FROM streams ORDER BY id")
    assert [session for (session,) in found] == [1, 1, 2, 2, 1, 1, 3, 4, 5]
    three, gone = b"3" * 16, range(10)
    assert opened(10, three, gone=gone) == 6
    index.close_stream(b"\n" * 16)
    assert opened(11, three, gone=gone) == 6  # the one before recorded nothing
    index.apply(b"\v" * 16, 1, packed(episode()))
    index.close_stream(b"\v" * 16)
    assert opened(12, three, gone=gone) == 7
    index.close()


@pytest.mark.parametrize("content", [b"this is no database, but text" * 100, b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_damaged_index(folder, content):
    folder.mkdir(parents=True)
    (folder / fmt.INDEX_NAME).write_bytes(content)
    with pytest.raises(RunFolderError, match=f"damaged.*move {fmt.INDEX_NAME} away"):
        RunIndex.open(folder)


def test_another_programs_database(folder):
    folder.mkdir(parents=True)
    connection = sqlite3.connect(folder / fmt.INDEX_NAME)
    connection.execute("CREATE TABLE mine (x)")
    connection.close()
    with pytest.raises(RunFolderError, match="another program"):
        RunIndex.open(folder)


def test_an_empty_index_file_is_made_whole(folder):
    folder.mkdir(parents=True)
    (folder / fmt.INDEX_NAME).touch()
    index = RunIndex.open(folder)
    assert index.open_stream(stream(), PEER).last_seq == 0
    index.close()


def test_names_of_files_are_never_used_twice(index):
    def opened(number, **more):
        return index.open_stream(stream(stream=bytes([number]) * 16, **more), PEER).suffix

    assert [opened(1), opened(2), opened(3, prefix="eval"), opened(4, prefix="", video=False)] == [0, 2, 0, 0]
    index.clip_opened(b"\1" * 16, open_clip(0), "rl-video-episode-0.mp4")
    for number in (1, 2, 3):
        index.close_stream(bytes([number]) * 16)
    assert opened(5) == 2  # the second has no video
    assert opened(6, suffix=2) == 3
    assert opened(2) == 4  # it comes back, and its place is taken
    assert opened(1) == 0


# --- streams and records ----------------------------------------------------------------------------------


def test_a_stream_is_opened_again_and_closed(index):
    assert index.open_stream(stream(suffix=2), PEER) == (0, 2)
    index.apply(A, 1, packed(episode()))
    index.close_stream(A, lost=True)
    query = "SELECT stream, env_id, suffix, pid, last_seq, state, ended IS NULL FROM streams"
    assert rows(index, query) == [(A.hex(), "CartPole-v1", 2, 4711, 1, "lost", 0)]
    assert index.live_streams() == []
    assert index.open_stream(stream(), PEER) == (1, 2)
    assert rows(index, query) == [(A.hex(), "CartPole-v1", 2, 4711, 1, "live", 1)]
    assert index.live_streams() == [A]
    index.close_stream(A)
    assert rows(index, "SELECT state FROM streams") == [("closed",)]


def test_episodes_are_stored_as_they_are(index):
    index.open_stream(stream(), PEER)
    records = [
        episode(0, return_=math.nan, duration=math.nan),
        episode(1, return_=-math.inf, terminated=False, truncated=True),
        episode(2, seed=str(2**70), length=2**63 - 1),
        episode(3, seed=None, env_index=7),
    ]
    applied = index.apply(A, 1, packed(*records))
    assert applied.last_seq == 4
    assert applied.episodes == len(records)
    query = "SELECT return, length, duration, terminated, truncated, seed, env_index FROM episodes ORDER BY seq"
    assert rows(index, query) == [
        (None, 20, None, 1, 0, 0, 0),
        (-math.inf, 21, 0.5, 0, 1, 1, 0),
        (12.0, 2**63 - 1, 0.5, 1, 0, str(2**70), 0),
        (13.0, 23, 0.5, 1, 0, None, 7),
    ]


@given(st.lists(st.tuples(st.integers(0, 11), st.integers(1, 12)), max_size=8))
def test_every_record_counts_once_however_often_it_is_sent(tmp_path_factory, slices):
    records = [clip(0, dropped={"credit": 1}), *map(episode, range(10)), clip(1)]
    index = RunIndex.open(tmp_path_factory.mktemp("run"))
    index.open_stream(stream(), PEER)
    last = 0
    for start, size in [*slices, (0, 12)]:
        bodies = packed(*records[start : start + size])
        if start > last:
            with pytest.raises(RemoteProtocolError, match=f"records {last + 1} to {start} "):
                index.apply(A, start + 1, bodies)
            continue
        applied = index.apply(A, start + 1, bodies)
        fresh = records[last : start + size]
        assert applied.clips == [record for record in fresh if isinstance(record, ClipRecord)]
        assert applied.episodes == len(fresh) - len(applied.clips)
        last = max(last, start + len(bodies))
        assert applied.last_seq == last
    assert rows(index, "SELECT seq, episode FROM episodes ORDER BY id") == [(n + 2, n) for n in range(10)]
    assert rows(index, "SELECT clip, offered FROM clips ORDER BY clip") == [(0, 21), (1, 21)]
    assert rows(index, "SELECT last_seq FROM streams") == [(12,)]
    index.close()


def test_columns_are_as_many_rows_each_once(index):
    index.open_stream(stream(), PEER)
    bodies = packed(episode(0), columns(), episode(1))
    assert index.apply(A, 1, bodies[:2]).episodes == 3
    applied = index.apply(A, 1, bodies)
    assert (applied.episodes, applied.last_seq) == (1, 4)
    assert index.apply(A, 2, bodies[1:]).episodes == 0
    query = (
        "SELECT seq, env_index, episode, return, length, duration, started, terminated, truncated, seed FROM episodes"
    )
    assert rows(index, f"{query} WHERE seq IN (2, 3) ORDER BY id") == [
        (2, 3, 0, 20.0, 20, 0.25, 1010.25, 1, 0, 0),
        (3, 4095, 41, -math.inf, 1, 0.5, 1010.0, 0, 1, None),
    ]


def test_columns_that_cannot_be_understood_take_their_numbers_with_them(index):
    index.open_stream(stream(), PEER)
    body = packed(columns())[0][:-1]
    bodies = [*packed(episode(0)), body, *packed(episode(1))]
    applied = index.apply(A, 1, bodies)
    assert (applied.episodes, applied.quarantined, applied.last_seq) == (2, 2, 4)
    assert rows(index, "SELECT seq, body FROM quarantine") == [(2, body)]
    assert rows(index, "SELECT seq FROM episodes") == [(1,), (4,)]


def test_poison_is_set_aside_alone(index):
    index.open_stream(stream(), PEER)
    unknown_reason = packed(clip(5, dropped={"gremlins": 1}))[0]
    bodies = [*packed(episode(0)), b"\xc1", b"\x92\x63\x00", unknown_reason, *packed(episode(1))]
    applied = index.apply(A, 1, bodies)
    assert applied.last_seq == 5
    assert applied.quarantined == 3
    assert applied.clips == []
    assert rows(index, "SELECT seq, episode FROM episodes") == [(1, 0), (5, 1)]
    stored = rows(index, "SELECT seq, body, reason FROM quarantine ORDER BY seq")
    assert [(seq, body) for seq, body, _ in stored] == [(2, b"\xc1"), (3, b"\x92\x63\x00"), (4, unknown_reason)]
    assert "msgpack" in stored[0][2]
    assert "gremlins" in stored[2][2]
    assert index.apply(A, 1, bodies).quarantined == 0


def test_a_stream_that_was_never_opened(index):
    with pytest.raises(LocalProtocolError, match="never opened"):
        index.apply(A, 1, packed(episode()))
    with pytest.raises(LocalProtocolError, match="never opened"):
        index.close_stream(A)


def test_one_transaction_over_streams_is_all_or_nothing(index):
    index.open_stream(stream(A), PEER)
    index.open_stream(stream(B), PEER)

    def interrupted():
        with index.transaction():
            index.apply(A, 1, packed(episode()))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert rows(index, "SELECT count(*) FROM episodes") == [(0,)]
    with index.transaction():
        assert index.apply(A, 1, packed(episode())).last_seq == 1
        with pytest.raises(RemoteProtocolError):  # one stream's breach is not the others'
            index.apply(B, 5, packed(episode()))
        assert rows(index, "SELECT count(*) FROM episodes") == [(0,)]
    assert rows(index, "SELECT count(*) FROM episodes") == [(1,)]


def test_an_index_that_cannot_be_written_says_so_and_keeps_nothing(index):
    index.open_stream(stream(), PEER)
    pages = index._db.execute("PRAGMA page_count").fetchone()[0]
    index._db.execute(f"PRAGMA max_page_count = {pages}")  # SQLite's own "disk is full"
    bodies = packed(*(episode(n) for n in range(2000)))
    with pytest.raises(RunFolderError, match="full"):
        index.apply(A, 1, bodies)
    index._db.execute("PRAGMA max_page_count = 100000")
    assert index.apply(A, 1, bodies).last_seq == 2000
    assert rows(index, "SELECT count(*) FROM episodes") == [(2000,)]


def test_committed_records_survive_the_death_of_the_daemon(folder):
    code = f"""
        import pathlib, sys
        from run_samples import *
        from offcamd.store.index import RunIndex
        index = RunIndex.open(pathlib.Path({str(folder)!r}))
        index.open_stream(stream(), PEER)
        index.apply(A, 1, packed(episode(0), episode(1)))
        with index.transaction():
            index.apply(A, 3, packed(episode(2)))
            print("ready", flush=True)
            sys.stdin.read()
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    ) as daemon:
        assert daemon.stdout.readline() == b"ready\n"
        daemon.send_signal(signal.SIGKILL)
        daemon.wait()
    index = RunIndex.open(folder)
    assert index.live_streams() == [A]
    assert index.open_stream(stream(), PEER).last_seq == 2
    assert index.apply(A, 2, packed(episode(1), episode(2))).episodes == 1
    assert run_totals(index._db).total().episodes == 3
    index.close()


def test_totals_are_read_back(index):
    index.open_stream(stream(A), PEER)
    index.open_stream(stream(B), PEER)
    index.apply(A, 1, packed(episode(0), episode(1, return_=math.nan)))
    index.apply(B, 1, packed(episode(4)))
    index.apply(A, 3, packed(episode(2)))
    run = run_totals(index._db)
    assert {key: value.episodes for key, value in run.streams.items()} == {A.hex(): 3, B.hex(): 1}
    assert [length for _, length in run.recent] == [20, 21, 24, 22]
    assert run.as_dict()["non_finite"] == 1
    assert run.as_dict()["return"]["max"] == 14.0


# --- clips ------------------------------------------------------------------------------------------------

ENDED = EncodedResult("final", "x.mp4", 15, {"io": 2}, 600, 400, 4321, 0.5, 0.02)


@pytest.mark.parametrize("record_first", [False, True])
def test_the_halves_of_an_account_in_either_order(index, record_first):
    index.open_stream(stream(), PEER)
    index.clip_opened(A, open_clip(), "x.mp4")
    assert counts(index) == (0, 0, 0, {}, "recording")
    bodies = packed(clip(dropped={"credit": 3}))
    if record_first:
        index.apply(A, 1, bodies)
        assert counts(index) == (21, 0, 0, {"credit": 3}, "recording")
        index.clip_encoded(A, 0, ENDED)
    else:
        index.clip_encoded(A, 0, ENDED)
        assert counts(index) == (17, 17, 15, {"io": 2}, "final")
        index.apply(A, 1, bodies)
    assert counts(index) == (21, 17, 15, {"credit": 3, "io": 2, "lost": 1}, "final")
    query = "SELECT file, fps, width, height, file_bytes, duration, encode_seconds, steps, return FROM clips"
    assert rows(index, query) == [("x.mp4", 30.0, 600, 400, 4321, 0.5, 0.02, 20, 9.0)]


def test_a_clip_the_daemon_never_saw_is_accounted_for(index):
    index.open_stream(stream(), PEER)
    index.apply(A, 1, packed(clip(dropped={"no_daemon": 20}, return_=math.nan)))
    assert counts(index) == (21, 0, 0, {"no_daemon": 20, "lost": 1}, "aborted")
    assert rows(index, "SELECT file, return, complete FROM clips") == [(None, None, 1)]


def test_a_clip_opened_after_its_record_is_recorded_after_all(index):
    index.open_stream(stream(), PEER)
    assert index.apply(A, 1, packed(clip())).lost == [21]
    assert index.clip_opened(A, open_clip(), "x.mp4") == 21
    assert counts(index) == (21, 0, 0, {}, "recording")
    index.clip_encoded(A, 0, EncodedResult("final", "x.mp4", 21))
    assert counts(index) == (21, 21, 21, {}, "final")


def test_a_second_account_of_a_clip_takes_the_place_of_the_first(index):
    """Of those that were lost with a daemon, another one has recorded most."""
    index.open_stream(stream(), PEER)
    index.clip_opened(A, open_clip(), "x.mp4")
    index.apply(A, 1, packed(clip()))
    index.clip_encoded(A, 0, EncodedResult("recovered", "x.mp4", 5))
    assert counts(index) == (21, 5, 5, {"lost": 16}, "recovered")
    applied = index.apply(A, 2, packed(clip(offered=6), clip(clip=1, offered=15)))
    assert applied.lost == [-15, 15]
    assert counts(index) == (6, 5, 5, {"lost": 1}, "recovered")


def test_opening_a_clip_twice_changes_nothing(index):
    index.open_stream(stream(), PEER)
    index.clip_opened(A, open_clip(), "x.mp4")
    index.clip_opened(A, open_clip(), "x.mp4")
    index.clip_encoded(A, 0, ENDED)
    before = rows(index, "SELECT * FROM clips")
    index.clip_opened(A, open_clip(), "x.mp4")
    assert rows(index, "SELECT * FROM clips") == before


def test_a_recovered_clip_replaces_what_was_known(index):
    index.open_stream(stream(), PEER)
    index.clip_opened(A, open_clip(), "x.mp4")
    index.apply(A, 1, packed(clip()))
    assert index.open_clips() == [OpenedClip(A, 0, "x.mp4", 1000.5)]
    index.clip_encoded(A, 0, EncodedResult("recovered", "x.mp4", 18, error="the daemon died"))
    assert index.open_clips() == []
    assert counts(index) == (21, 18, 18, {"lost": 3}, "recovered")
    assert rows(index, "SELECT error FROM clips") == [("the daemon died",)]


def test_a_clip_without_a_file(index):
    index.open_stream(stream(), PEER)
    index.clip_opened(A, open_clip(), "x.mp4")
    index.clip_encoded(A, 0, EncodedResult("aborted", None, 0, {"disk_full": 4}, error="no space left"))
    assert counts(index) == (4, 4, 0, {"disk_full": 4}, "aborted")
    assert rows(index, "SELECT file, width FROM clips") == [(None, None)]


def test_a_file_of_an_earlier_clip_is_replaced(index):
    index.open_stream(stream(A), PEER)
    index.open_stream(stream(B), PEER)
    index.clip_opened(A, open_clip(), "x.mp4")
    index.clip_encoded(A, 0, ENDED)
    index.clip_opened(B, open_clip(3), "x.mp4")
    assert counts(index)[-1] == "final"  # until the new one is whole
    index.clip_encoded(B, 3, ENDED)
    assert counts(index) == (17, 17, 15, {"io": 2}, "replaced")
    assert counts(index, 3)[-1] == "final"
    assert rows(index, "SELECT clip FROM clips WHERE file = 'x.mp4'") == [(3,)]


def test_an_encoded_clip_must_have_been_opened(index):
    index.open_stream(stream(), PEER)
    with pytest.raises(LocalProtocolError, match=r"clip 9 .* never opened"):
        index.clip_encoded(A, 9, ENDED)
    with pytest.raises(LocalProtocolError, match="gremlins"):
        index.clip_encoded(A, 9, EncodedResult("final", "x.mp4", 0, {"gremlins": 1}))
