from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from offcam_proto.endpoints import (
    MAX_SOCKET_PATH,
    SOCKET_NAME,
    Candidate,
    Look,
    candidates,
    choose,
    endpoint_asked,
    endpoint_in,
    parse_endpoint,
)
from offcam_proto.errors import ConfigError
from offcam_proto.limits import PROTOCOL_VERSION


def paths(environ):
    return [candidate.path for candidate in candidates(environ, 7, "node-1")]


def test_the_candidates_are_the_system_s_directory_then_the_temporary_ones_then_the_home():
    assert paths({"HOME": "/home/a", "XDG_RUNTIME_DIR": "/run/user/7", "TMPDIR": "/scratch/"}) == [
        "/run/user/7/offcam",
        "/tmp/offcam-7",  # noqa: S108 - what is tested
        "/scratch/offcam-7",
        "/home/a/.local/state/offcam/node-1",
        "/home/a/.cache/offcam/node-1",
    ]
    assert paths({"XDG_STATE_HOME": "/s", "XDG_CACHE_HOME": "/c", "HOME": "/h"})[-2:] == [
        "/s/offcam/node-1",
        "/c/offcam/node-1",
    ]


@pytest.mark.parametrize("environ", [{}, {"HOME": "/"}, {"HOME": ""}, {"HOME": "~"}, {"TMPDIR": "here", "HOME": "."}])
def test_what_is_no_place_is_no_candidate(environ):
    assert paths(environ) == ["/run/user/7/offcam", "/tmp/offcam-7"]  # noqa: S108 - what is tested


def test_a_name_of_a_host_is_one_component_of_a_path():
    assert candidates({"HOME": "/h"}, 7, "../x y")[-1].path == "/h/.cache/offcam/.._x_y"


@pytest.mark.parametrize(("base", "final"), [("/run/user/7", False), ("/run/user/7/", False), ("/mine", True)])
def test_a_runtime_directory_that_is_not_the_system_s_is_somebody_s_choice_and_ends_the_search(base, final):
    first = candidates({"XDG_RUNTIME_DIR": base}, 7, "h")[0]
    assert (first.path, first.final) == (f"{base.rstrip('/')}/offcam", final)


A, B, C = (Candidate(f"/{name}", f"/{name}/offcam", name) for name in "abc")
FINAL = Candidate("/f", "/f/offcam", "XDG_RUNTIME_DIR", final=True)


def chosen(looks, problems=None, among=(A, B, C)):
    """What `choose` says, and what it prepared on the way."""
    prepared = []

    def prepare(candidate):
        prepared.append(candidate)
        return (problems or {}).get(candidate, "")

    found = choose(among, lambda candidate: looks.get(candidate, Look()), prepare)
    return found.candidate, dict(found.skipped), prepared


def test_the_first_with_a_daemon_is_chosen_and_nothing_is_made():
    assert chosen({B: Look(listening=True), C: Look(listening=True)}) == (B, {}, [])


def test_without_a_daemon_the_first_that_can_be_used_is_chosen():
    assert chosen({}) == (A, {}, [A])
    assert chosen({}, {A: "is full"}) == (B, {A: "is full"}, [A, B])
    assert chosen({A: Look("is theirs")}) == (B, {A: "is theirs"}, [B])


def test_what_is_worse_than_the_choice_is_no_matter():
    assert chosen({A: Look(listening=True), B: Look("is theirs")}) == (A, {}, [])
    assert chosen({B: Look("is theirs")}) == (A, {}, [A])


def test_a_daemon_behind_what_cannot_be_used_is_chosen_and_that_is_said():
    assert chosen({A: Look("is theirs"), C: Look(listening=True)}) == (C, {A: "is theirs"}, [])


def test_what_is_not_there_is_worth_a_word_only_where_it_was_named():
    assert chosen({A: Look("is not there", missing=True)}) == (B, {}, [B])
    assert chosen({FINAL: Look("is not there", missing=True)}, among=(FINAL, B)) == (B, {FINAL: "is not there"}, [B])


def test_a_private_directory_is_apart_from_the_daemon_of_all_others_if_it_can_be_used():
    others = {B: Look(listening=True)}
    assert chosen(others, among=(FINAL, B)) == (FINAL, {}, [FINAL])
    assert chosen(others, {FINAL: "is full"}, among=(FINAL, B)) == (B, {FINAL: "is full"}, [FINAL])


def test_where_none_can_be_used_all_reasons_are_given():
    assert chosen({A: Look("a")}, {B: "b", C: "c"}) == (None, {A: "a", B: "b", C: "c"}, [B, C])


def test_the_socket_s_name_carries_the_protocol_s_version():
    assert f"daemon-v{PROTOCOL_VERSION}.sock" == SOCKET_NAME
    assert endpoint_in(A).path == f"/a/offcam/{SOCKET_NAME}"


def test_the_environment_may_name_another():
    endpoint = endpoint_asked({"OFFCAM_ADDR": " ipc:///run/offcam.sock "})
    assert (endpoint.path, endpoint.url) == ("/run/offcam.sock", "ipc:///run/offcam.sock")
    assert endpoint_asked({"OFFCAM_ADDR": " "}) is None
    assert endpoint_asked({}) is None


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
