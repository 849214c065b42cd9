"""An index as a file: opened and closed, damaged, of another version, and the names and sessions it gives."""

import contextlib
import os
import sqlite3
from pathlib import Path

import pytest

from offcam_proto.errors import FolderNotWritable, RunFolderError, RunFormatTooNew
from offcam_runs import filesystem, schema
from offcam_runs import format as fmt
from offcam_runs.database import open_to_read
from offcamd.store import index_file
from offcamd.store.index import RunIndex
from run_samples import PEER, A, episode, open_clip, packed, rows, stream


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
        schema, "_UPGRADES", {**schema._UPGRADES, version: ("ALTER TABLE episodes ADD COLUMN note TEXT DEFAULT 'new'",)}
    )
    with open_to_read(folder) as reader:  # a reader leaves the folder as it is
        assert reader.execute("SELECT episode, note FROM episodes").fetchall() == [(3, "new")]
    assert b"note TEXT" not in (folder / fmt.INDEX_NAME).read_bytes()
    index = RunIndex.open(folder)
    assert rows(index, "SELECT episode, note FROM episodes") == [(3, "new")]
    assert rows(index, "PRAGMA user_version") == [(version + 1,)]
    index.close()


def test_sessions_of_an_older_index_are_told_by_time(folder, monkeypatch):
    times = [(1, 9), (2, 3), (8, 12), (20, None), (21, 30), (31, 32), (None, None)]
    folder.mkdir(parents=True)
    with contextlib.closing(sqlite3.connect(folder / fmt.INDEX_NAME)) as database, monkeypatch.context() as older:
        older.setattr(fmt, "FORMAT_VERSION", 1)
        for statement in schema.upgrade_sql(0, str(folder)):
            database.execute(statement)
        database.executemany(
            "INSERT INTO streams (id, stream, env_id, num_envs, vector, prefix, suffix, video, host, pid, client,"
            " state, started, ended) VALUES (?, ?, '', 1, 0, '', 0, 0, '', 0, '', 'closed', ?, ?)",
            [(number, f"{number:032}", *span) for number, span in enumerate(times, 1)],
        )
        database.commit()
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
    assert opened(10, one, gone=[7, 8, 9]) == 5  # once more: the time before recorded nothing
    index.open_stream(stream(stream=b"\1" * 16, training=one), PEER)  # again, after a reconnection
    found = rows(index, "SELECT session FROM streams ORDER BY id")
    assert [session for (session,) in found] == [1, 1, 2, 2, 1, 1, 3, 4, 5, 5]
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


def opened_again(index, stream_id):
    return index.open_stream(stream(stream=stream_id, resumes=True, suffix=2), PEER).suffix


def test_who_replays_a_stream_has_its_names_and_its_session(index):
    first, second, third = (bytes([number]) * 16 for number in (1, 2, 3))
    index.open_stream(stream(stream=first, training=b"t" * 16), PEER)
    index.clip_opened(first, open_clip(0), "rl-video-episode-0.mp4")
    index.close_stream(first)
    assert index.open_stream(stream(stream=second), PEER).suffix == 2
    index.close_stream(second)
    for replayed, suffix, session in ((first, 0, 1), (second, 2, 2), (b"n" * 16, 3, 3)):
        own = bytes([100 + session]) * 16
        assert index.open_stream(stream(stream=own, replays=replayed), PEER).suffix == suffix
        index.clip_opened(own, open_clip(0), f"{session}.mp4")
        *_, found = rows(index, "SELECT session, replays FROM streams ORDER BY id")
        assert found == (session, replayed.hex())
        index.close_stream(own)
    index.open_stream(stream(stream=b"r" * 16, replays=second), PEER)
    assert opened_again(index, third) == 2, "who replays is not in its way"
