"""What was evicted of a run, as one place alone has it, is sent to another place and to trackers all the same."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest

import commandline
import offcam
from object_runs import below, grow, is_as, send
from offcam.sync import worker
from offcam.sync.sinks import memory
from offcam_proto.errors import RunFolderError
from offcam_runs.objects.store import ObjectStore
from offcam_runs.sync.state import read_all

pytest.importorskip("obstore")
CLIPS = 3


@pytest.fixture
def kept(tmp_path, video):
    return grow(tmp_path / "kept", 0, CLIPS, video)


@pytest.fixture
def run(tmp_path, kept, url):
    """A run of which all files but the index are in object storage alone."""
    folder = tmp_path / "run"
    shutil.copytree(kept, folder)
    assert send(folder, f"objects:url={url},local_limit=1")
    assert not list(folder.glob("*.mp4")) + list(folder.glob("steps/*"))
    return folder


@pytest.fixture
def scratch(tmp_path, monkeypatch):
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def second(tmp_path):
    return f"file://{tmp_path}/objects/second"


def to(run, tracker):
    (found,) = (each.state for each in read_all(run) if each.state.tracker == tracker)
    return found


def test_a_second_place_has_all_of_it(kept, run, second, scratch):
    assert send(run, second)
    assert is_as(second, kept)
    assert not list(run.glob("*.mp4"))
    assert list(scratch.iterdir()) == []


@pytest.fixture
def read(monkeypatch):
    """Paths, bytes and sources of the clips that the sink in memory was sent, as it read them."""
    found = []
    plain = memory.Tracker.send

    def reading(self, batch):
        if batch.clip is not None:
            path = Path(batch.clip.path)
            found.append((path, path.read_bytes(), batch.clip.source))
        return plain(self, batch)

    monkeypatch.setattr(memory.Tracker, "send", reading)
    return found


@pytest.mark.parametrize("late", [False, True])
def test_a_tracker_reads_copies_which_go_once_it_needs_them_no_more(kept, run, sent, read, scratch, monkeypatch, late):
    monkeypatch.setattr(memory.Tracker, "late", late)
    there = []
    monkeypatch.setattr(memory.Tracker, "finish", lambda self: there.extend(each[0].exists() for each in read))
    assert send(run, "memory")
    names = [f"rl-video-episode-{number}.mp4" for number in range(CLIPS)]
    assert [(path.name, source) for path, _, source in read] == [(name, str(run / name)) for name in names]
    assert [data for _, data, _ in read] == [(kept / name).read_bytes() for name in names]
    assert there == [late] * CLIPS
    assert list(scratch.iterdir()) == []
    assert to(run, "memory").sent_clips == CLIPS


def test_copies_have_a_bound(kept, run, sent, read, scratch, monkeypatch, video):
    monkeypatch.setattr(memory.Tracker, "late", True)
    monkeypatch.setattr(worker, "MOST_COPIES", video.stat().st_size)
    there, certain = [], []

    def finish(self):
        there.append(sum(each[0].exists() for each in read))
        certain.append(to(run, "memory").sent_clips)

    monkeypatch.setattr(memory.Tracker, "finish", finish)
    assert send(run, "memory")
    assert (there, certain) == ([2, 1], [2, 3])
    assert [data for _, data, _ in read] == [path.read_bytes() for path in sorted(kept.glob("*.mp4"))]
    assert list(scratch.iterdir()) == []


def test_what_cannot_be_reached_is_tried_again(run, sent, read, monkeypatch):
    fetch, failed = ObjectStore.fetch, []

    def fails_once(self, key, path):
        if not failed:
            failed.append(key)
            raise RunFolderError("it cannot be reached")
        fetch(self, key, path)

    monkeypatch.setattr(ObjectStore, "fetch", fails_once)
    assert not send(run, "memory")
    assert "it cannot be reached" in to(run, "memory").error
    assert send(run, "memory")
    assert [path.name[-5] for path, *_ in read] == ["0", "1", "2"]


def test_what_is_nowhere_is_passed_over(run, sent, read, url, second):
    place = Path(url.removeprefix("file://"))
    (key,) = (key for key in below(url) if "000001-" in key and key.endswith(".mp4"))
    (place / key).unlink()
    assert send(run, "memory")
    assert [path.name[-5] for path, *_ in read] == ["0", "2"]
    assert to(run, "memory").sent_clips == CLIPS - 1
    shutil.rmtree(place)
    shutil.rmtree(place.parents[1] / "cache")
    assert send(run, second)
    assert len(offcam.load(second).episodes) == CLIPS
    assert not [key for key in below(second) if key.endswith(".mp4")]


def test_the_verb_sends_it(kept, run, second):
    done = commandline.run("sync", str(run), "--to", second)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"{CLIPS} episodes and {CLIPS} videos" in done.stdout
    assert is_as(second, kept)
