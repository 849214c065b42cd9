from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from offcam_proto.endpoints import MAX_SOCKET_PATH, default_endpoint, endpoint_from, parse_endpoint, runtime_dir
from offcam_proto.errors import ConfigError


def test_the_default_is_a_socket_in_the_user_s_runtime_directory():
    assert default_endpoint({"XDG_RUNTIME_DIR": "/run/user/7"}, 7).path == "/run/user/7/offcam/daemon.sock"
    assert default_endpoint({"XDG_RUNTIME_DIR": "/run/user/7/"}, 7).path == "/run/user/7/offcam/daemon.sock"
    assert default_endpoint({}, 7).path == "/tmp/offcam-7/daemon.sock"  # noqa: S108 - what is tested


@pytest.mark.parametrize("base", ["", "run/user/7", "./x"])
def test_a_runtime_directory_that_is_not_absolute_is_ignored(base):
    assert runtime_dir({"XDG_RUNTIME_DIR": base}, 7) == "/tmp/offcam-7"  # noqa: S108 - what is tested


def test_the_environment_may_name_another():
    endpoint, named = endpoint_from({"OFFCAM_ADDR": " ipc:///run/offcam.sock "}, 7)
    assert (endpoint.path, endpoint.url, named) == ("/run/offcam.sock", "ipc:///run/offcam.sock", True)
    endpoint, named = endpoint_from({"OFFCAM_ADDR": " "}, 7)
    assert (endpoint, named) == (default_endpoint({}, 7), False)


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("tcp://10.0.0.7:5555", "10.0.0.7", 5555),
        ("tcp://node-7.lab:1", "node-7.lab", 1),
        ("tcp://[::1]:65535", "[::1]", 65535),
    ],
)  # fmt: skip
def test_tcp(text, host, port):
    endpoint = parse_endpoint(text, "it")
    assert (endpoint.path, endpoint.host, endpoint.port) == (None, host, port)


@pytest.mark.parametrize(
    "text",
    [
        "", "/run/x.sock", "ipc://", "ipc://relative", "ipc:///", "ipc:///run/", "ipc:///a\0b", "ipc://@abstract",
        "tcp://host", "tcp://host:", "tcp://:5555", "tcp://host:0", "tcp://host:65536", "tcp://host:5555/x",
        "tcp://host:\uff11\uff12", "udp://host:1", "inproc://x", "ipc:///\ud800",
    ],
)  # fmt: skip
def test_what_is_no_endpoint(text):
    with pytest.raises(ConfigError, match="OFFCAM_ADDR must"):
        parse_endpoint(text, "OFFCAM_ADDR")


def test_a_path_is_as_long_as_a_socket_s_may_be_in_bytes():
    longest = "/" + "é" * (MAX_SOCKET_PATH // 2)
    assert parse_endpoint(f"ipc://{longest}", "it").path == longest
    with pytest.raises(ConfigError, match="longer than 107 bytes"):
        parse_endpoint(f"ipc://{longest}x", "it")
    undecodable = "/" + "\udcff" * (MAX_SOCKET_PATH - 1)
    assert parse_endpoint(f"ipc://{undecodable}", "it").path == undecodable


@settings(deadline=None)
@given(st.sampled_from(["", "ipc://", "ipc:///", "tcp://", "tcp://h:"]), st.text(st.characters()))
def test_any_text_is_an_endpoint_or_an_error_of_ours(scheme, text):
    try:
        endpoint = parse_endpoint(scheme + text, "it")
    except ConfigError:
        return
    assert (endpoint.path is None) != (endpoint.host is None)
    assert endpoint.url == scheme + text
