"""The totals that an index keeps: whoever counts on from them comes to the same numbers, and soon."""

from __future__ import annotations

import json
import math
from collections import Counter
from contextlib import suppress

import pytest

from offcam_runs.database import open_to_read
from offcam_runs.format import INDEX_NAME, TOTALS_KEY
from offcam_runs.run import read_run
from offcam_runs.totals import KEEP_EPISODES, RECENT_STREAMS, RunTotals, run_totals
from offcamd.store import index_file
from offcamd.store.index import RunIndex
from offcamd.store.store import COUNT_EPISODES, Store
from offcamd.store.tasks import CloseStreamTask, OpenStreamTask, RecordsTask
from offcamd.web.reading import AskedRun
from offcamd.web.runs import RunDescriptions
from offcamd.web.source import FolderSource
from run_samples import PEER, A, B, episode, packed, stream
from waiting import wait_until

EPISODES = """
WITH RECURSIVE numbers (number) AS (SELECT 1 UNION ALL SELECT number + 1 FROM numbers WHERE number < :count)
INSERT INTO episodes (stream_id, seq, env_index, episode, return, length, duration, started, terminated, truncated)
SELECT 1 + number % 3, number, 0, number,
    CASE number % 97 WHEN 0 THEN NULL WHEN 1 THEN 9e999 ELSE (number * 7919) % 1013 / 7.0 END, 1 + number % 500,
    CASE number % 89 WHEN 0 THEN NULL ELSE number % 13 / 3.0 END, number, 1, 0
FROM numbers
"""


def made(folder, count):
    """A run with so many episodes of three streams, whose index keeps no totals, as an earlier version wrote it."""
    index = RunIndex.open(folder)
    for number in range(3):
        index.open_stream(stream(bytes([number]) * 16), PEER)
    for number in range(3):
        index.close_stream(bytes([number]) * 16)
    index._db.execute(EPISODES, {"count": count})
    index._db.execute("UPDATE streams SET last_seq = :count", {"count": count})
    index.close()
    return folder


def everything(totals):
    return totals.as_dict(), {name: each.as_dict() for name, each in totals.streams.items()}


@pytest.fixture
def statements(monkeypatch):
    """How much SQLite does for an index: instructions of its virtual machine, by hundreds, and rows that it gives."""
    done = Counter()
    plain = index_file.connect

    def counting(*args, **kwargs):
        database = plain(*args, **kwargs)
        database.set_progress_handler(lambda: done.update(hundreds=1), 100)

        def row(_cursor, values):
            done["rows"] += 1
            return values

        database.row_factory = row
        return database

    monkeypatch.setattr(index_file, "connect", counting)
    return done


def opened_for(folder, done):
    """What it takes to open a run and record one episode into it."""
    done.clear()
    events = []

    def told(_event):  # on the store's thread, which counts on as soon as this returns
        events.append(dict(done))

    store = Store(told, "test")
    store.put(OpenStreamTask(str(folder), stream(), PEER, (), "opened"))
    store.put(RecordsTask(str(folder), A, 1, tuple(packed(episode())), "recorded"))
    wait_until(lambda: len(events) == 2, "the episode is committed")
    found = events[-1]
    wait_until(lambda: store.runs()[0]["episodes"] == of_newest(folder), "all is counted")
    store.put(CloseStreamTask(str(folder), A, lost=False))
    store.close()
    return found


def last(folder):
    with open_to_read(folder, session="all") as database:
        return database.execute("SELECT max(id) FROM episodes").fetchone()[0]


def of_newest(folder):
    with open_to_read(folder) as database:
        return database.execute("SELECT count(*) FROM episodes").fetchone()[0]


def test_opening_a_long_run_reads_no_more_than_opening_a_short_one(tmp_path, statements):
    short, long = made(tmp_path / "short", 2_000), made(tmp_path / "long", 60_000)
    first = opened_for(long, statements)  # of an earlier version: counted by and by, and not before it is recorded into
    assert first["rows"] < 3 * COUNT_EPISODES
    opened_for(short, statements)
    for folder in (short, long):
        with open_to_read(folder, session="all") as database:
            totals = RunTotals.kept(database)
            assert totals.last == last(folder)
            assert everything(totals)[0] == everything(run_totals(database))[0]
    few, many = opened_for(short, statements), opened_for(long, statements)
    assert many["rows"] < few["rows"] + 100
    assert many["hundreds"] < few["hundreds"] + 100


@pytest.mark.parametrize("step", [1, 7, 1000])
def test_the_numbers_are_the_same_however_they_were_come_by(tmp_path, step):
    count = 150 if step == 1 else 3_000
    index = RunIndex.open(made(tmp_path / "run", count))
    at_once = everything(run_totals(index._db))
    while index.advance_totals(step):
        pass
    assert everything(index.totals) == at_once
    index.close()
    again = RunIndex.open(tmp_path / "run")
    assert again.totals.last == count
    assert everything(again.totals) == at_once
    again.open_stream(stream(B), PEER)
    again.apply(B, 1, packed(*(episode(number, return_=math.pi * number) for number in range(20))))
    again.advance_totals()
    with open_to_read(tmp_path / "run") as database:  # what all readers show
        assert everything(again.totals)[0] == everything(run_totals(database))[0]
    assert again.totals.as_dict()["episodes"] == 20
    again.close()


def test_a_run_that_is_loaded_has_the_same_numbers(tmp_path):
    folder = made(tmp_path / "run", 3_000)
    with open_to_read(folder, session="all") as database:
        totals = run_totals(database).total()
    episodes = read_run(folder, "all").episodes
    for quantity, stats in (("return", totals.returns), ("length", totals.lengths), ("duration", totals.durations)):
        of_all, of_a_part = (each.summary(quantity, intervals=False) for each in (episodes, episodes[:]))
        assert (of_all.count, of_all.mean, of_all.std) == (stats.count, stats.mean, stats.std)
        assert (of_a_part.count, of_a_part.mean) == (stats.count, pytest.approx(stats.mean))


def test_totals_are_kept_now_and_then_and_at_the_end(tmp_path):
    index = RunIndex.open(made(tmp_path / "run", KEEP_EPISODES - 1))
    index.advance_totals()
    assert RunTotals.kept(index._db) == RunTotals()
    index.open_stream(stream(A), PEER)
    index.apply(A, 1, packed(episode(0)))
    index.advance_totals()
    assert RunTotals.kept(index._db).last == KEEP_EPISODES
    index.apply(A, 2, packed(episode(1)))
    index.advance_totals()
    assert RunTotals.kept(index._db).last == KEEP_EPISODES
    index.close()
    with open_to_read(tmp_path / "run", session="all") as database:
        assert RunTotals.kept(database).last == KEEP_EPISODES + 1


def test_a_transaction_that_fails_counts_nothing(tmp_path):
    index = RunIndex.open(tmp_path / "run")
    index.open_stream(stream(A), PEER)
    with suppress(KeyError), index.transaction():
        index.apply(A, 1, packed(episode(0)))
        raise KeyError
    index.advance_totals()
    assert index.totals.as_dict()["episodes"] == 0
    index.close()


def test_episodes_that_an_earlier_version_added_are_counted(tmp_path):
    folder = tmp_path / "run"
    index = RunIndex.open(made(folder, 2_000))
    index.advance_totals()
    index.close()
    index = RunIndex.open(folder)
    index.open_stream(stream(A), PEER)
    index.apply(A, 1, packed(*(episode(number) for number in range(30))))
    index._db.close()  # and knows nothing of totals
    with open_to_read(folder, session="all") as database:
        assert run_totals(database).total().episodes == 2_030
        database.execute("COMMIT")
        fresh = RunTotals()
        fresh.advance(database)
        assert everything(fresh)[0] == everything(run_totals(database))[0]


@pytest.mark.parametrize("value", ["nonsense", "{}", "[]", json.dumps({"last": 3})])
def test_totals_that_are_damaged_are_counted_again(tmp_path, value):
    index = RunIndex.open(made(tmp_path / "run", 10))
    index._db.execute("INSERT INTO meta VALUES (?, ?)", (f"{TOTALS_KEY}:{A.hex()}", value))
    index.close()
    with open_to_read(tmp_path / "run", session="all") as database:
        assert run_totals(database).total().episodes == 10


def test_the_last_episodes_of_a_stream_are_known_however_many_streams_there_are(tmp_path):
    streams = [number.to_bytes(16, "big") for number in range(RECENT_STREAMS + 5)]
    index = RunIndex.open(tmp_path / "run")
    for each in streams:
        index.open_stream(stream(each), PEER)
        index.apply(each, 1, packed(episode(0, return_=1.0), episode(1, return_=3.0)))
    index.advance_totals()
    index.close()
    index = RunIndex.open(tmp_path / "run")
    means = [index.totals.streams[each.hex()].as_dict()["return"]["last100_mean"] for each in streams]
    assert means == [None] * 5 + [2.0] * RECENT_STREAMS
    index.apply(streams[0], 3, packed(episode(2, return_=5.0)))
    index.advance_totals()
    assert index.totals.streams[streams[0].hex()].as_dict()["return"]["last100_mean"] == 3.0
    index.close()


@pytest.mark.parametrize("resumes", [False, True])
def test_the_daemon_and_the_page_have_the_same_numbers(tmp_path, resumes):
    count = COUNT_EPISODES * 2 + 123
    folder = made(tmp_path / "run", count)
    source = FolderSource([folder])
    ((run, _),) = source.folders().items()
    pages = RunDescriptions(source)
    before = pages.detail(AskedRun(run, folder))
    store = Store(lambda _: None, "test")
    had = count if resumes else 0
    try:
        store.put(OpenStreamTask(str(folder), stream(resumes=resumes), PEER, (), "opened"))
        wait_until(lambda: store.runs() and store.runs()[0]["episodes"] == had, "all is counted")
        for number in range(5):
            store.put(RecordsTask(str(folder), A, 1 + number, tuple(packed(episode(number, return_=number / 3))), ""))
            wait_until(lambda: store.runs()[0]["episodes"] == had + number + 1, "it is counted")  # noqa: B023 - at once
            (told,) = store.runs()
            described = pages.detail(AskedRun(run, folder))
            assert described["session"] == told["session"] == (1 if resumes else 2)
            for name in ("episodes", "steps", "steps_per_second"):
                assert described[name] == told[name]
            for name in ("return", "length"):
                assert described[name] == {key: told[name][key] for key in described[name]}
            steps = {each["stream"]: each["steps"] for each in described["stream_list"]}
            assert steps == {name: each["steps"] for name, each in told["streams"].items()}
        assert before["episodes"] == count
        store.put(CloseStreamTask(str(folder), A, lost=False))
    finally:
        store.close()
    assert not (folder / f"{INDEX_NAME}-wal").exists()
