from __future__ import annotations

import contextlib
import json
import math
import socket
import threading
import time

import httpx
import pytest

from fetching import fetch
from offcam_proto.errors import ConfigError
from offcamd.config.values import HttpAddress
from offcamd.web.access import HostCheck
from offcamd.web.server import bind, bound_address, serving
from sources import FixedSource

STATS = {
    "pid": 1,
    "lag": math.nan,
    "runs": [{"folder": "/x", "return": {"max": math.inf, "mean": 0.5}}],
    "name": "naïve",
}


@pytest.fixture
def server():
    with serving_on("127.0.0.1") as url:
        yield url


@contextlib.contextmanager
def serving_on(host, **source):
    listener = bind(HttpAddress(host, 0))
    address = bound_address(listener, host)
    with serving(listener, host, FixedSource(STATS, **source)):
        yield address.url


def test_healthz(server):
    reply = fetch(f"{server}/healthz")
    assert (reply.status_code, reply.text) == (200, "ok")


def test_healthz_is_red_with_the_reason():
    with serving_on("127.0.0.1", unhealthy="the store is dead") as url:
        reply = fetch(f"{url}/healthz")
    assert (reply.status_code, reply.text) == (503, "the store is dead")


def test_stats_are_json_without_nan(server):
    reply = fetch(f"{server}/api/stats")
    assert reply.headers["content-type"] == "application/json"
    assert reply.headers["cache-control"] == "no-store"
    assert "access-control-allow-origin" not in reply.headers
    assert json.loads(reply.text, parse_constant=pytest.fail) == {
        "pid": 1,
        "lag": None,
        "runs": [{"folder": "/x", "return": {"max": None, "mean": 0.5}}],
        "sync": [],
        "name": "naïve",
    }


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_it_is_read_only(server, method):
    assert httpx.request(method, f"{server}/api/stats").status_code == 403
    assert httpx.request(method, f"{server}/api/stats", headers={"origin": server}).status_code == 405


def test_other_paths_are_not_found(server):
    assert fetch(f"{server}/etc/passwd").status_code == 404


def test_a_rebound_name_gets_nothing(server):
    reply = fetch(f"{server}/api/stats", headers={"host": "attacker.example:8720"})
    assert reply.status_code == 421
    assert "pid" not in reply.text


@pytest.mark.parametrize(
    ("bound", "host", "allowed"),
    [
        ("127.0.0.1", "127.0.0.1:8720", True),
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.1", "LOCALHOST:1", True),
        ("127.0.0.1", "[::1]:8720", True),
        ("127.0.0.1", "10.0.0.7", False),
        ("127.0.0.1", "localhost.attacker.example", False),
        ("127.0.0.1", "127.0.0.1.attacker.example", False),
        ("127.0.0.1", "", False),
        ("127.0.0.1", "[::1", False),
        ("127.0.0.1", "0.0.0.0", False),  # noqa: S104 - a header, no binding
        ("gpu7.lab", "gpu7.lab:8720", True),
        ("gpu7.lab", "gpu8.lab:8720", False),
        ("10.0.0.7", "10.0.0.7:8720", True),
        ("0.0.0.0", "10.0.0.7:8720", True),  # noqa: S104 - as above
        ("0.0.0.0", "attacker.example", False),  # noqa: S104 - as above
        ("0.0.0.0", socket.gethostname(), True),  # noqa: S104 - as above
        ("::", "[fe80::1]:8720", True),
    ],
)
def test_hosts(bound, host, allowed):
    assert HostCheck(None, bound).allows(host) is allowed


def test_answers_do_not_wait_for_an_acknowledgement():
    with bind(HttpAddress("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()):
        connection, _ = listener.accept()
        with connection:
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_ipv6():
    try:
        with serving_on("::1") as url:
            assert url.startswith("http://[::1]:")
            assert fetch(f"{url}/healthz").text == "ok"
    except ConfigError as error:
        pytest.skip(f"no IPv6 here: {error}")


def test_a_default_port_that_is_taken_gives_way_and_one_asked_for_does_not():
    with bind(HttpAddress("127.0.0.1", 0)) as first:
        port = first.getsockname()[1]
        with bind(HttpAddress("127.0.0.1", port, asked=False)) as second:
            assert bound_address(second, "127.0.0.1").port not in (0, port)
        with pytest.raises(ConfigError, match=rf"127\.0\.0\.1:{port} .*--http HOST:PORT"):
            bind(HttpAddress("127.0.0.1", port))


def test_an_unknown_host_is_an_error_with_a_fix():
    with pytest.raises(ConfigError, match="--http"):
        bind(HttpAddress("no-such-host.invalid", 0))


def test_nothing_is_left_when_it_stops():
    before = set(threading.enumerate())
    with serving_on("127.0.0.1") as url:
        assert fetch(f"{url}/healthz").status_code == 200
    assert set(threading.enumerate()) <= before
    with pytest.raises(httpx.ConnectError):
        fetch(f"{url}/healthz")


def test_it_stops_quickly_even_before_it_has_begun_and_with_a_connection_open(within):
    began = time.monotonic()
    with serving_on("127.0.0.1"):
        pass
    with serving_on("127.0.0.1") as url, httpx.Client() as client:
        client.get(f"{url}/healthz")
    within(time.monotonic() - began, 5)
