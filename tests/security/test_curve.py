"""``tcp://`` with real sockets: who has the right key records, and nobody else gets anything in."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import stat
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path

import pytest
import zmq

import films
import offcam
from envs import Barcode, play
from offcam import timing
from offcam_proto import codec, keys
from offcam_proto.errors import ConfigError, KeyRefused
from offcam_proto.keys import KeyFile
from offcam_proto.messages import Hello, OpenStream, Refused, SayHello, StatsReply, StatsRequest, StreamOpened, Welcome
from offcamd.config import load
from offcamd.control import ask_stats
from offcamd.curve import new_pair
from offcamd.keystore import KeyStore, write
from offcamd.service import Service
from offcamd.verify import verify

COMMAND = [sys.executable, "-m", "offcamd"]

SECONDS = 2.0
"""Within which a client hears that its key is no use."""


@pytest.fixture
def store(runtime):
    """A daemon's keys, with the client ``alice``, in their default directory."""
    store = KeyStore(runtime / "config" / "offcam" / "keys")
    store.make_directories()
    server, _ = store.make_server(new_pair)
    add_client(store, "alice", server)
    return store


def add_client(store, name, server=None):
    path, key = store.make_client(name, new_pair, server or store.server())
    store.authorise(name, key.public)
    return path


@pytest.fixture
def cli(runtime):
    """Run the command line to its end; unlike `offcam_command` it stops no daemon, which may be this process."""

    def run(*arguments, **environment):
        return subprocess.run(
            [*COMMAND, *arguments], capture_output=True, text=True, timeout=30, check=False,
            env={**os.environ, **environment},
        )  # fmt: skip

    return run


@pytest.fixture
def url():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"tcp://127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture
def alice(store, url, monkeypatch):
    """This process is a client of the daemon at `url`."""
    monkeypatch.setenv("OFFCAM_ADDR", url)
    monkeypatch.setenv("OFFCAM_KEYS", str(store.directory / "alice.key"))
    return store.directory / "alice.key"


@pytest.fixture
def service(store, url, endpoint):
    """A daemon in this process, with what its sockets let in."""
    with running(url) as (service, heard):
        yield service, heard


@contextlib.contextmanager
def running(url):
    """A daemon in this process, whose clients are elsewhere, and the users of the messages that came in."""
    service = Service(load({"tcp": url, "http": "off", "encoders": "1"}, environ={**os.environ, "OFFCAM_ADDR": ""}))
    service.start()
    heard = []
    dispatch = service.dispatcher.message

    def listen(identity, connection, parts, user=""):
        heard.append(user)
        dispatch(identity, connection, parts, user)

    service.dispatcher.message = listen
    try:
        yield service, heard
    finally:
        service.stop("the test is over")
        service.wait()


@contextlib.contextmanager
def dealer(url, key=None, identity=None):
    """A client's bare socket."""
    with zmq.Context() as context, context.socket(zmq.DEALER) as bare:
        bare.linger = 0
        if identity:
            bare.setsockopt(zmq.ROUTING_ID, identity)
        if key:
            bare.curve_publickey, bare.curve_secretkey, bare.curve_serverkey = key.public, key.secret, key.server
        bare.connect(url)
        yield bare


def say(bare, message, wait=20_000):
    """Send a message, or parts, and return the answer; None where there is none in time."""
    bare.send_multipart(message if isinstance(message, list) else codec.encode(message))
    return codec.decode_server(bare.recv_multipart()) if bare.poll(wait) else None


def hello(session=b"s" * 16):
    return Hello(Hello.MAGIC, 1, session, os.getpid(), "here", "test")


def read(path):
    return keys.parse(path.read_text(), str(path))


def record(folder, **given):
    env = offcam.record(Barcode(20), str(folder), every=1, overflow="block", **given)
    play(env)
    env.close()
    return env


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
        timeout=30,
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
    make, message, service, store, alice, monkeypatch, tmp_path
):
    path = tmp_path / "wrong.key"
    write(path, make(store))
    monkeypatch.setenv("OFFCAM_KEYS", str(path))
    for wrap in (lambda: offcam.RecordVideo(Barcode(3), "run"), lambda: offcam.RecordEpisodeStatistics(Barcode(3))):
        began = time.monotonic()
        with pytest.raises(KeyRefused, match=message):
            wrap()
        assert time.monotonic() - began < SECONDS
    with dealer(os.environ["OFFCAM_ADDR"], read(path)) as bare:
        assert say(bare, hello(), wait=300) is None
    assert service[1] == []
    monkeypatch.setenv("OFFCAM_KEYS", str(alice))  # and with the right one it goes on in the same process
    record("run")
    assert set(service[1]) == {f"alice {read(alice).fingerprint}"}


@pytest.mark.usefixtures("service")
def test_no_key_is_an_error_at_construction(monkeypatch, url, runtime):
    monkeypatch.setenv("OFFCAM_ADDR", url)
    monkeypatch.setenv("OFFCAM_KEYS", str(runtime / "nowhere"))
    began = time.monotonic()
    with pytest.raises(ConfigError, match=r"there is no .*/nowhere/client\.key\. Run `offcam keys new NAME`"):
        offcam.RecordVideo(Barcode(3), "run")
    assert time.monotonic() - began < SECONDS


def test_a_daemon_without_curve_is_not_talked_to(alice, url):
    with zmq.Context() as context, context.socket(zmq.ROUTER) as bare:
        bare.linger = 0
        bare.bind(url)
        with pytest.raises(KeyRefused, match="is not the recorder daemon"):
            offcam.RecordVideo(Barcode(3), "run")
        assert not bare.poll(100)


def test_nobody_there_is_a_warning_as_on_this_host(alice, recwarn):
    began = time.monotonic()
    env = offcam.RecordVideo(Barcode(3), "run")
    assert time.monotonic() - began < SECONDS
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
            peer = stack.enter_context(socket.create_connection(address, timeout=20))
            with contextlib.suppress(OSError):  # it may have been cut off already
                peer.sendall(junk[number % len(junk)])
        with dealer(url) as bare:
            assert say(bare, hello(), wait=300) is None
        assert service[1] == []
        with dealer(url, read(KeyStore(load().keys).directory / "alice.key")) as bare:  # and it goes on working
            assert isinstance(say(bare, hello()), Welcome)
    assert service[0].dispatcher.counters.breaches == {}


def test_a_daemon_that_refuses_later_raises_nothing_into_the_loop(alice, store, url, endpoint, monkeypatch):
    monkeypatch.setattr(timing, "SILENCE_SECONDS", 0.5)
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
        with dealer(other_url, other, identity=b"chosen") as thief:
            assert isinstance(say(thief, StatsRequest(1)), SayHello)


def wait_gone(service, identity):
    deadline = time.monotonic() + 5
    while service.dispatcher.peers[identity].gone_at is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)


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
        assert any(thread.name == "offcam-guard" for thread in threading.enumerate())
    deadline = time.monotonic() + 5
    while [
        thread for thread in threading.enumerate() if thread not in before and "Garbage" not in type(thread).__name__
    ]:
        assert time.monotonic() < deadline, threading.enumerate()
        time.sleep(0.01)


# --- what a daemon needs to listen --------------------------------------------------------------------------


def refusal(serve, url):
    """What `offcam serve` says where it will not listen at a TCP address, having seen to it that nobody does."""
    process, ready = serve("--tcp", url)
    _out, err = process.communicate(timeout=30)
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


# --- offcam keys --------------------------------------------------------------------------------------------


def test_keys_are_made_for_their_owner_alone_whatever_the_umask(cli, runtime):
    before = os.umask(0)
    try:
        done = cli("keys", "new", "alice")
    finally:
        os.umask(before)
    assert done.returncode == 0, done.stderr
    folder = runtime / "config" / "offcam" / "keys"
    modes = {str(path.relative_to(folder)): stat.S_IMODE(path.stat().st_mode) for path in folder.rglob("*")}
    assert modes == {
        "server.key": 0o600,
        "server.pub": 0o600,
        "alice.key": 0o600,
        "clients": 0o700,
        "clients/alice.pub": 0o600,
    }
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    secrets = {read(folder / name).secret.hex() for name in ("server.key", "alice.key")}
    assert len(secrets) == 2
    assert not any(secret in done.stdout for secret in secrets)
    assert "secret" not in (folder / "server.pub").read_text() + (folder / "clients" / "alice.pub").read_text()
    again = cli("keys", "new", "alice")
    assert (again.returncode, "is there already" in again.stderr) == (2, True)
    assert {read(folder / "alice.key").secret.hex()} < secrets


def test_keys_are_listed_with_fingerprints(cli, store, runtime):
    add_client(store, "bob").unlink()
    listed = json.loads(cli("keys", "list", "--json").stdout)
    assert listed["problems"] == []
    found = {(key["role"], key["name"], key["authorised"]) for key in listed["keys"]}
    assert found == {("client", "alice", "alice"), ("server", "server", None), ("client", "bob", "bob")}
    for key in listed["keys"]:
        assert len(key["fingerprint"]) == 32
        assert "secret" not in key
    assert read(store.directory / "alice.key").fingerprint in cli("keys", "list").stdout
    (store.directory / "alice.key").chmod(0o644)
    loose = cli("keys", "list")
    assert loose.returncode == 1
    assert "chmod 600" in loose.stderr
    paths = json.loads(cli("keys", "path", "--json").stdout)
    assert paths["server"] == str(store.server_file)


def test_a_key_made_elsewhere_is_authorised_by_its_public_half(cli, service, store, url, runtime):
    away = runtime / "away"
    made = cli("keys", "new", "carol", "--server", str(store.server_public_file), "--keys", str(away))
    assert made.returncode == 0, made.stderr
    assert not (away / "server.key").exists()
    key = read(away / "carol.key")
    with dealer(url, key) as bare:
        assert say(bare, hello(), wait=300) is None
    assert cli("keys", "authorize", str(away / "carol.pub")).returncode == 0
    with dealer(url, key) as bare:
        assert isinstance(say(bare, hello()), Welcome)
    assert cli("keys", "revoke", "carol").returncode == 0
    assert cli("keys", "revoke", "carol").returncode == 2


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".x", "-x", "x" * 65, "é", "a b", "server"])
def test_a_name_that_is_no_file_name_is_refused(cli, name, runtime):
    assert cli("keys", "new", "--", name).returncode == 2
    assert not list(runtime.rglob("*x*.key"))


@pytest.mark.parametrize(
    "text",
    [
        "", "nonsense", 'name = "a"\npublic = "00"', 'name = "../a"\npublic = "' + "00" * 32 + '"',
        'name = "a"\nserver = "' + "00" * 32 + '"', 'public = "' + "00" * 32 + '"',
        'name = "a"\npublic = "' + "zz" * 32 + '"',
        'name = "a"\nname = "b"\npublic = "' + "00" * 32 + '"',
    ],
)  # fmt: skip
def test_a_damaged_key_file_is_refused(text):
    with pytest.raises(ConfigError, match="is no key file"):
        keys.parse(text, "some.key")


def test_a_key_file_reads_as_it_was_written():
    key = KeyFile("alice", *new_pair(), server=new_pair()[0])
    assert keys.parse(keys.render(key), "file") == key
    assert key.secret.hex() not in repr(key)
