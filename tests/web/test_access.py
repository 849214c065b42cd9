"""What browsers are told, who may see what, and who is let go."""

from __future__ import annotations

import asyncio
import contextlib

import httpx
import pytest

import made
from fetching import fetch
from offcam_runs.run_ids import by_id, run_id
from offcamd.config.values import HttpAddress
from offcamd.web.app import STATIC_FOLDER
from offcamd.web.events import MOST_WAITING, Broadcaster, pause_after
from offcamd.web.runs import RunDescriptions
from offcamd.web.server import bind, bound_address, serving
from offcamd.web.source import FolderSource
from sources import FixedSource
from waiting import HANG_SECONDS

TOKEN = "0123456789abcdef0123456789abcdef"  # noqa: S105 - a test's


@contextlib.contextmanager
def served(source, token=None):
    listener = bind(HttpAddress("127.0.0.1", 0))
    url = bound_address(listener, "127.0.0.1").url
    with (
        serving(listener, "127.0.0.1", source, token=token),
        httpx.Client(base_url=url, timeout=HANG_SECONDS) as client,
    ):
        yield client


def test_with_a_token_the_page_comes_and_nothing_that_was_recorded(run):
    base = f"/api/runs/{run_id(run)}"
    clip = f"{base}/clips/{made.STREAM.hex()}-0"
    with served(FolderSource([run]), TOKEN) as client:
        for path in ("/", "/r/0123456789ab/e/4", "/static/app.js", "/healthz", "/readyz"):
            assert client.get(path).status_code == 200, path
        closed = ("/api/runs", base, f"{base}/episodes", f"{base}/curve", f"{clip}/video", f"{clip}/poster", "/metrics")
        for path in (*closed, "/api/events", "/openapi.json", "/static", "/static/../api/runs", "/r/../api/runs"):
            reply = client.get(path)
            assert reply.status_code in (401, 307), path
            assert "made" not in reply.text
        mine = {"authorization": f"Bearer {TOKEN}"}
        for path in closed:
            assert client.get(path, headers=mine).status_code == 200, path


@pytest.mark.parametrize("path", ["/", "/static/app.js", "/api/runs", "/metrics", "/nothing", "/api/stats"])
def test_a_browser_loads_from_here_alone_and_shows_it_in_no_frame(client, path):
    headers = client.get(path).headers
    policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert not [value for value in policy.values() if "unsafe" in value or "*" in value or "http" in value]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert "access-control-allow-origin" not in headers
    assert "server" not in headers


def test_what_is_kept_by_browsers(client, base):
    clip = f"{base}/clips/{made.STREAM.hex()}-0"
    kept = {path: client.get(path).headers["cache-control"] for path in ("/", base, f"{clip}/video", f"{clip}/poster")}
    assert kept["/"] == "no-cache"
    assert kept[base] == "no-store"
    assert kept[f"{clip}/video"] == kept[f"{clip}/poster"] == "private, max-age=3600"


def test_scripts_are_scripts(client):
    reply = client.get("/static/app.js")
    assert reply.headers["content-type"].startswith("text/javascript")
    assert reply.content == (STATIC_FOLDER / "app.js").read_bytes()
    assert client.head("/static/app.js").headers["content-length"] == str(len(reply.content))


def test_the_page_is_not_sent_again_to_who_has_it(client):
    for path in ("/", "/static/app.js", "/static/page.css"):
        tag = client.get(path).headers["etag"]
        again = client.get(path, headers={"if-none-match": tag})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
        assert client.get(path, headers={"if-none-match": '"another"'}).status_code == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_nothing_can_be_changed(client, base, method):
    for path in ("/", "/api/runs", base, f"{base}/clips/{made.STREAM.hex()}-0/video", "/static/app.js"):
        assert client.request(method, path).status_code == 403
        assert client.request(method, path, headers={"origin": str(client.base_url)}).status_code == 405
        assert client.request(method, path, headers={"origin": "http://attacker.example"}).status_code == 403


def test_another_name_gets_no_video(client, base):
    reply = client.get(f"{base}/clips/{made.STREAM.hex()}-0/video", headers={"host": "attacker.example"})
    assert reply.status_code == 421
    assert "error" in reply.json()


def test_it_says_when_it_is_not_ready():
    with served(FixedSource({}, unready="The daemon is stopping.")) as client:
        reply = client.get("/readyz")
        assert (reply.status_code, reply.text) == (503, "The daemon is stopping.")


def test_a_bug_is_said_to_be_one(caplog):
    class Broken(FixedSource):
        def stats(self):
            raise ZeroDivisionError

    with served(Broken()) as client:
        reply = client.get("/api/stats")
        assert reply.status_code == 500
        assert "bug in offcam" in reply.json()["error"]
        assert fetch(client.base_url.join("/healthz")).status_code == 200  # over another connection
    assert "ZeroDivisionError" in caplog.text


def test_head_of_events_ends(client):
    reply = client.head("/api/events")
    assert (reply.status_code, reply.content) == (200, b"")


def test_who_does_not_read_is_let_go_and_the_others_are_told():
    async def play():
        source = FixedSource({"runs": [], "pid": 1})
        broadcaster = Broadcaster(source, RunDescriptions(source), lambda: False)
        slow, quick = broadcaster.listen(), broadcaster.listen()
        async with contextlib.aclosing(slow), contextlib.aclosing(quick):
            for events in (slow, quick):
                assert (await anext(events)).startswith(b"retry:")
                assert (await anext(events)).startswith(b"event: stats")
            first = asyncio.create_task(anext(slow))
            for number in range(2 * MOST_WAITING):
                news = asyncio.create_task(anext(quick))
                await asyncio.sleep(0)  # both listen now
                broadcaster._tell(b"%d" % number)
                assert await news == b"%d" % number
            assert len(broadcaster._listeners) == 1
            assert await first == b"0"
            assert len([event async for event in slow]) < MOST_WAITING

    asyncio.run(play())


def test_news_of_more_runs_than_may_wait_cost_no_connection(tmp_path):
    async def play():
        source = FixedSource(folders=by_id(tmp_path / str(number) for number in range(4 * MOST_WAITING)))
        broadcaster = Broadcaster(source, RunDescriptions(source), lambda: False)
        async with contextlib.aclosing(broadcaster.listen()) as events:
            told = [await anext(events) for _ in range(1 + 4 * MOST_WAITING)]
            assert told[-1].startswith(b"event: run")
            assert (await anext(events)).count(b"event: run") == 4 * MOST_WAITING
            assert len(broadcaster._listeners) == 1

    asyncio.run(play())


def test_looking_for_changes_leaves_most_of_the_time_to_others():
    assert [pause_after(took) for took in (0.0, 0.1, 0.2, 2.0)] == [1.0, 1.0, 1.0, 10.0]


def test_no_more_listen_than_may(client, monkeypatch):
    monkeypatch.setattr("offcamd.web.events.MOST_LISTENERS", 0)
    reply = client.get("/api/events")
    assert reply.status_code == 503
    assert "too many" in reply.json()["error"]
