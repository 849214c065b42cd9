"""What a daemon needs to listen at ``tcp://``: keys that nobody else can read or change, and a free port."""

from __future__ import annotations

import os
import socket

import pytest
from curve_scenes import add_client, dealer, hello, read, running, say

import offcam
from commandline import WAIT_SECONDS
from envs import Barcode
from offcam_proto.errors import ConfigError


def refusal(serve, url):
    """What `offcam serve` says where it will not listen at a TCP address, having seen to it that nobody does."""
    process, ready = serve("--tcp", url)
    _out, err = process.communicate(timeout=WAIT_SECONDS)
    assert (ready, process.returncode) == ("", 2)
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", int(url.rpartition(":")[2]))) != 0
    return err


def test_without_a_key_there_is_no_tcp(serve, url):
    assert "there is no" in (said := refusal(serve, url))
    assert "offcam keys new" in said


def test_without_authorised_clients_there_is_no_tcp(serve, url, store):
    store.revoke("alice")
    assert "names none" in (said := refusal(serve, url))
    assert "offcam keys new" in said


@pytest.mark.parametrize(
    ("name", "mode"),
    [("server.key", 0o644), ("server.key", 0o640), (".", 0o755), ("clients", 0o750), ("clients/alice.pub", 0o666)],
)
def test_open_modes_are_refused_with_the_chmod(serve, url, store, name, mode):
    path = store.directory / name
    path.chmod(mode)
    assert f"chmod {'go-w' if name.endswith('.pub') else '600' if '.key' in name else '700'} {path}" in refusal(
        serve, url
    )


@pytest.mark.parametrize(("name", "mode"), [("client.key", 0o604), ("client.key", 0o620), (".", 0o711)])
def test_a_client_refuses_open_modes_too(store, url, monkeypatch, name, mode):
    add_client(store, "client")
    (store.directory / name).chmod(mode)
    monkeypatch.setenv("OFFCAM_ADDR", url)
    with pytest.raises(ConfigError, match=r"is open to others .* Run: chmod [67]00 /"):
        offcam.RecordVideo(Barcode(3), "run")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_foreign_owner_is_refused(store, serve, url):
    os.chown(store.server_file, 12345, -1)
    assert "belongs to uid 12345" in refusal(serve, url)


def test_modes_that_loosen_while_the_daemon_runs_let_nobody_in(service, store, alice, url):
    key = read(alice)
    store.clients_directory.chmod(0o777)
    with dealer(url, key) as bare:
        assert say(bare, hello(), wait=300) is None
    assert service[1] == []


def test_a_port_that_is_taken_is_an_error_and_leaves_nothing_behind(store, url, endpoint):
    with (
        socket.create_server(("127.0.0.1", int(url.rpartition(":")[2]))),
        pytest.raises(Exception, match=rf"cannot listen at {url}.*--tcp"),
        running(url),
    ):
        pass
    with running(url):
        pass
