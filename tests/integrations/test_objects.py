"""obstore against a stand-in for S3: a run is there as it was recorded, whatever the storage answers meanwhile."""

from __future__ import annotations

import json
import sqlite3
import struct
import subprocess
from contextlib import closing
from pathlib import Path

import pytest
import s3 as stand_in
from syncing import EPISODES, EVERY, send_again, train, wait_sent

import commandline
import fetching
import offcam
from made import make_run, make_video
from offcam.sync import index as run_index
from offcam.sync import worker
from offcam.sync.core import Batch
from offcam.sync.sinks import objects
from offcam_proto.errors import ConfigError, RunFolderError
from offcam_runs.format import INDEX_NAME
from offcam_runs.objects import store
from offcam_runs.objects.layout import MANIFEST
from offcam_runs.objects.segments import read_head
from offcam_runs.sync.process import SyncRequest, parse_place
from offcam_runs.sync.state import read_all

pytestmark = pytest.mark.integrations

TO = f"s3://{stand_in.BUCKET}/runs/{{name}}"
THERE = TO.format(name="run")


@pytest.fixture
def s3(tmp_path, monkeypatch):
    with stand_in.running() as found:
        for name, value in found.surroundings(tmp_path).items():
            monkeypatch.setenv(name, value)
        yield found


@pytest.fixture
def run(tmp_path):
    return make_run(tmp_path / "run", 3, 1, video=make_video(tmp_path / "video.mp4"))


def send(folder, url=TO, **changes):
    tracker, options = parse_place(url)
    request = SyncRequest(folder=str(folder), tracker=tracker, options=options, **{"tries": 1, **changes})
    return worker.SyncWorker(request).run()


def is_as(url, folder):
    there, here = offcam.load(url), offcam.load(folder)
    assert {**there.as_dict(), "folder": ""} == {**here.as_dict(), "folder": ""}
    for one, other in zip(there.clips, here.clips, strict=True):
        assert Path(one.fetch()).read_bytes() == Path(other.path).read_bytes()
    return True


def test_a_training_is_in_the_bucket_as_it_was_recorded(daemon, folder, s3):
    train(folder, TO)
    state = wait_sent(folder)
    assert (state.where, state.sent_episodes, state.sent_clips) == (THERE, EPISODES, EPISODES // EVERY)
    assert is_as(THERE, folder)
    before = s3.keys()
    assert commandline.run("verify", THERE).returncode == 0
    send_again(folder)
    assert s3.keys() == before, "nothing has changed"


def test_the_newest_manifest_alone_is_replaced(s3, tmp_path, run):
    """Two that send one run at once: what the storage compares is what keeps them apart."""
    facts = run_index.facts_of(str(run), None)
    first, second = (objects.Tracker(facts, parse_place(TO)[1], {}) for _ in range(2))
    first.send(Batch(last_id=3))
    make_run(run, 5, 0, stream=b"t" * 16, began=1.8e9)
    second.send(Batch(last_id=8))  # it has not seen what the first has sent
    first.finish()
    assert is_as(THERE, run)
    assert len(read_head(Path(offcam.load(THERE).folder, INDEX_NAME)).tails) == 2, "one of each"


def test_a_large_video_goes_and_comes_in_pieces(s3, tmp_path, monkeypatch):
    run = make_run(tmp_path / "run", 1, 1, video=make_video(tmp_path / "video.mp4"))
    (video,) = run.glob("*.mp4")
    video.write_bytes(bytes(range(256)) * (12 << 12))
    monkeypatch.setattr(objects.Tracker, "_send_video", _whatever_its_size(objects.Tracker._send_video))
    assert send(run)
    assert [method for method, path in s3.asked if path.endswith(".mp4")].count("PUT") > 2
    assert is_as(THERE, run)


def _whatever_its_size(own):
    return lambda self, key, video: own(self, key, video._replace(bytes=None))


def test_a_bucket_that_answers_503_gets_all_and_its_lag_is_said(s3, run, monkeypatch):
    monkeypatch.setattr(store, "RETRIES", 0)
    monkeypatch.setattr(worker, "wait_seconds", lambda failures, spread: 0.0)
    s3.refuses = 503
    assert not send(run, tries=2)
    (state,) = (each.state for each in read_all(run))
    assert (state.failures, state.behind_episodes, state.behind_clips) == (2, 3, 3)
    assert "503" in state.error
    assert state.lag_seconds(state.updated) > 1e6, "its episodes are of years ago"
    s3.refuses, s3.to_refuse = None, [503] * 5
    assert send(run, tries=9)
    assert not s3.to_refuse
    assert is_as(THERE, run)
    s3.refuses = 503
    with pytest.raises(RunFolderError, match=r"cannot be reached .*503"):
        offcam.load(THERE)


def test_a_503_in_between_is_no_failure(s3, run):
    s3.to_refuse = [503]
    assert send(run)
    (state,) = (each.state for each in read_all(run))
    assert state.failures == 0
    assert is_as(THERE, run)


def test_a_slow_bucket_gets_all(s3, run, monkeypatch):
    monkeypatch.setattr(store, "REQUEST_SECONDS", 0.5)
    monkeypatch.setattr(store, "RETRIES", 0)
    monkeypatch.setattr(worker, "wait_seconds", lambda failures, spread: 0.0)
    s3.seconds = 1.0
    assert not send(run)
    (state,) = (each.state for each in read_all(run))
    assert "cannot be reached" in state.error
    s3.seconds = 0.05
    assert send(run)
    assert is_as(THERE, run)


def test_mistakes_are_said_in_a_line_and_not_tried_again(s3, run, monkeypatch):
    with pytest.raises(ConfigError, match="there is no bucket 'elsewhere': make it"):
        send(run, "s3://elsewhere/run", tries=0)
    with pytest.raises(ConfigError, match="there is no bucket 'elsewhere'"):
        offcam.load("s3://elsewhere/run")
    s3.refuses = 403
    for call in (lambda: send(run, tries=0), lambda: offcam.load(THERE)):
        with pytest.raises(ConfigError, match=r"is refused \(.*403.*\): set AWS_ACCESS_KEY_ID"):
            call()
    said = commandline.run("sync", str(run), "--to", TO)
    assert (said.returncode, said.stderr.count("\n")) == (2, 1)
    assert said.stderr.startswith(f"offcam: {THERE}/{MANIFEST} is refused")
    s3.refuses = None
    assert send(run)


def test_seeking_in_a_long_video_on_the_page_does_not_fetch_it_whole(s3, tmp_path):
    run = make_run(tmp_path / "run", 1, 1, video=make_video(tmp_path / "video.mp4"))
    (video,) = run.glob("*.mp4")
    with video.open("ab") as file:
        file.write(make_free(12 << 20))
    with closing(sqlite3.connect(run / INDEX_NAME)) as index, index:
        index.execute("UPDATE clips SET file_bytes = ?", (video.stat().st_size,))
    assert send(run)
    whole = video.read_bytes()
    with subprocess.Popen([*commandline.COMMAND, "view", THERE, "--json"], stdout=subprocess.PIPE, text=True) as page:
        try:
            api = json.loads(page.stdout.readline())["url"] + "/api/runs"
            (shown,) = fetching.fetch(api).json()["runs"]
            (clip,) = fetching.fetch(f"{api}/{shown['id']}/clips").json()["clips"]
            path, before = f"{api}/{shown['id']}/clips/{clip['key']}", s3.sent
            assert fetching.fetch(f"{path}/poster").status_code == 200
            for begin in (0, 10 << 20, 5 << 20):
                answer = fetching.fetch(f"{path}/video", headers={"Range": f"bytes={begin}-{begin + 9999}"})
                assert (answer.status_code, answer.content) == (206, whole[begin : begin + 10_000])
            assert 0 < s3.sent - before < 2 << 20
        finally:
            page.terminate()


def test_a_limit_for_the_disk_is_held_by_the_tags_alone_and_what_went_is_played_from_there(s3, tmp_path):
    run = make_run(tmp_path / "run", 30, 10, video=make_video(tmp_path / "video.mp4", frames=900))
    videos = {path.name: path.read_bytes() for path in run.glob("*.mp4")}
    large = run / "rl-video-episode-0.mp4"
    large.unlink()  # it is the others' file, too
    large.write_bytes(videos[large.name] + make_free(6 << 20))  # larger than one piece
    videos[large.name] = large.read_bytes()
    with closing(sqlite3.connect(run / INDEX_NAME)) as index, index:
        index.execute("UPDATE clips SET file_bytes = ? WHERE file = ?", (len(videos[large.name]), large.name))
    assert send(run, f"objects:url={TO},local_limit=1")
    assert not list(run.glob("*.mp4"))
    methods = [method for method, path in s3.asked if path.endswith(".mp4")]
    assert "GET" not in methods, "the tags say that they are there"
    found = offcam.load(run).clips
    assert {clip.evicted for clip in found} == {THERE}
    for clip in found:
        with clip.open() as file:
            assert file.read() == videos[clip.file]
    s3.refuses = 403
    with pytest.raises(ConfigError, match="is refused"):
        found[0].open()
    listed = commandline.run("ls", str(run))
    assert f"{len(found)} of these videos are evicted, and in {THERE}" in listed.stdout, "without a word to the storage"


def make_free(size):
    """A box of MP4's that players pass over, of so many bytes."""
    return struct.pack(">I4s", size, b"free") + bytes(size - 8)


def test_several_runs_below_one_place_are_read_together(s3, run, tmp_path):
    other = make_run(tmp_path / "other", 5, 0)
    assert send(run)
    assert send(other)
    listed = commandline.only_json(commandline.run("ls", "--json", THERE.rpartition("/")[0]).stdout)
    assert [len(each["episodes"]) for each in listed["runs"]] == [5, 3]
    with pytest.raises(ConfigError, match="has another run"):
        send(other, THERE)
    manifest = json.loads(store.ObjectStore(objects.ObjectPlace.parse(THERE)).get(MANIFEST))
    assert manifest["folder"] == str(run)
