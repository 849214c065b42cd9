"""A limit for a run's folder: once its videos are gone, steps go that are in object storage, and are read there."""

from __future__ import annotations

import fcntl
import shutil
from pathlib import Path

import numpy as np
import pytest

import commandline
import offcam
from object_runs import below, grow, send
from offcam.sync import local_steps
from offcam.sync.local_limit import folder_bytes
from offcam_proto.errors import OffcamError
from offcam_runs.objects.evicted import read_evicted
from offcam_runs.sync.state import read_all

pytest.importorskip("obstore")
EPISODES = 3


@pytest.fixture
def run(tmp_path, video):
    return grow(tmp_path / "run", 0, EPISODES, video)


def limited(url, size=1):
    return f"objects:url={url},local_limit={size}"


def files(folder):
    return sorted(path.name for path in Path(folder, "steps").glob("*"))


def evicted_steps(folder):
    (found,) = read_all(folder)
    return found.state.evicted_steps


def rewards(run, episodes):
    found = [run.steps(number) for number in range(episodes)]
    assert all(each.complete for each in found)
    return np.concatenate([each["reward"] for each in found])


def test_steps_go_after_the_videos_and_are_read_from_there(tmp_path, run, url, video):
    kept = tmp_path / "kept"
    shutil.copytree(run, kept)
    (file,) = files(run)
    assert send(run, limited(url))
    assert files(run) == []
    assert list(run.glob("*.mp4")) == []
    assert evicted_steps(run) == 1
    np.testing.assert_array_equal(rewards(offcam.load(run), EPISODES), rewards(offcam.load(kept), EPISODES))
    assert files(run) == [], "nothing came back here"
    grow(run, EPISODES, 1, video)  # its stream is opened again
    assert files(run) == [file.replace("-0.", "-1.")]
    grow(kept, EPISODES, 1, video)
    assert send(run, limited(url))
    assert (files(run), evicted_steps(run)) == ([], 2)
    np.testing.assert_array_equal(rewards(offcam.load(run), EPISODES + 1), rewards(offcam.load(kept), EPISODES + 1))
    np.testing.assert_array_equal(rewards(offcam.load(url), EPISODES + 1), rewards(offcam.load(kept), EPISODES + 1))


def test_videos_go_first(run, url):
    (size,) = {path.stat().st_size for path in run.glob("*.mp4")}
    assert send(run, limited(url, folder_bytes(run) - size))
    assert len(files(run)) == 1
    assert evicted_steps(run) == 0


def test_the_verbs_say_it(run, url):
    sent = commandline.run("sync", str(run), "--to", url, "--local-limit", "1")
    assert "  3 videos (" in sent.stdout
    assert ") and 1 file of steps evicted here; the folder has" in sent.stdout
    assert commandline.run("verify", str(run)).returncode == 0


def test_what_is_still_written_stays(tmp_path, url, video):
    run = grow(tmp_path / "run", 0, EPISODES, video, over=False)
    assert send(run, limited(url))
    assert len(files(run)) == 1


def test_of_a_stream_that_is_still_written_all_files_but_the_last_go(tmp_path, url, video, monkeypatch):
    monkeypatch.setattr("offcam_runs.steps.files.FILE_BYTES", 1)
    run = grow(tmp_path / "run", 0, EPISODES, video, over=False)
    last = files(run)[-1]
    assert len(files(run)) == EPISODES
    assert send(run, limited(url))
    assert files(run) == [last]
    assert len(rewards(offcam.load(run), EPISODES)) == 4 * EPISODES


def test_what_its_recorder_has_open_stays(run, url, video):
    (name,) = files(run)
    with (run / "steps" / name).open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        assert send(run, limited(url))
        assert files(run) == [name]
    assert send(grow(run, EPISODES, 1, video), limited(url))
    assert files(run) == []


def test_a_file_with_more_than_the_index_has_stays(run, url):
    (name,) = files(run)
    with (run / "steps" / name).open("ab") as file:
        file.write(b"a block that is not committed yet")
    assert send(run, limited(url))
    assert files(run) == [name]


def test_what_the_storage_has_otherwise_is_sent_again_first(run, url):
    assert send(run, url)
    (key,) = (key for key in below(url) if "/steps-" in key)
    whole = below(url)[key]
    Path(url.removeprefix("file://"), key).write_bytes(bytes(len(whole)))
    assert send(run, limited(url))
    assert below(url)[key] == whole
    assert files(run) == []


def test_what_no_tail_leads_to_stays(run, url, monkeypatch):
    monkeypatch.setattr("offcam_runs.objects.segments.all_parts", lambda tail: [])
    assert send(run, limited(url))
    assert len(files(run)) == 1


def test_a_sender_that_dies_between_note_and_removal_leaves_all_where_it_is(run, url, monkeypatch):
    own = local_steps.note_evicted

    def dies(*args, **kwargs):
        own(*args, **kwargs)
        raise OSError("killed")

    monkeypatch.setattr(local_steps, "note_evicted", dies)
    assert not send(run, limited(url))
    (name,) = files(run)
    stream = name.partition("-")[0]
    assert read_evicted(run).url_of_steps(stream, 0) == url
    assert len(rewards(offcam.load(run), EPISODES)) == 4 * EPISODES
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(run.parent / "cache"))
    monkeypatch.setenv("XDG_STATE_HOME", str(run.parent / "state"))
    assert send(run, limited(url))
    assert files(run) == []
    assert len(rewards(offcam.load(run), EPISODES)) == 4 * EPISODES


def test_what_cannot_be_reached_is_said(run, url):
    assert send(run, limited(url))
    shutil.rmtree(url.removeprefix("file://"))
    with pytest.raises(OffcamError, match="has no run"):
        offcam.load(run).steps(0)
