"""Steps whose index is removed, replaced, of an older version, or not there yet."""

from __future__ import annotations

import contextlib
import queue
import shutil
import sqlite3

import pytest

from offcam_runs import format as fmt
from offcam_runs import schema
from offcam_runs.database import open_to_read
from offcam_runs.run import read_run
from offcam_runs.steps import files
from offcamd.store import store, tasks
from offcamd.store.index import RunIndex
from run_samples import PEER, A, episode, packed, rows, stream
from step_samples import episodes
from waiting import HANG_SECONDS


class Recorder:
    """A store, and a stream whose episodes each have a record of their steps."""

    def __init__(self, folder):
        self.folder = folder
        self.events = queue.SimpleQueue()
        self.store = store.Store(self.events.put, "ipc:///here")
        self.sent = 0
        self.store.put(tasks.OpenStreamTask(str(folder), stream(A), PEER, (), A))
        assert self.answer(tasks.StreamReady).error is None

    def answer(self, kind):
        while not isinstance(event := self.events.get(timeout=HANG_SECONDS), kind):
            pass
        return event

    def record(self):
        bodies = tuple(packed(episodes(self.sent // 2), episode(self.sent // 2)))
        self.store.put(tasks.RecordsTask(str(self.folder), A, self.sent + 1, bodies, A))
        self.sent += 2
        assert self.answer(tasks.Committed).applied.last_seq == self.sent


@pytest.fixture
def recorder(tmp_path):
    made = Recorder(tmp_path / "runs" / "run")
    yield made
    made.store.close()


def without_index(folder):
    (folder / fmt.INDEX_NAME).unlink()


def without_steps(folder):
    shutil.rmtree(folder / files.FOLDER)


def with_others_in_their_place(folder):
    (path,) = (folder / files.FOLDER).iterdir()
    path.rename(path.with_name("moved"))
    path.write_bytes(b"of somebody else")


@pytest.mark.parametrize(
    ("happens", "kept"),
    [(without_index, True), (shutil.rmtree, False), (without_steps, False), (with_others_in_their_place, False)],
)
def test_what_is_recorded_after_it_is_whole_and_what_went_with_it_is_said(recorder, happens, kept):
    for _ in range(3):
        recorder.record()
    happens(recorder.folder)
    for _ in range(2):
        recorder.record()
    recorder.store.close()
    run = read_run(recorder.folder)
    assert len(run.episodes) == 5
    for number in (3, 4):
        assert run.steps(number).complete
        assert run.steps(number).row.tolist() == list(range(4 * number, 4 * number + 4))
    for number in range(3):
        found = run.steps(number)
        assert found.complete == kept
        assert [gap[:2] for gap in found.gaps] == ([] if kept else [(4 * number, 4)])


def test_an_index_that_knows_nothing_of_steps_gets_them(folder):
    folder.mkdir(parents=True)
    with contextlib.closing(sqlite3.connect(folder / fmt.INDEX_NAME)) as database:
        for version in range(3):
            for statement in schema._UPGRADES[version]:
                database.execute(statement)
        database.execute("PRAGMA user_version = 3")
        database.commit()
    assert read_run(folder).step_totals == (0, 0, 0, {})  # and its reader leaves it as it is
    with contextlib.closing(sqlite3.connect(folder / fmt.INDEX_NAME)) as database:
        assert database.execute("PRAGMA user_version").fetchone() == (3,)
    index = RunIndex.open(folder)
    assert rows(index, "PRAGMA user_version") == [(fmt.FORMAT_VERSION,)]
    index.open_stream(stream(), PEER)
    index.apply(A, 1, packed(episodes(0)))
    assert read_run(folder).steps(0).complete
    index.close()


def test_another_index_of_the_same_stream_overwrites_no_file(folder):
    """The index was lost with its daemon: what lies there is nobody's, and is left alone."""
    for number in range(2):
        index = RunIndex.open(folder)
        index.open_stream(stream(), PEER)
        index.apply(A, 1, packed(episodes(number)))
        index.close()
        before = {path.name: path.read_bytes() for path in (folder / files.FOLDER).iterdir()}
        if not number:
            first = before
            (folder / fmt.INDEX_NAME).unlink()
    assert set(before) == {f"{A.hex()}-0.steps", f"{A.hex()}-1.steps"}
    assert before.items() >= first.items()
    with open_to_read(folder) as database:
        assert database.execute("SELECT file FROM step_blocks").fetchall() == [(1,)]
    assert read_run(folder).steps(1).complete
