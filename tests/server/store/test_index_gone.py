"""A run folder that is removed, renamed or replaced while it is written: an ack is in the folder that lies there."""

from __future__ import annotations

import queue
import shutil
import sqlite3

import pytest

from offcam_proto.errors import RunFolderError
from offcam_runs import format as fmt
from offcam_runs.run import read_run
from offcamd.store import index_file, store, tasks
from offcamd.store.index import RunIndex
from run_samples import PEER, A, B, clip, episode, open_clip, packed, stream
from waiting import HANG_SECONDS, wait_until


@pytest.fixture(params=["wal", "no-wal"])
def folder(tmp_path, request, monkeypatch):
    if request.param == "no-wal":
        monkeypatch.setattr(index_file, "wal_works_on", lambda _folder: False)
    return tmp_path / "runs" / "run"


class Recorder:
    """A store, and a stream that records into a folder."""

    def __init__(self, folder):
        self.folder = folder
        self.events = queue.SimpleQueue()
        self.store = store.Store(self.events.put, "ipc:///here")
        self.sent = 0
        self.store.put(tasks.OpenStreamTask(str(folder), stream(A), PEER, (), A))
        assert self.answer(tasks.StreamReady).error is None

    def send(self, many=3):
        bodies = tuple(packed(*(episode(self.sent + each) for each in range(many))))
        self.store.put(tasks.RecordsTask(str(self.folder), A, self.sent + 1, bodies, A))
        self.sent += many

    def record(self, many=3):
        self.send(many)
        return self.answer(tasks.Committed).applied.last_seq

    def flush(self):
        self.store.put(tasks.BarrierTask("flush"))
        return self.answer(tasks.Passed).gone

    def answer(self, kind):
        while not isinstance(event := self.events.get(timeout=HANG_SECONDS), kind):
            pass
        return event

    def stored(self):
        return [row.episode for row in read_run(self.folder).episodes]


@pytest.fixture
def recorder(folder):
    made = Recorder(folder)
    yield made
    made.store.close()


def removed(folder):
    shutil.rmtree(folder)


def remade(folder):
    shutil.rmtree(folder)
    folder.mkdir()


def renamed(folder):
    folder.rename(folder.with_name("moved"))


def swapped(folder):
    """With a folder that is another run's, which its daemon did not come to close."""
    folder.rename(folder.with_name("moved"))
    other = RunIndex.open(folder.with_name("other"))
    other.open_stream(stream(B), PEER)
    other.apply(B, 1, packed(episode(7)))
    shutil.copytree(other.folder, folder)
    other.close()


def without_index(folder):
    (folder / fmt.INDEX_NAME).unlink()


def emptied(folder):
    for path in folder.iterdir():
        path.unlink()


def restored(folder):
    """From a copy of itself."""
    shutil.copytree(folder, folder.with_name("copy"))
    shutil.rmtree(folder)
    folder.with_name("copy").rename(folder)


def back_again(folder):
    folder.rename(folder.with_name("moved"))
    folder.with_name("moved").rename(folder)


WAYS = (removed, remade, renamed, swapped, without_index, emptied, restored, back_again)


@pytest.mark.parametrize("happens", WAYS)
def test_what_was_acked_is_in_the_folder_again(recorder, folder, happens):
    assert recorder.record() == 3
    happens(folder)
    assert recorder.record() == 6
    expected = [7] * (happens is swapped) + list(range(6))
    assert recorder.stored() == expected
    assert recorder.flush() == frozenset()
    recorder.store.close()
    assert recorder.stored() == expected
    assert not [path.name for path in folder.iterdir() if path.name != fmt.INDEX_NAME]


@pytest.mark.parametrize("happens", WAYS)
def test_a_flush_sees_it_where_nothing_more_is_recorded(recorder, folder, happens):
    recorder.record()
    happens(folder)
    assert recorder.flush() == frozenset()
    assert recorder.stored() == [7] * (happens is swapped) + list(range(3))


def test_again_and_again(recorder, folder):
    for happens in WAYS[:3] * 3:
        recorder.record()
        happens(folder)
        shutil.rmtree(folder.with_name("moved"), ignore_errors=True)
    assert recorder.record() == recorder.sent
    assert recorder.stored() == list(range(recorder.sent))


def test_a_clip_goes_on_there(recorder, folder):
    where = str(folder), A
    recorder.store.put(tasks.ClipOpenedTask(*where, open_clip(0), "a.mp4", A))
    recorder.answer(tasks.ClipNoted)
    removed(folder)
    recorder.store.put(tasks.RecordsTask(*where, 1, tuple(packed(clip(0))), A))
    assert recorder.answer(tasks.Committed).applied.last_seq == 1
    (found,) = read_run(folder).clips
    assert found.file == "a.mp4"
    assert found.state == "recording"


def test_where_it_cannot_be_made_anew_nothing_is_acked(recorder, folder):
    """The place is taken by a file, and free again later."""
    recorder.record()
    removed(folder)
    folder.touch()
    recorder.send()
    assert recorder.flush() == {str(folder)}
    assert recorder.events.empty()
    folder.unlink()
    assert recorder.answer(tasks.Committed).applied.last_seq == 6
    assert recorder.flush() == frozenset()
    assert recorder.stored() == list(range(6))


def test_where_it_is_put_back_it_goes_on(recorder, folder):
    recorder.record()
    renamed(folder)
    folder.touch()
    recorder.send()
    assert recorder.flush() == {str(folder)}
    folder.unlink()
    folder.with_name("moved").rename(folder)
    assert recorder.answer(tasks.Committed).applied.last_seq == 6
    assert recorder.stored() == list(range(6))
    recorder.store.close()
    assert [path.name for path in folder.iterdir()] == [fmt.INDEX_NAME]


def test_another_programs_database_in_its_place_is_left_alone(recorder, folder):
    recorder.record()
    without_index(folder)
    theirs = sqlite3.connect(folder / fmt.INDEX_NAME)
    theirs.execute("CREATE TABLE theirs (x)")
    theirs.close()
    recorder.send()
    assert recorder.flush() == {str(folder)}
    with pytest.raises(RunFolderError, match="another program"):
        read_run(folder)
    without_index(folder)
    wait_until(lambda: not recorder.flush(), "it is made anew")
    assert recorder.stored() == list(range(6))
