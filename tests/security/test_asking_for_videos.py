"""Who may have something rendered over HTTP: whoever has the token, or the page itself on this host."""

from __future__ import annotations

import httpx
import pytest

from offcamd.config.values import HttpAddress
from offcamd.web.access import AccessCheck
from offcamd.web.server import bind, bound_address, serving
from offcamd.web.source import FolderSource

TOKEN = "0123456789abcdef0123456789abcdef"  # noqa: S105 - a test's
PATH = "/api/runs/0123456789ab/episodes/render?number=0"
MAY, HOST = 404, b"127.0.0.1:8720"  # there is no such run, which only who may ask is told


@pytest.fixture(params=[None, TOKEN], ids=["without a token", "with a token"])
def server(request, tmp_path):
    listener = bind(HttpAddress("127.0.0.1", 0))
    with serving(listener, "127.0.0.1", FolderSource([tmp_path]), token=request.param):
        yield bound_address(listener, "127.0.0.1").url, request.param


def test_its_own_page_and_who_has_the_token(server):
    url, token = server
    mine = {"authorization": f"Bearer {TOKEN}"}
    assert httpx.post(url + PATH, headers={"origin": url}).status_code == (MAY if token is None else 401)
    assert httpx.post(url + PATH, headers={"origin": url, **mine}).status_code == MAY
    assert httpx.post(url + PATH).status_code == (403 if token is None else 401)
    assert httpx.post(url + PATH, headers=mine).status_code == (403 if token is None else MAY)


def test_nobody_elses_page(server):
    url, _ = server
    port = url.rpartition(":")[2]
    others = ["http://attacker.example", "null", "", url.replace("http", "https"), f"http://127.0.0.1:{int(port) - 1}"]
    for origin in [*others, f"http://127.0.0.1.attacker.example:{port}", f"http://localhost:{port}", f"{url}/"]:
        headers = {"origin": origin, "authorization": f"Bearer {TOKEN}"}
        assert httpx.post(url + PATH, headers=headers).status_code == 403, origin


def test_not_under_another_name(server):
    url, _ = server
    for name in ("attacker.example", "127.0.0.1.attacker.example", "192.0.2.1", ""):
        headers = {"host": name, "origin": f"http://{name}", "authorization": f"Bearer {TOKEN}"}
        assert httpx.post(url + PATH, headers=headers).status_code in (400, 421), name


@pytest.mark.parametrize(
    ("peer", "host", "may"),
    [
        ("127.0.0.1", HOST, True),
        ("127.0.0.1", b"localhost:8720", True),
        ("::1", b"[::1]:8720", True),
        ("192.0.2.7", HOST, False),  # whoever forwards it says which name, not who asks
        ("::ffff:192.0.2.7", HOST, False),
        ("127.0.0.1", b"192.0.2.1:8720", False),
        ("127.0.0.1", b"recorder.example", False),
        (None, HOST, False),
    ],
)
def test_without_a_token_only_on_this_host(peer, host, may):
    headers = [(b"host", host), (b"origin", b"http://" + host)]
    scope = {"method": "POST", "path": "/", "scheme": "http", "headers": headers, "client": peer and (peer, 5)}
    refusal = AccessCheck(None, None).refusal(scope)
    assert (refusal is None) == may
    if refusal is not None:
        assert refusal[0] == 403
        assert "http_token" in refusal[1]
    assert AccessCheck(None, None).refusal({**scope, "method": "GET"}) is None
    assert AccessCheck(None, TOKEN).refusal(scope)[0] == 401
