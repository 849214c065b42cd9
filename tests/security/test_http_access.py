"""Who may read over HTTP, and who may not change anything."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import httpx
import pytest

from commandline import WAIT_SECONDS
from fetching import fetch
from offcamd.config.values import HttpAddress
from offcamd.web.access import AccessCheck
from offcamd.web.server import bind, bound_address, serving
from sources import FixedSource

TOKEN = "0123456789abcdef0123456789abcdef"  # noqa: S105 - a test's


@contextlib.contextmanager
def serving_with(token):
    listener = bind(HttpAddress("127.0.0.1", 0))
    address = bound_address(listener, "127.0.0.1")
    with serving(listener, "127.0.0.1", FixedSource({"pid": 1, "runs": []}), token=token):
        yield address.url


def test_with_a_token_every_reading_needs_it():
    with serving_with(TOKEN) as url:
        assert fetch(f"{url}/healthz").text == "ok"
        for header in ({}, {"authorization": "Bearer wrong"}, {"authorization": TOKEN}, {"authorization": "Bearer é"}):
            reply = fetch(f"{url}/api/stats", headers={key: value.encode() for key, value in header.items()})
            assert reply.status_code == 401
            assert reply.headers["www-authenticate"] == "Bearer"
            assert "pid" not in reply.text
        reply = fetch(f"{url}/api/stats", headers={"authorization": f"Bearer {TOKEN}"})
        assert reply.json()["pid"] == 1


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_a_page_of_another_site_changes_nothing(method):
    with serving_with(TOKEN) as url:
        mine = {"authorization": f"Bearer {TOKEN}"}
        for origin in ("http://attacker.example", "null", url.replace("http", "https"), f"{url}.attacker.example", ""):
            reply = httpx.request(method, f"{url}/api/stats", headers={**mine, "origin": origin})
            assert reply.status_code == 403, origin
        assert httpx.request(method, f"{url}/api/stats").status_code == 401
        # neither refused for its origin nor for its token: there is just nothing to be changed
        assert httpx.request(method, f"{url}/api/stats", headers={**mine, "origin": url}).status_code == 405
        assert httpx.request(method, f"{url}/api/stats", headers=mine).status_code == 405


def test_without_a_token_it_is_read_only_and_needs_none():
    with serving_with(None) as url:
        assert fetch(f"{url}/api/stats", headers={"origin": "http://attacker.example"}).status_code == 200
        reply = httpx.post(f"{url}/api/stats", headers={"authorization": "Bearer None"})
        assert reply.status_code == 403
        assert "http_token" in reply.text
        assert httpx.post(f"{url}/api/stats", headers={"origin": "http://attacker.example"}).status_code == 403


def test_two_origins_or_two_tokens_are_none():
    check = AccessCheck(None, TOKEN)
    good = [(b"host", b"127.0.0.1:1"), (b"authorization", f"Bearer {TOKEN}".encode())]
    scope = {"method": "POST", "path": "/", "scheme": "http", "headers": good}
    assert check.refusal(scope) is None
    origin = (b"origin", b"http://127.0.0.1:1")
    assert check.refusal({**scope, "headers": [*good, origin]}) is None
    assert check.refusal({**scope, "headers": [*good, origin, origin]})[0] == 403
    assert check.refusal({**scope, "headers": [*good, good[1]]})[0] == 401


def test_off_loopback_a_daemon_needs_a_token(serve):
    process, ready = serve("--http", "0.0.0.0:0")
    _out, err = process.communicate(timeout=WAIT_SECONDS)
    assert (ready, process.returncode) == ("", 2)
    assert "OFFCAM_HTTP_TOKEN" in err


def test_a_daemon_in_the_background_knows_the_token_and_its_command_line_does_not(offcam_command, runtime):
    Path("offcam.toml").write_text(f'http_token = "{TOKEN}"\n')
    started = offcam_command("start")
    assert started.returncode == 0, started.stderr
    words = dict(word.split("=", 1) for word in started.stdout.split() if "=" in word)
    assert TOKEN.encode() not in Path(f"/proc/{words['pid']}/cmdline").read_bytes()
    assert fetch(f"{words['http']}/api/stats").status_code == 401
    reply = fetch(f"{words['http']}/api/stats", headers={"authorization": f"Bearer {TOKEN}"})
    assert json.loads(reply.text)["pid"] == int(words["pid"])
    assert offcam_command("status").returncode == 0
