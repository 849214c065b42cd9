from __future__ import annotations

import os
import threading

import pytest
import zmq

from offcam_proto import codec
from offcam_proto.errors import DaemonUnavailable, MalformedMessage, VersionMismatch
from offcam_proto.messages import Hello, Refused, SayHello, StatsReply, StatsRequest, Welcome
from offcamd.cli.query import ask_stats
from offcamd.process.instance_lock import daemon_paths, prepare_directory

INSTANCE = b"i" * 16
WELCOME = Welcome(1, INSTANCE, 1, 1)


@pytest.fixture
def peer(endpoint):
    """Stand in for a daemon: answer each message of a client by a function of it."""
    prepare_directory(daemon_paths(endpoint).directory)
    context = zmq.Context()
    router = context.socket(zmq.ROUTER)
    router.linger = 0
    router.bind(endpoint.url)
    stop = threading.Event()
    heard = []

    def start(answer):
        def run():
            while not stop.is_set():
                if router.poll(20):
                    identity, *parts = router.recv_multipart()
                    heard.append(codec.decode_client(parts))
                    for reply in answer(heard[-1]):
                        router.send_multipart([identity, *(reply if isinstance(reply, list) else codec.encode(reply))])

        thread.append(threading.Thread(target=run))
        thread[0].start()
        return heard

    thread = []
    yield start
    stop.set()
    if thread:
        thread[0].join()
    router.close()
    context.term()


def test_a_real_daemon_answers(endpoint, serve):
    process, _line = serve()
    stats = ask_stats(endpoint)
    assert stats["pid"] == process.pid
    assert stats["endpoint"] == endpoint.url


def test_nobody_there_is_known_at_once(endpoint):
    with pytest.raises(DaemonUnavailable, match=r"no such socket.*offcam start"):
        ask_stats(endpoint, timeout=1e6)


def test_a_silent_daemon_is_given_up_on(endpoint, peer):
    peer(lambda _message: [])
    with pytest.raises(DaemonUnavailable, match=r"within 0\.2 s"):
        ask_stats(endpoint, timeout=0.2)


def test_another_protocol_version(endpoint, peer):
    peer(lambda _message: [Refused("version", 9, "the daemon speaks version 9: install the same offcam")])
    with pytest.raises(VersionMismatch, match="install the same offcam"):
        ask_stats(endpoint)


def test_a_peer_that_is_no_daemon(endpoint, peer):
    peer(lambda _message: [[b"HTTP/1.1 200 OK"]])
    with pytest.raises(MalformedMessage):
        ask_stats(endpoint)


def test_a_daemon_replaced_while_we_ask_is_asked_anew(endpoint, peer):
    asked = []

    def answer(message):
        if isinstance(message, Hello):
            return [WELCOME]
        if isinstance(message, StatsRequest):
            asked.append(message)
            return [SayHello()] if len(asked) == 1 else [StatsReply(message.token, b'{"pid": 7}')]
        return []

    heard = peer(answer)
    assert ask_stats(endpoint) == {"pid": 7}
    assert [type(message) for message in heard[:4]] == [Hello, StatsRequest, Hello, StatsRequest]
    assert heard[0].pid == os.getpid()
