"""``offcam hub``: one page for what many hosts push, beside this host's own recorder."""

from __future__ import annotations

import json
import shutil

import httpx
import pytest

import commandline
from hubs import hub_host
from made import make_video
from object_runs import grow, send


@pytest.fixture
def hub(runtime):
    with hub_host(runtime / "hub") as found:
        yield found


@pytest.fixture
def video(tmp_path):
    return make_video(tmp_path / "video.mp4")


def get(hub, path):
    return httpx.get(f"{hub.http}{path}", timeout=60)


def the_clips(hub):
    (run,) = get(hub, "/api/runs").json()["runs"]
    return run, get(hub, f"/api/runs/{run['id']}/clips").json()["clips"]


def test_the_page_has_what_was_pushed_and_says_where_videos_are(tmp_path, hub, video):
    folder = grow(tmp_path / "lander", 0, 3, video)
    hub.start()
    assert send(folder, hub.url)
    run, clips = the_clips(hub)
    assert run["title"].startswith("node/lander-")
    assert run["episodes"] == 3
    assert {clip["place"].partition(":")[2] for clip in clips} == {str(folder)}
    assert {clip["video"] for clip in clips} == {clip["poster"] for clip in clips} == {None}
    answer = get(hub, f"/api/runs/{run['id']}/clips/{clips[0]['key']}/video")
    assert answer.status_code == 404
    assert str(folder) in answer.text


def test_a_video_in_object_storage_is_played_from_there(tmp_path, hub, video):
    pytest.importorskip("obstore")
    folder = grow(tmp_path / "lander", 0, 3, video)
    assert send(folder, f"file://{tmp_path}/objects/{{name}}")
    hub.start("--videos", f"file://{tmp_path}/objects")
    assert send(folder, hub.url)
    shutil.rmtree(folder)
    _, clips = the_clips(hub)
    assert clips[0]["place"] == f"file://{tmp_path}/objects/lander"
    answer = httpx.get(f"{hub.http}{clips[0]['video']}", timeout=60)
    assert answer.status_code == 200
    assert answer.content == video.read_bytes()
    assert answer.headers["content-type"] == "video/mp4"


@pytest.mark.parametrize("videos", ["off", "file:///objects", "s3://bucket/runs"])
def test_nothing_is_fetched_from_where_its_owner_has_not_said(tmp_path, hub, video, videos):
    pytest.importorskip("obstore")
    folder = grow(tmp_path / "lander", 0, 1, video)
    url = f"file://{tmp_path}/objects"
    assert send(folder, url)
    hub.start("--videos", videos)
    assert send(folder, hub.url)
    _, (clip,) = the_clips(hub)
    assert clip["place"].endswith(f":{url}")
    assert clip["video"] is None


def test_runs_that_were_pushed_before_are_shown_again(tmp_path, hub, video):
    hub.start()
    assert send(grow(tmp_path / "lander", 0, 2, video), hub.url)
    hub.kill()
    for left in hub.root.parent.glob("h.sock*"):
        left.unlink()  # as in a new container, which has the runs alone
    hub.start()
    assert [run["title"].partition("-")[0] for run in get(hub, "/api/runs").json()["runs"]] == ["node/lander"]


def test_it_is_verified_without_its_videos(tmp_path, hub, video):
    hub.start()
    assert send(grow(tmp_path / "lander", 0, 2, video), hub.url)
    hub.kill(15)
    done = commandline.run("verify", hub.runs()[0], "--json")
    assert done.returncode == 0
    assert {note["kind"] for note in json.loads(done.stdout)["notes"]} == {"elsewhere"}


def test_it_stands_beside_the_recorder_of_its_host(serve, hub):
    serve("--http", "127.0.0.1:0")
    words = ("hub", "--tcp", hub.url, "--keys", str(hub.store.directory), "--http", "127.0.0.1:0", "--json")
    with commandline.Offcam(*words, stdout=-1, text=True) as process:
        said = json.loads(process.stdout.readline())
        process.terminate()
    assert said["endpoint"].endswith("/hub-v1.sock")
    assert said["tcp"] == hub.url


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--tcp", "off"), "a hub listens for other hosts, and tcp is off: give --tcp tcp://HOST:PORT"),
        (("--tcp", "head"), "must be ipc:///absolute/path or tcp://host:port, got 'head'"),
        (("--tcp", "tcp://127.0.0.1:1", "--keys", "nowhere"), "nowhere"),
        (("--videos", "bucket/runs"), "--videos: 'bucket/runs' is in no object storage that offcam knows"),
    ],
)
@pytest.mark.usefixtures("runtime")
def test_bad_input_is_one_line(words, said):
    done = commandline.run("hub", *words)
    assert done.returncode == 2
    (line,) = done.stderr.strip().splitlines()
    assert said in line
