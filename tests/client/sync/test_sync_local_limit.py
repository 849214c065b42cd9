"""A limit for a run's folder: what is in object storage for certain goes, oldest first, and is read from there."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import commandline
import offcam
from envs import Barcode, play
from made import make_video
from object_runs import below, grow, send
from offcam.sync import local_limit
from offcam.sync.local_limit import folder_bytes
from offcam_proto.errors import ConfigError
from offcam_runs.format import EVICTED_NAME, INDEX_NAME, SYNC_NAME
from offcam_runs.objects.evicted import Evicted, joined, read_evicted
from offcam_runs.objects.store import ObjectStore
from offcam_runs.sync.state import read_all
from waiting import wait_until

pytest.importorskip("obstore")
CLIPS = 5


@pytest.fixture
def video(tmp_path):
    return make_video(tmp_path / "video.mp4", frames=200, width=192, height=128)


@pytest.fixture
def run(tmp_path, video):
    return grow(tmp_path / "run", 0, CLIPS, video, over=False)


def limited(url, size):
    return f"objects:url={url},local_limit={size}"


def names(folder):
    return sorted(path.name for path in Path(folder).glob("*.mp4"))


def room_for(folder, clips):
    """A limit below which the folder is once so many of its clips are left. What a sending notes has some room, too."""
    (size,) = {path.stat().st_size for path in folder.glob("*.mp4")}
    return folder_bytes(folder) - (CLIPS - clips) * size + size // 2


def state_of(folder):
    (found,) = read_all(folder)
    return found.state


def test_the_oldest_videos_go_once_they_are_there_and_are_read_from_there(tmp_path, run, url, video):
    limit = room_for(run, 2)
    assert send(run, limited(url, limit))
    assert names(run) == ["rl-video-episode-3.mp4", "rl-video-episode-4.mp4"]
    assert folder_bytes(run) <= limit
    state, size = state_of(run), video.stat().st_size
    assert (state.evicted_clips, state.evicted_bytes, state.folder_limit) == (3, 3 * size, limit)
    assert state.folder_bytes <= limit
    assert (state.sent_clips, state.behind_clips) == (CLIPS, 0)
    clips = offcam.load(run).clips
    assert [clip.evicted for clip in clips] == [url, url, url, None, None]
    assert f"evicted, it is in {url}" in repr(clips[0])
    for clip in clips:
        with clip.open() as file:
            assert file.read() == video.read_bytes()
    assert names(run) == ["rl-video-episode-3.mp4", "rl-video-episode-4.mp4"], "nothing came back here"
    assert Path(clips[0].fetch()).read_bytes() == video.read_bytes()
    assert clips[0].fetch() != clips[0].path
    assert len(offcam.load(url).clips) == CLIPS
    grow(run, CLIPS, 1, video)
    assert send(run, limited(url, limit))
    assert names(run) == ["rl-video-episode-4.mp4", "rl-video-episode-5.mp4"]
    assert (state_of(run).evicted_clips, state_of(run).sent_clips) == (4, CLIPS + 1)


def test_the_verbs_say_it_in_a_line(run, url, tmp_path):
    sent = commandline.run("sync", str(run), "--to", url, "--local-limit", str(room_for(run, 3)))
    assert sent.returncode == 0
    assert "  2 videos (" in sent.stdout
    assert "evicted here; the folder has" in sent.stdout
    assert (
        f"2 of these videos are evicted, and in {url}: fetched when looked at\n"
        in commandline.run("ls", str(run)).stdout
    )
    done = commandline.run("verify", "--json", str(run))
    found = commandline.only_json(done.stdout)
    (note,) = (each for each in found["notes"] if each["kind"] == "evicted")
    assert note["file"] == "rl-video-episode-0.mp4"
    assert note["text"] == f"and 1 more are evicted, and in {url}: `offcam verify {url}` checks what is there"
    assert not [each for each in found["problems"] if each["kind"] == "missing_file"]
    made = commandline.run("gif", str(run), "--episode", "0", "-o", str(tmp_path / "a.gif"))
    assert made.returncode == 0, made.stderr
    shutil.rmtree(url.removeprefix("file://"))
    shutil.rmtree(tmp_path / "cache")
    made = commandline.run("gif", str(run), "--episode", "0", "-o", str(tmp_path / "b.gif"))
    assert (made.returncode, made.stderr.count("\n")) == (2, 1)
    assert f"{url} has no run" in made.stderr


def test_what_is_not_there_stays_and_that_is_said_once(run, url, monkeypatch, capfd):
    def refused(*_):
        raise ConfigError("it is refused")

    monkeypatch.setattr(ObjectStore, "put_file", refused)
    with pytest.raises(ConfigError, match="it is refused"):
        send(run, limited(url, 1))
    assert len(names(run)) == CLIPS
    assert not (run / EVICTED_NAME).exists()
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(run.parent / "cache"))
    assert send(run, limited(url, 1))
    assert names(run) == []
    assert capfd.readouterr().err.count("more than the limit of 1: what is not in object storage yet") == 1
    assert state_of(run).folder_bytes > state_of(run).folder_limit == 1


def test_a_video_that_is_otherwise_there_or_gone_is_sent_again_before_it_goes(run, url, video):
    assert send(run, url)
    for number in (0, 1):
        (key,) = (key for key in below(url) if f"00000{number}-" in key)
        there = Path(url.removeprefix("file://"), key)
        there.write_bytes(bytes(video.stat().st_size)) if number else there.unlink()
    assert send(run, limited(url, room_for(run, 2)))
    assert names(run) == ["rl-video-episode-3.mp4", "rl-video-episode-4.mp4"]
    assert {data for key, data in below(url).items() if key.endswith(".mp4")} == {video.read_bytes()}


def test_many_go_some_at_a_time(run, url, video, monkeypatch):
    monkeypatch.setattr(local_limit, "MOST_BYTES", 2 * video.stat().st_size)
    note, noted = local_limit.note_evicted, []

    def seen(folder, url, clips):
        noted.append([number for _, number in clips])
        note(folder, url, clips)

    monkeypatch.setattr(local_limit, "note_evicted", seen)
    assert send(run, limited(url, 1))
    assert noted == [[0, 1], [2, 3], [4]]
    assert names(run) == []


def test_a_video_that_the_storage_cannot_hold_stays(run, url, monkeypatch):
    monkeypatch.setattr(ObjectStore, "holds", lambda self, key, file: "000001-" not in key)
    assert send(run, limited(url, 1))
    assert names(run) == ["rl-video-episode-1.mp4"]


def test_what_may_still_change_stays(run, url):
    with closing(sqlite3.connect(run / INDEX_NAME)) as index, index:
        index.execute("UPDATE clips SET state = 'aborted' WHERE clip = 0")
        index.execute("UPDATE clips SET state = 'recording' WHERE clip = 1")
    assert send(run, limited(url, 1))
    assert names(run) == ["rl-video-episode-0.mp4", "rl-video-episode-1.mp4"]


def test_a_note_of_another_program_is_left_and_nothing_goes(run, url, monkeypatch):
    (run / EVICTED_NAME).write_text('{"version": 9}')
    assert not send(run, limited(url, 1))
    assert "is not understood (it is not of version 1), so nothing is removed there" in state_of(run).error
    assert len(names(run)) == CLIPS
    assert (run / EVICTED_NAME).read_text() == '{"version": 9}'
    assert read_evicted(run) == Evicted()


SPANS = ("5", "[5]", "[[1]]", "[[2, 1]]", "[[3, 4], [1, 2]]", '[["0", "1"]]')
TEXTS = (
    '{"version": 1, "places": {}, "steps": 5}',
    '{"version": 1, "places": {}, "steps": {"s3://b/r": {"a": [5]}}}',
    "",
    "[]",
    "{}",
    "[" * 100_000,
    '{"version": 1, "places": {"x": {}}}',
    '{"version": 1, "places": {"s3://b": 5}}',
)


@pytest.mark.parametrize(
    "text", [*TEXTS, *(f'{{"version": 1, "places": {{"s3://b/r": {{"a": {spans}}}}}}}' for spans in SPANS)]
)
def test_a_note_that_is_none_says_nothing(tmp_path, text):
    (tmp_path / EVICTED_NAME).write_text(text)
    assert read_evicted(tmp_path) == Evicted()


@given(st.lists(st.sets(st.integers(0, 30))))
def test_numbers_are_noted_in_as_few_stretches_as_there_are(groups):
    evicted, wanted = Evicted(), set()
    for group in groups:
        evicted = evicted.with_clips("s3://b/r", [("a", number) for number in group])
        wanted |= group
    assert {number for number in range(40) if evicted.url_of("a", number)} == wanted
    spans = evicted.places.get("s3://b/r", {}).get("a", ())
    assert len(spans) == sum(number - 1 not in wanted for number in wanted)
    assert joined(spans) == spans


@pytest.mark.parametrize("size", ["much", "-1", "1.5XB", ""])
def test_a_limit_that_is_none_is_refused(run, url, size):
    done = commandline.run("sync", str(run), "--to", url, "--local-limit", size)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "local_limit must be a size such as" in done.stderr
    done = commandline.run("sync", str(run), "--to", "memory", "--local-limit", "1GB")
    assert done.returncode == 2
    assert "no option 'local_limit'" in done.stderr


# --- whoever is killed ----------------------------------------------------------------------------------------

KILLED = """
import os, sys
from offcam.sync import local_limit
from offcam.sync.worker import SyncWorker
from offcam_runs.objects.store import ObjectStore
from offcam_runs.sync.process import SyncRequest, parse_place
left = int(sys.argv[3])
def counted(where, name):
    own = getattr(where, name)
    def call(*args, **kwargs):
        global left
        if left == 0:
            os.kill(os.getpid(), 9)
        left -= 1
        return own(*args, **kwargs)
    setattr(where, name, call)
for name in ("put", "put_file", "remove"):
    counted(ObjectStore, name)
counted(local_limit, "note_evicted")
counted(local_limit.os, "unlink")
tracker, options = parse_place(sys.argv[2])
SyncWorker(SyncRequest(folder=sys.argv[1], tracker=tracker, options=options, tries=1)).run()
"""


def test_a_sender_that_is_killed_at_each_step_leaves_each_video_somewhere(tmp_path, run, video):
    kept = tmp_path / "kept"
    shutil.copytree(run, kept)
    for step in range(40):
        shutil.rmtree(run)
        shutil.copytree(kept, run)
        url = f"file://{tmp_path}/objects/{step}"
        to = limited(url, room_for(run, 2))
        words = [sys.executable, "-c", KILLED, str(run), to, str(step)]
        environment = {**os.environ, "TMPDIR": str(tmp_path)}  # what it was packing stays there
        done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode in (0, -signal.SIGKILL), done.stderr
        for clip in offcam.load(run).clips:
            with clip.open() as file:
                assert file.read() == video.read_bytes()
        if done.returncode == 0:
            break
        assert send(run, to)
        assert names(run) == ["rl-video-episode-3.mp4", "rl-video-episode-4.mp4"]
    assert step >= CLIPS + 3 + 1 + 3, "videos, steps, segments, manifest; the note, and three files that go"


def test_a_training_that_goes_on_stays_below_its_limit(daemon, folder, tmp_path):
    url = f"file://{tmp_path}/objects/run"
    with closing(offcam.record(Barcode(length=200), folder, every=1, sync=limited(url, "1"))) as env:
        play(env, 3)
        env.flush()
        wait_until(lambda: read_all(folder) and state_of(folder).evicted_clips == 3, "all that ended are gone")
        assert names(folder) == []
        play(env, 1)
    wait_until(
        lambda: state_of(folder).over and not read_all(folder)[0].working, "all is sent", lambda: state_of(folder)
    )
    found = offcam.load(folder).clips
    assert [clip.evicted for clip in found] == [url] * len(found)
    assert [Path(clip.fetch()).stat().st_size for clip in found] == [clip.file_bytes for clip in found]
    assert json.loads((folder / EVICTED_NAME).read_text())["places"][url] == {found[0].stream_id: [[0, len(found) - 1]]}
    assert not (folder / SYNC_NAME / "evicted.lock").exists()
