"""Mistakes with places in object storage: each is said in a line, and nothing of somebody else's is touched."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest

import commandline
import offcam
from object_runs import below, grow, is_as, send
from offcam.sync import sinks
from offcam_proto.errors import ConfigError, NotARunFolder, RunFolderError
from offcam_runs.format import INDEX_NAME, SYNC_NAME
from offcam_runs.objects import segments
from offcam_runs.objects.layout import MANIFEST, ObjectPlace, segment_key
from offcam_runs.objects.store import ObjectStore
from offcam_runs.sync.state import read_all

pytest.importorskip("obstore")


def test_two_runs_of_one_name_do_not_share_a_place(tmp_path, url, video):
    first = grow(tmp_path / "run", 0, 1, video)
    assert send(first, url)
    before = below(url)
    other = grow(tmp_path / "other", 0, 1, video)
    with pytest.raises(ConfigError, match=r"has another run, recorded on .* into .*/run: give each run a place of its"):
        send(other, url)
    assert below(url) == before
    (state,) = (each.state for each in read_all(other))
    assert state.error.startswith(f"{url} has another run")


def test_an_object_of_another_program_is_left_alone(tmp_path, url, video):
    run = grow(tmp_path / "run", 0, 1, video)
    place = Path(url.removeprefix("file://"))
    place.mkdir(parents=True)
    (place / "model.zip").write_bytes(b"weights")
    (place / MANIFEST).write_text("{}")
    with pytest.raises(RunFolderError, match=r"offcam.json is an object of another program: give another prefix"):
        offcam.load(url)
    with pytest.raises(ConfigError, match=r"offcam.json is an object of another program"):
        send(run, url)
    assert (place / MANIFEST).read_text() == "{}"
    (place / MANIFEST).unlink()
    assert send(run, url)
    assert (place / "model.zip").read_bytes() == b"weights"
    assert is_as(url, run)


def test_another_run_at_a_place_is_not_mixed_with_the_one_before(tmp_path, url, video):
    first = grow(tmp_path / "run", 0, 2, video)
    assert send(first, url)
    assert is_as(url, first)
    place = Path(url.removeprefix("file://"))
    place.rename(tmp_path / "away")
    other = grow(tmp_path / "other", 0, 1, video)
    assert send(other, url)
    assert is_as(url, other)


def test_what_was_changed_there_is_not_read(tmp_path, url, video):
    run = grow(tmp_path / "run", 0, 1, video)
    assert send(run, url)
    head = Path(url.removeprefix("file://"), json.loads(below(url)[MANIFEST])["head"])
    head.write_bytes(head.read_bytes()[:-1] + b"?")
    with pytest.raises(RunFolderError, match="has not the bytes that its name says"):
        offcam.load(url)


@pytest.mark.parametrize("name", [f"{INDEX_NAME}-wal", "../other.mp4", "steps"])
def test_no_file_is_written_but_a_video(tmp_path, url, video, name):
    run = grow(tmp_path / "run", 0, 1, video)
    assert send(run, url)
    place, scratch = Path(url.removeprefix("file://")), tmp_path / "head"
    manifest = json.loads((place / MANIFEST).read_text())
    segments.unpack((place / manifest["head"]).read_bytes(), scratch, "head")
    with closing(sqlite3.connect(scratch)) as head, head:
        head.execute("UPDATE videos SET file = ?", (name,))
    data = segments.packed(scratch)
    (place / segment_key(data)).write_bytes(data)
    (place / MANIFEST).write_text(json.dumps({**manifest, "head": segment_key(data)}))
    (clip,) = offcam.load(url).clips
    assert not Path(clip.fetch()).exists()
    folder = Path(clip.folder)
    assert [path.name for path in folder.iterdir()] == [INDEX_NAME]
    assert not (folder.parent / "other.mp4").exists()


def test_a_run_that_is_sent_anew_is_read_anew(tmp_path, url, video):
    run = grow(tmp_path / "run", 0, 2, video, over=False)
    assert send(run, url)
    grow(run, 2, 2, video)
    assert send(run, url)
    assert is_as(url, run)
    shutil.rmtree(url.removeprefix("file://"))
    shutil.rmtree(run / SYNC_NAME)
    assert send(run, url)
    assert is_as(url, run)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("s4://bucket/run", "'s4://bucket/run' is in no object storage that offcam knows: there are s3://, gs://"),
        ("s3://", "a place is given as s3://bucket/run, got 's3://'"),
        ("file://host/run", "a place is given as file:///folder/run"),
        ("s3://bucket/../run", "a place is given as"),
        ("s3://key:secret@bucket/run", "the place at 'bucket' has more than a bucket and a prefix"),
        ("s3://bucket/run?region=x", "keys and options belong into the environment"),
    ],
)
def test_urls_that_are_none_are_refused_without_their_secrets(tmp_path, given, says):
    for call in (lambda: offcam.load(given), lambda: offcam.sync(tmp_path, given)):
        with pytest.raises(ConfigError) as raised:
            call()
        assert says in str(raised.value)
        assert "secret" not in str(raised.value)
    done = commandline.run("ls", given)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert says in done.stderr


def test_a_place_without_a_run_is_said(tmp_path):
    with pytest.raises(NotARunFolder, match=r"has no run .there is no folder"):
        offcam.load(f"file://{tmp_path}/nothing")
    with pytest.raises(NotARunFolder, match=r"has no run: give what a run was sent to"):
        offcam.load(f"file://{tmp_path}")


def test_a_folder_without_rights_is_said(tmp_path, url, video):
    if os.getuid() == 0:
        pytest.skip("root may write everywhere")
    run = grow(tmp_path / "run", 0, 1, video)
    place = Path(url.removeprefix("file://"))
    place.mkdir(parents=True)
    place.chmod(0o500)
    with pytest.raises(ConfigError, match=r"is refused .* give yourself the rights"):
        send(run, url)


def test_a_folder_that_cannot_be_made_is_said(tmp_path, video):
    run = grow(tmp_path / "run", 0, 1, video)
    with pytest.raises(ConfigError, match=r"video.mp4/run cannot be made .Not a directory"):
        send(run, f"file://{video}/run")


def test_without_the_package_its_command_is_said(tmp_path, url, video, monkeypatch):
    run = grow(tmp_path / "run", 0, 1, video)
    monkeypatch.setitem(sys.modules, "obstore.store", None)
    with pytest.raises(ConfigError, match=r'needs obstore, .* -m pip install "offcam\[objects\]"$'):
        offcam.load(url)
    monkeypatch.setitem(sinks.PACKAGES, "objects", "no_such_package")
    with pytest.raises(ConfigError, match=r"'objects' needs no_such_package"):
        offcam.sync(run, url)


@pytest.mark.parametrize(
    ("scheme", "wanted"), [("s3", "AWS_ACCESS_KEY_ID"), ("gs", "GOOGLE_"), ("az", "AZURE_STORAGE_ACCOUNT_NAME")]
)
def test_without_a_key_each_storage_says_what_it_wants(monkeypatch, scheme, wanted):
    from obstore.exceptions import GenericError  # noqa: PLC0415 - skipped without it

    def asks_its_machine(_):
        raise GenericError("error sending request for url (http://169.254.169.254/token)")

    for name in ("AWS_REGION", "AZURE_STORAGE_ACCOUNT_NAME"):
        monkeypatch.setenv(name, "somewhere")
    store = ObjectStore(ObjectPlace.parse(f"{scheme}://bucket/run"))
    monkeypatch.setattr(store, "_objects", SimpleNamespace(get=asks_its_machine))
    with pytest.raises(ConfigError, match=f"cannot be reached: no key was found, set {wanted}"):
        store.get(MANIFEST)
