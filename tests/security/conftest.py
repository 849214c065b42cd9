"""A daemon at ``tcp://`` and its keys."""

from __future__ import annotations

import os

import pytest
from curve_scenes import add_client, running

import commandline
import ports
from commandline import WAIT_SECONDS
from offcam.connection import timeouts
from offcamd.security.key_store import KeyStore
from offcamd.security.keys import new_pair


@pytest.fixture
def store(runtime):
    """A daemon's keys, with the client ``alice``, in their default directory."""
    store = KeyStore(runtime / "config" / "offcam" / "keys")
    store.make_directories()
    server, _ = store.make_server(new_pair)
    add_client(store, "alice", server)
    return store


@pytest.fixture
def cli(runtime):
    """Run the command line to its end; unlike `offcam_command` it stops no daemon, which may be this process."""

    def run(*arguments, **environment):
        return commandline.run(*arguments, env={**os.environ, **environment})

    return run


@pytest.fixture
def url():
    """An address of one's own for as long as the test takes, at which nobody listens yet."""
    with ports.one() as port:
        yield f"tcp://127.0.0.1:{port}"


@pytest.fixture
def alice(store, url, monkeypatch):
    """This process is a client of the daemon at `url`, and waits for its handshake however busy the machine is."""
    monkeypatch.setattr(timeouts, "HANDSHAKE_SECONDS", WAIT_SECONDS)
    monkeypatch.setenv("OFFCAM_ADDR", url)
    monkeypatch.setenv("OFFCAM_KEYS", str(store.directory / "alice.key"))
    return store.directory / "alice.key"


@pytest.fixture
def service(store, url, endpoint):
    """A daemon in this process, with what its sockets let in."""
    with running(url) as (service, heard):
        yield service, heard
