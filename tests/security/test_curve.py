"""``tcp://`` with real sockets: who has the right key records, and nobody else gets anything in."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
import warnings
from functools import partial
from pathlib import Path

import pytest
import zmq
from curve_scenes import add_client, dealer, hello, read, record, running, say

import films
import offcam
from envs import Barcode, play
from offcam.connection import timeouts
from offcam_proto import codec
from offcam_proto.errors import ConfigError, KeyRefused
from offcam_proto.keys import KeyFile
from offcam_proto.messages import OpenStream, Refused, SayHello, StatsReply, StatsRequest, StreamOpened, Welcome
from offcamd.cli.query import ask_stats
from offcamd.config.settings import load
from offcamd.reports.verify import verify
from offcamd.security.key_store import KeyStore, write
from offcamd.security.keys import new_pair
from waiting import HANG_SECONDS, wait_until

SECONDS = 2.0
"""Within which a client hears that its key is no use."""


# --- the right key ------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("alice")
def test_the_right_key_records_from_end_to_end(runtime, serve, url):
    _process, ready = serve("--tcp", url)
    assert ready.endswith(f"tcp={url}")
    folder = runtime / "elsewhere" / "cartpole"
    env = record(folder)
    assert list(env.length_queue) == [20]
    assert not folder.exists(), "the run is on the daemon's host"
    (found,) = (runtime / "home" / "offcam-runs" / "alice").iterdir()
    assert found.name.startswith("cartpole-")
    assert films.numbers(found / "rl-video-episode-0.mp4") == list(range(21))
    assert verify(found).problems == []
    record(folder)
    assert [path.name for path in found.parent.iterdir()] == [found.name], "one path is one run"


def test_a_local_client_needs_no_key_and_keeps_its_folder_beside_tcp(runtime, serve, store, url, endpoint):
    serve("--tcp", url)
    record(runtime / "mine")
    assert films.numbers(runtime / "mine" / "rl-video-episode-0.mp4") == list(range(21))
    assert ask_stats(endpoint)["tcp"] == url


def test_a_client_authorised_while_the_daemon_runs_comes_in_and_a_revoked_one_no_more(service, store, url):
    bob = read(add_client(store, "bob"))
    with dealer(url, bob) as bare:
        assert isinstance(say(bare, hello()), Welcome)
    store.revoke("bob")
    with dealer(url, bob) as bare:
        assert say(bare, hello(), wait=500) is None


def test_statistics_can_be_asked_from_afar(service, alice, url, cli):
    done = cli("status", "--json", OFFCAM_ADDR=url, OFFCAM_KEYS=str(alice))
    assert f'"tcp": "{url}"' in done.stdout, done.stderr
    assert service[1]
    assert set(service[1]) == {f"alice {read(alice).fingerprint}"}


FORKING = """
import os, pathlib, sys
sys.path.insert(0, sys.argv[1])
from envs import Barcode, play
import offcam
env = offcam.RecordVideo(Barcode(20), "run", episode_trigger=lambda _: True, overflow="block")
play(env)
child = os.fork()
pathlib.Path(os.environ["OFFCAM_KEYS"]).unlink(missing_ok=True)
play(env)
status = os.waitpid(child, 0)[1] if child else 0  # the parent's stream is open until the child has its own name
env.close()
sys.exit(status)
"""


@pytest.mark.usefixtures("alice")
def test_a_forked_child_goes_on_with_its_parents_key(serve, url, runtime):
    serve("--tcp", url)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", FORKING, str(Path(__file__).parents[1])],
        capture_output=True,
        text=True,
        timeout=HANG_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (found,) = (runtime / "home" / "offcam-runs" / "alice").iterdir()
    assert {path.name for path in found.glob("*.mp4")} == {
        "rl-video-episode-0.mp4",
        "rl-video-episode-1.mp4",
        "rl-video-episode-1-s2.mp4",
    }


# --- no key, or a wrong one ---------------------------------------------------------------------------------


def stranger(store):
    return KeyFile("stranger", *new_pair(), server=store.server().public)


def wrong_server(store):
    key = read(store.directory / "alice.key")
    return KeyFile(key.name, key.public, key.secret, new_pair()[0])


def torn(store):
    key = read(store.directory / "alice.key")
    return KeyFile(key.name, key.public, new_pair()[1], key.server)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (stranger, r"does not let the key 'stranger' .*offcam keys new NAME"),
        (wrong_server, r"is not the recorder daemon that the key 'alice' .*Copy the client's key file"),
        (torn, r"the key 'alice' .*Copy the client's key file"),
    ],
)
def test_a_wrong_key_is_an_error_at_construction_and_gets_nothing_in(
    make, message, service, store, alice, monkeypatch, tmp_path, within
):
    path = tmp_path / "wrong.key"
    write(path, make(store))
    monkeypatch.setenv("OFFCAM_KEYS", str(path))
    for wrap in (lambda: offcam.RecordVideo(Barcode(3), "run"), lambda: offcam.RecordEpisodeStatistics(Barcode(3))):
        began = time.monotonic()
        with pytest.raises(KeyRefused, match=message):
            wrap()
        within(time.monotonic() - began, SECONDS)
    with dealer(os.environ["OFFCAM_ADDR"], read(path)) as bare:
        assert say(bare, hello(), wait=300) is None
    assert service[1] == []
    monkeypatch.setenv("OFFCAM_KEYS", str(alice))  # and with the right one it goes on in the same process
    record("run")
    assert set(service[1]) == {f"alice {read(alice).fingerprint}"}


@pytest.mark.usefixtures("service")
def test_no_key_is_an_error_at_construction(monkeypatch, url, runtime, within):
    monkeypatch.setenv("OFFCAM_ADDR", url)
    monkeypatch.setenv("OFFCAM_KEYS", str(runtime / "nowhere"))
    began = time.monotonic()
    with pytest.raises(ConfigError, match=r"there is no .*/nowhere/client\.key\. Run `offcam keys new NAME`"):
        offcam.RecordVideo(Barcode(3), "run")
    within(time.monotonic() - began, SECONDS)


def test_a_daemon_without_curve_is_not_talked_to(alice, url):
    with zmq.Context() as context, context.socket(zmq.ROUTER) as bare:
        bare.linger = 0
        bare.bind(url)
        with pytest.raises(KeyRefused, match="is not the recorder daemon"):
            offcam.RecordVideo(Barcode(3), "run")
        assert not bare.poll(100)


def test_nobody_there_is_a_warning_as_on_this_host(alice, recwarn, within):
    began = time.monotonic()
    env = offcam.RecordVideo(Barcode(3), "run")
    within(time.monotonic() - began, SECONDS)
    assert any("no recorder daemon answers at tcp://" in str(warning.message) for warning in recwarn)
    play(env)
    env.close()


def test_peers_without_curve_and_junk_get_nothing_in(service, url):
    address = ("127.0.0.1", int(url.rpartition(":")[2]))
    greeting = b"\xff\0\0\0\0\0\0\0\x01\x7f\x03\0" + b"NULL".ljust(20, b"\0") + b"\0" * 32
    ready = b"\x04\x29\x05READY\x0bSocket-Type\0\0\0\x06DEALER\x08Identity\0\0\0\0"
    message = b"".join(codec.encode(hello()))
    junk = [os.urandom(200), greeting, greeting + ready + bytes([0, len(message)]) + message, b"GET / HTTP/1.1\r\n\r\n"]
    with contextlib.ExitStack() as stack:
        for number in range(200):
            peer = stack.enter_context(socket.create_connection(address, timeout=HANG_SECONDS))
            with contextlib.suppress(OSError):  # it may have been cut off already
                peer.sendall(junk[number % len(junk)])
        with dealer(url) as bare:
            assert say(bare, hello(), wait=300) is None
        assert service[1] == []
        with dealer(url, read(KeyStore(load().keys).directory / "alice.key")) as bare:  # and it goes on working
            assert isinstance(say(bare, hello()), Welcome)
    assert service[0].dispatcher.counters.breaches == {}


def test_a_daemon_that_refuses_later_raises_nothing_into_the_loop(alice, store, url, endpoint, monkeypatch):
    monkeypatch.setattr(timeouts, "SILENCE_SECONDS", 0.5)
    add_client(store, "bob")
    with running(url):
        env = offcam.RecordVideo(Barcode(30), "run", episode_trigger=lambda _: True)
        play(env)
        store.revoke("alice")
    with running(url) as (_service, heard), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        play(env)
        env.close()
        assert heard == []


# --- sessions -----------------------------------------------------------------------------------------------


def test_a_session_is_bound_to_its_key(service, store, url, endpoint, alice):
    bob = read(add_client(store, "bob"))
    with dealer(url, read(alice)) as first, dealer(url, bob) as thief, dealer(endpoint.url) as local:
        assert isinstance(say(first, hello()), Welcome)
        for other in (thief, local):
            answer = say(other, hello())
            assert isinstance(answer, Refused)
            assert answer.code == "protocol"
        assert isinstance(say(first, StatsRequest(1)), StatsReply)
        with dealer(url, read(alice)) as again:
            assert isinstance(say(again, hello()), Welcome)
    assert service[0].dispatcher.counters.breaches == {"stranger": 2}


def test_a_routing_id_is_no_key(service, store, url, endpoint, alice):
    """A peer may choose its routing id: taking another's must not be taking its session."""
    bob = read(add_client(store, "bob"))
    for other_url, other in ((url, bob), (endpoint.url, None)):
        with dealer(url, read(alice), identity=b"chosen") as first:
            assert isinstance(say(first, hello()), Welcome)
        wait_gone(service[0], b"chosen")
        answer = wait_until(partial(ask, other_url, other), "libzmq has let go of the routing id, too")
        assert isinstance(answer, SayHello)


def ask(url, key):
    with dealer(url, key, identity=b"chosen") as thief:
        return say(thief, StatsRequest(1), wait=1000)


def wait_gone(service, identity):
    wait_until(lambda: service.dispatcher.peers[identity].gone_at is not None, "it is known to be gone")


def test_clients_have_folders_of_their_own(service, store, url, alice, runtime):
    bob = read(add_client(store, "bob"))
    opening = OpenStream(
        1, b"t" * 16, "/srv/no-such-run", "", 0, video=False, env_id="Barcode", num_envs=1, vector=False, started=0.0
    )
    for key in (read(alice), bob):
        with dealer(url, key) as bare:
            assert isinstance(say(bare, hello(os.urandom(16))), Welcome)
            assert isinstance(say(bare, opening), StreamOpened)
    root = runtime / "home" / "offcam-runs"
    assert sorted(path.name for path in root.iterdir()) == ["alice", "bob"]
    assert not Path("/srv/no-such-run").exists()


def test_a_folder_that_is_a_link_is_refused(service, alice, url, runtime):
    root = runtime / "home" / "offcam-runs"
    root.mkdir()
    (root / "alice").symlink_to(runtime)
    with pytest.raises(PermissionError, match="only a link elsewhere"):
        offcam.RecordVideo(Barcode(3), "run")


def test_every_thread_ends_with_the_daemon(store, url, endpoint):
    before = set(threading.enumerate())
    with running(url):
        assert any(thread.name == "offcam-authenticator" for thread in threading.enumerate())
    wait_until(
        lambda: all(thread in before or "Garbage" in type(thread).__name__ for thread in threading.enumerate()),
        "all of its threads have ended", threading.enumerate,
    )  # fmt: skip
