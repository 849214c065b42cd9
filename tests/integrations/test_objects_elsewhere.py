"""obstore against Microsoft's emulator and a stand-in for Google's storage: the promises that S3's tests have."""

from __future__ import annotations

import json
import subprocess

import azurite
import google_storage
import numpy as np
import pytest
import s3
from syncing import EPISODES, EVERY, send_again, train, wait_sent

import commandline
import fetching
import offcam
from made import make_run, make_video
from object_runs import grow, is_as, send
from offcam.sync import index as run_index
from offcam.sync.core import Batch
from offcam.sync.sinks import objects
from offcam_proto.errors import ConfigError
from offcam_runs.objects.layout import ObjectPlace
from offcam_runs.objects.store import ObjectStore

pytestmark = pytest.mark.integrations


@pytest.fixture(params=["azure", "google"])
def place(request, tmp_path, monkeypatch):
    """The URL that runs are sent below."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return request.getfixturevalue(request.param)


@pytest.fixture
def azure(tmp_path, monkeypatch):
    with azurite.running(tmp_path) as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        yield f"az://{azurite.CONTAINER}/runs"


@pytest.fixture
def google(monkeypatch):
    with s3.running(google_storage.GoogleStorage) as found:
        monkeypatch.setenv("GOOGLE_SERVICE_ACCOUNT_KEY", found.account)
        yield f"gs://{s3.BUCKET}/runs"


@pytest.fixture
def video(tmp_path):
    return make_video(tmp_path / "video.mp4")


def test_a_training_is_there_as_it_was_recorded_and_each_verb_reads_it(daemon, folder, place):
    train(folder, f"{place}/{{name}}")
    there = f"{place}/{folder.name}"
    state = wait_sent(folder)
    assert (state.where, state.sent_episodes, state.sent_clips) == (there, EPISODES, EPISODES // EVERY)
    assert is_as(there, folder)
    before = ObjectStore(ObjectPlace.parse(there)).sizes("")
    send_again(folder)
    assert ObjectStore(ObjectPlace.parse(there)).sizes("") == before, "nothing has changed"
    verified = commandline.run("verify", there)
    assert verified.returncode == 0, verified.stdout
    (listed,) = commandline.only_json(commandline.run("ls", "--json", place).stdout)["runs"]
    assert len(listed["episodes"]) == EPISODES
    assert commandline.run("show", there).returncode == 0


def test_steps_and_a_large_video_go_and_come_in_pieces(tmp_path, place, video):
    run = grow(tmp_path / "run", 0, 3, video)
    assert send(run, f"{place}/run")
    assert is_as(f"{place}/run", run)
    store, large = ObjectStore(ObjectPlace.parse(place)), tmp_path / "large"
    large.write_bytes(np.random.default_rng(0).bytes(12 << 20))
    with large.open("rb") as file:
        store.put_file("large", file)
        assert store.holds("large", file)
    store.fetch("large", tmp_path / "fetched")
    assert (tmp_path / "fetched").read_bytes() == large.read_bytes()
    assert store.get_range("large", 7 << 20, 1000) == large.read_bytes()[7 << 20 :][:1000]
    large.write_bytes(b"?" + large.read_bytes()[1:])
    with large.open("rb") as file:
        assert not store.holds("large", file)


def test_the_page_plays_a_part_of_a_video(tmp_path, place, video):
    assert send(make_run(tmp_path / "run", 1, 1, video=video), f"{place}/run")
    whole = video.read_bytes()
    with subprocess.Popen([*commandline.COMMAND, "view", place, "--json"], stdout=subprocess.PIPE, text=True) as page:
        try:
            api = json.loads(page.stdout.readline())["url"] + "/api/runs"
            (shown,) = fetching.fetch(api).json()["runs"]
            (clip,) = fetching.fetch(f"{api}/{shown['id']}/clips").json()["clips"]
            path = f"{api}/{shown['id']}/clips/{clip['key']}/video"
            answer = fetching.fetch(path, headers={"Range": "bytes=100-199"})
            assert (answer.status_code, answer.content) == (206, whole[100:200])
        finally:
            page.terminate()


def test_of_two_that_send_one_run_the_newest_manifest_alone_is_replaced(tmp_path, place, video):
    run, to = make_run(tmp_path / "run", 3, 1, video=video), {"url": f"{place}/run"}
    first, second = (objects.Tracker(run_index.facts_of(str(run), None), to, {}) for _ in range(2))
    first.send(Batch(last_id=3))
    make_run(run, 5, 0, stream=b"t" * 16, began=1.8e9)
    second.send(Batch(last_id=8))  # it has not seen what the first has sent
    first.finish()
    assert is_as(to["url"], run)


def test_a_limit_for_the_disk_is_held_and_what_went_is_read_from_there(tmp_path, place, video):
    run = grow(tmp_path / "run", 0, 3, video)
    assert send(run, f"objects:url={place}/run,local_limit=1")
    assert not list(run.glob("*.mp4"))
    assert not list(run.glob("steps/*"))
    assert all(offcam.load(run).steps(number).complete for number in range(3))
    for clip in offcam.load(run).clips:
        assert clip.evicted == f"{place}/run"
        with clip.open() as file:
            assert file.read() == video.read_bytes()


def test_a_bucket_that_is_not_there_is_said(tmp_path, place, video):
    run, missing = make_run(tmp_path / "run", 1, 1, video=video), f"{place[:2]}://elsewhere/run"
    for call in (lambda: send(run, missing), lambda: offcam.load(missing)):
        with pytest.raises(ConfigError, match="there is no bucket 'elsewhere': make it"):
            call()


def test_a_key_that_is_refused_is_said_in_a_line(azure, monkeypatch):
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "bm9uZQ==")
    said = commandline.run("ls", azure)
    assert (said.returncode, said.stderr.count("\n")) == (2, 1)
    assert "is refused" in said.stderr
    assert "set AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY to" in said.stderr
