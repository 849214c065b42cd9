"""A clip is watched while it is recorded: what its file has of it comes at once, until the clip is over."""

from __future__ import annotations

import contextlib
import io
import os
import signal
from concurrent.futures import ThreadPoolExecutor

import av
import httpx
import pytest

import offcam
from envs import Barcode, decode
from going import going
from offcamd.web import live
from waiting import HANG_SECONDS, freeze, wait_until

SIDE = 84


@pytest.fixture
def client(serve, endpoint, monkeypatch):
    """A client of a daemon of this test's own, which its wrappers record with."""
    _process, ready = serve()
    monkeypatch.setenv("OFFCAM_ADDR", endpoint.url)
    url = dict(word.split("=", 1) for word in ready.split() if "=" in word)["http"]
    with httpx.Client(base_url=url, timeout=HANG_SECONDS) as found:
        yield found


@pytest.fixture
def env(client, tmp_path):
    env = offcam.record(Barcode(4000), str(tmp_path / "run"), every=1)
    yield env
    env.close()


@pytest.fixture
def stopped(client):
    """Stops the processes that encode. What it returns lets them go on, which they do after the test in any case."""
    pids = []

    def go_on():
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
        pids.clear()

    def stop():
        pids.extend(client.get("/api/stats").json()["encoders"]["pids"])
        for pid in pids:
            freeze(pid)
        return go_on

    yield stop
    go_on()


def fragments(data):
    """The whole fragments, each of one picture, of a video that begins so: how many, and where the last one ends."""
    count = at = end = 0
    while at + 8 <= len(data) and at + (size := int.from_bytes(data[at : at + 4], "big")) <= len(data):
        kind, at = data[at + 4 : at + 8], at + size
        if kind == b"mdat":
            count, end = count + 1, at
    return count, end


def numbers(data):
    """What the pictures of a video that begins so show, but for one of which only a part is there."""
    with av.open(io.BytesIO(data[: fragments(data)[1]]), format="mp4") as container:
        return [decode(frame.to_ndarray(format="rgb24"), SIDE, SIDE) for frame in container.decode(video=0)]


def recorded(client):
    """The run, and its clip that is being recorded, once a page can watch it."""
    found = []

    def there():
        for run in client.get("/api/runs").json()["runs"]:
            if key := run["recording_clip"]:
                clip = client.get(f"/api/runs/{run['id']}/clips/{key}").json()
                if client.head(clip["live"]).status_code == 200:
                    found[:] = [run, clip]
        return found

    wait_until(there, "a clip is being recorded, and has a picture")
    return found


def test_what_is_recorded_is_seen_as_it_comes_until_it_is_over(client, env):
    env.reset()
    with going(env):
        run, clip = recorded(client)
        assert (clip["state"], clip["video"], clip["key"]) == ("recording", None, run["recording_clip"])
        with client.stream("GET", clip["live"]) as reply:
            assert reply.headers["content-type"].startswith('video/mp4; codecs="avc1.')
            pieces = reply.iter_raw()
            seen = next(pieces)
            for _ in range(5):
                now = env.unwrapped.number
                while fragments(seen)[0] <= now:
                    seen += next(pieces)
            env.unwrapped.length = env.unwrapped.number + 20
            seen += b"".join(pieces)
    assert numbers(seen) == list(range(env.unwrapped.number + 1))
    wait_until(lambda: client.get(clip["live"]).status_code == 204, "it is over")
    url = f"/api/runs/{run['id']}"
    wait_until(lambda: client.get(url).json()["recording_clip"] is None, "the run says so")
    (over,) = client.get(f"{url}/clips").json()["clips"]
    assert (over["key"], over["live"], over["state"]) == (clip["key"], None, "final")
    assert client.get(over["video"]).status_code == 200


def test_so_many_are_watched_at_a_time_and_who_leaves_makes_room(client, env):
    env.reset()
    with going(env), contextlib.ExitStack() as stack:
        _run, clip = recorded(client)
        replies = [stack.enter_context(client.stream("GET", clip["live"])) for _ in range(live.MOST_WATCHED)]
        watched = [reply.iter_raw() for reply in replies]
        assert all(map(next, watched))
        refused = client.get(clip["live"])
        assert refused.status_code == 503
        assert "close some" in refused.json()["error"]
    wait_until(lambda: client.head(clip["live"]).status_code == 200, "who has left is counted no more")


def behind(client, env, stopped):
    """Record an episode of which a first picture is there, and begin another one. Returns the run, and their clips."""
    env.reset()
    with going(env):
        run, _clip = recorded(client)
        go_on = stopped()
    env.unwrapped.length = env.unwrapped.number + 20
    while not any(env.step(0)[2:4]):
        pass
    env.unwrapped.length = 4000
    env.reset()
    url = f"/api/runs/{run['id']}"
    shown = lambda: sorted(client.get(f"{url}/clips").json()["clips"], key=lambda clip: clip["episode"])  # noqa: E731
    wait_until(
        lambda: env.step(0) and [clip["length"] is None for clip in shown()] == [False, True],
        "one is over, and one begun",
        lambda: [(clip["key"], clip["state"], clip["length"]) for clip in shown()],
    )
    return client.get(url).json(), shown(), go_on


def test_the_picture_of_now_is_of_what_has_one_where_encoding_lags_behind(client, env, stopped):
    run, clips, go_on = behind(client, env, stopped)
    assert run["recording_clip"] == clips[0]["key"]
    assert [clip["state"] for clip in clips] == ["recording", "recording"]
    assert client.get(clips[1]["live"]).status_code == 204
    go_on()
    wait_until(lambda: client.get(f"/api/runs/{run['id']}").json()["recording_clip"] == clips[1]["key"], "it goes on")


def test_who_looks_has_what_is_recorded_encoded_at_once(client, env, stopped):
    run, clips, go_on = behind(client, env, stopped)
    gives_way = lambda: client.get("/api/stats").json()["encoders"]["give_way"]  # noqa: E731
    with ThreadPoolExecutor(1) as thread, going(env):
        assert gives_way()
        look = client.build_request("GET", clips[1]["live"], params={"hurry": 1})
        seen = thread.submit(client.send, look, stream=True)
        wait_until(lambda: not gives_way(), "somebody waits for a picture")
        go_on()
        with contextlib.closing(seen.result()) as reply:
            assert reply.status_code == 200
            pieces = reply.iter_raw()  # to let go of it is to look no more
            assert next(pieces)
            assert not gives_way()
        wait_until(gives_way, "nobody looks any more")
        with client.stream("GET", clips[1]["live"]) as reply:
            pieces = reply.iter_raw()
            assert next(pieces)
            assert gives_way()
    assert client.get(f"/api/runs/{run['id']}/clips/{clips[0]['key']}/live", params={"hurry": 1}).status_code == 204
