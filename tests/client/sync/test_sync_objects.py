"""Runs in object storage: what is sent is read back as it was, whoever is killed or comes in between meanwhile."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import threading
from contextlib import closing
from pathlib import Path

import pytest

import commandline
import fetching
import offcam
from envs import Barcode, play
from made import make_run, make_video
from object_runs import below, grow, is_as, killed_at, send
from offcam.sync import index as run_index
from offcam.sync.core import Batch
from offcam_runs.format import INDEX_NAME, SYNC_NAME
from offcam_runs.objects import segments
from offcam_runs.objects.copies import original
from offcam_runs.objects.layout import MANIFEST
from offcam_runs.objects.store import Changed, ObjectStore
from offcam_runs.sync.state import read_all
from waiting import wait_until

pytest.importorskip("obstore")
from offcam.sync.sinks import objects

# --- what is sent is read back ------------------------------------------------------------------------------


def test_what_was_sent_is_read_back_as_it_was(tmp_path, url, video):
    run = grow(tmp_path / "run", 0, 5, video)
    assert send(run, url)
    assert is_as(url, run)
    (state,) = (each.state for each in read_all(run))
    assert (state.where, state.sent_episodes, state.sent_clips, state.over) == (url, 5, 5, True)
    assert send(run, url)
    assert len(below(url)) == 1 + 2 + 5 + 1, "a manifest, a head and a tail, the videos, and the steps"


def test_only_what_is_looked_at_is_fetched(tmp_path, url, video, capsys):
    run = grow(tmp_path / "run", 0, 3, video)
    assert send(run, url)
    copy = offcam.load(url)
    folder = Path(copy.folder)
    assert original(folder) == url
    offcam.show(url, videos=0)
    assert f"{copy.folder}  CartPole-v1  3 " in capsys.readouterr().out
    assert [path.name for path in folder.iterdir()] == [INDEX_NAME]
    clip = copy.clips[1]
    assert not Path(clip.path).exists()
    assert clip.fetch() == clip.path
    assert sorted(path.name for path in folder.glob("*.mp4")) == [clip.file]
    assert not (folder / "steps").exists()
    assert copy.steps(2).complete
    assert len(list((folder / "steps").iterdir())) == 1
    assert sorted(path.name for path in folder.iterdir()) == [INDEX_NAME, clip.file, "steps"]
    listed = commandline.run("ls", url).stdout
    assert f"a copy of {url}: 1 of 3 videos is fetched, others are when they are looked at\n" in listed


def test_what_comes_later_goes_behind_what_is_there(tmp_path, url, video):
    run = grow(tmp_path / "run", 0, 3, video, over=False)
    assert send(run, url)
    assert is_as(url, run)
    before = below(url)
    grow(run, 3, 2, video)
    assert send(run, url)
    assert is_as(url, run)
    after = below(url)
    changed = {key for key in before if after.get(key) != before[key]}
    (gone,) = changed - after.keys()
    assert gone == json.loads(before[MANIFEST])["head"]
    assert changed == {gone, MANIFEST}, "nothing else is ever written again"


def test_a_long_run_goes_in_several_pieces(tmp_path, url, video, monkeypatch):
    monkeypatch.setattr(segments, "MOST_EPISODES", 3)
    monkeypatch.setattr(objects, "MOST_BYTES", 2 * video.stat().st_size)
    manifests = []
    commit = objects.Tracker._commit
    monkeypatch.setattr(
        objects.Tracker,
        "_commit",
        lambda self, manifest, head: (commit(self, manifest, head), manifests.append(offcam.load(url))),
    )
    run = grow(tmp_path / "run", 0, 8, video)
    assert send(run, url)
    assert is_as(url, run)
    seen = [(len(found.episodes), len(found.clips)) for found in manifests]
    assert seen[:4] == [(3, 2), (6, 4), (8, 6), (8, 8)], "each is a run of its own"


def test_all_sessions_are_at_one_place(tmp_path, url, video):
    run = make_run(tmp_path / "run", 3, 1, video=video)
    make_run(run, 5, 0, stream=b"t" * 16, began=1.8e9)
    assert send(run, url)
    assert offcam.load(url).sessions == (1, 2)
    assert len(offcam.load(url, session=1).episodes) == 3
    assert is_as(url, run)


def test_a_video_that_its_rule_let_go_is_removed_there_too(tmp_path, url, video):
    run = grow(tmp_path / "run", 0, 3, video)
    assert send(run, url)
    copy = offcam.load(url)
    local = Path(copy.clips[1].fetch())
    (run / copy.clips[1].file).unlink()
    with closing(sqlite3.connect(run / INDEX_NAME)) as index, index:
        index.execute("DELETE FROM clips WHERE clip = 1")
    grow(run, 3, 1, video)
    assert send(run, url)
    assert is_as(url, run)
    assert sum(key.endswith(".mp4") for key in below(url)) == 3
    assert not local.exists()


def test_a_clip_is_there_once_its_file_is_and_none_that_is_recorded(tmp_path, url, video):
    run = grow(tmp_path / "run", 0, 3, video)
    with closing(sqlite3.connect(run / INDEX_NAME)) as index, index:
        index.execute("UPDATE clips SET state = 'recording' WHERE clip = 2")
    (run / "rl-video-episode-1.mp4").unlink()  # as its user may have
    assert send(run, url)
    copy = offcam.load(url)
    assert [clip.clip for clip in copy.clips] == [0, 1]
    assert [Path(clip.fetch()).exists() for clip in copy.clips] == [True, False]


def test_a_training_is_sent_while_it_goes_on(daemon, folder, tmp_path):
    url = f"file://{tmp_path}/objects/{{name}}"
    there = url.format(name=folder.name)
    manifest = Path(there.removeprefix("file://"), MANIFEST)
    with closing(offcam.record(Barcode(length=5), folder, every=1, steps=True, sync=url)) as env:
        play(env, 2)
        env.flush()
        wait_until(lambda: manifest.exists() and len(offcam.load(there).clips) == 2, "two videos are there")
        play(env, 1)
    wait_until(lambda: (found := read_all(folder)) and found[0].state.over, "all is sent", lambda: read_all(folder))
    wait_until(lambda: not read_all(folder)[0].working, "its process is gone")
    assert is_as(there, folder)


# --- whoever is killed ----------------------------------------------------------------------------------------


def test_a_sender_that_is_killed_at_each_step_loses_nothing_and_repeats_nothing(tmp_path, url, video):
    run = grow(tmp_path / "run", 0, 2, video, over=False)
    assert send(run, url)
    before = below(url)
    shutil.copytree(run / SYNC_NAME, tmp_path / "noted")
    grow(run, 2, 2, video)
    for step in range(20):
        shutil.rmtree(run / SYNC_NAME)
        shutil.copytree(tmp_path / "noted", run / SYNC_NAME)
        for key in below(url).keys() - before.keys():
            Path(url.removeprefix("file://"), key).unlink()
        for key, data in before.items():
            Path(url.removeprefix("file://"), key).write_bytes(data)
        done = killed_at(step, run, url)
        if done.returncode == 0:
            break
        half = below(url)
        found = offcam.load(url)
        assert len(found.episodes) in (2, 4)
        assert len(found.clips) == len(found.episodes), "it is the run of before, or that of now"
        assert all(Path(clip.fetch()).exists() for clip in found.clips)
        assert send(run, url)
        assert is_as(url, run)
        after = below(url)
        assert {key for key in half if key in after and after[key] != half[key]} <= {MANIFEST}
    assert step == 7, "the steps, two videos, a tail, a head, the manifest, and the old head's removal"


def test_two_that_send_one_run_at_once_do_not_lose_what_the_other_sent(tmp_path, video, monkeypatch):
    """A folder cannot compare, which object storage can: here a lock and a look stand for that."""
    held = threading.Lock()
    put = ObjectStore.put

    def comparing(self, key, data, tag=None):
        with held:
            if tag is not None:
                there = self.get_tagged(key)[1] if MANIFEST in below(self.place.url) else {}
                if there != tag:
                    raise Changed(key)
            return put(self, key, data)

    monkeypatch.setattr(ObjectStore, "put", comparing)
    url = f"file://{tmp_path}/objects/run"
    run = grow(tmp_path / "run", 0, 3, video)
    facts = run_index.facts_of(str(run), None)
    first, second = (objects.Tracker(facts, {"url": url}, {}) for _ in range(2))
    first.send(Batch(last_id=3))
    grow(run, 3, 3, video)
    second.send(Batch(last_id=6))  # it has not seen what the first has sent
    first.finish()
    second.finish()
    assert is_as(url, run)
    with closing(sqlite3.connect(Path(offcam.load(url).folder, INDEX_NAME))) as index:
        assert index.execute("SELECT count(*) FROM tails").fetchone() == (2,)


# --- the command line -----------------------------------------------------------------------------------------


def test_the_verbs_take_a_url(tmp_path, url, video):
    run = tmp_path / "run"
    make_run(run, 1, 1, video=make_video(tmp_path / "fits.mp4"))  # as many frames as its index says
    sent = commandline.run("sync", str(run), "--to", url)
    assert (sent.returncode, sent.stdout) == (0, f"{url}: 1 episode and 1 video\n")
    listed = commandline.only_json(commandline.run("ls", "--json", url).stdout)
    assert [clip["file"] for clip in listed["clips"]] == ["rl-video-episode-0.mp4"]
    checked = commandline.run("verify", url)
    assert (checked.returncode, checked.stdout) == (0, "1 video, 21 frames checked: all is well.\n")
    assert commandline.only_json(commandline.run("show", "--json", url).stdout)["runs"][0]["session"] == 1
    plotted = commandline.run("plot", url, "-o", str(tmp_path / "curve.png"))
    assert plotted.returncode == 0, plotted.stderr
    assert commandline.run("ls", url.rpartition("/")[0]).stdout.count("rl-video-episode-0.mp4") == 1


def test_the_page_shows_a_run_there_its_videos_by_ranges_and_what_comes_later(tmp_path, url, video):
    run = grow(tmp_path / "run", 0, 1, video, over=False)
    assert send(run, url)
    words = [*commandline.COMMAND, "view", url, "--json"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        try:
            api = json.loads(process.stdout.readline())["url"] + "/api/runs"
            (shown,) = fetching.fetch(api).json()["runs"]
            (clip,) = fetching.fetch(f"{api}/{shown['id']}/clips").json()["clips"]
            answer = fetching.fetch(
                f"{api}/{shown['id']}/clips/{clip['key']}/video", headers={"Range": "bytes=100-199"}
            )
            assert (answer.status_code, answer.content) == (206, video.read_bytes()[100:200])
            grow(run, 1, 1, video)
            assert send(run, url)
            wait_until(lambda: fetching.fetch(api).json()["runs"][0]["episodes"] == 2, "the later episode is shown")
        finally:
            process.terminate()


# --- what is decided ------------------------------------------------------------------------------------------


def test_the_pause_grows_with_the_run_and_has_a_bound():
    assert objects.pause_seconds(0, 1000) == objects.LEAST_PAUSE
    assert objects.pause_seconds(1000, 1000) == 10
    assert objects.pause_seconds(0, 2 << 20) == 8
    assert objects.pause_seconds(1e6, 1 << 30) == objects.MOST_PAUSE
