"""A daemon at ``tcp://``, and clients of it with whatever key."""

from __future__ import annotations

import contextlib
import os

import zmq

import offcam
from envs import Barcode, play
from offcam_proto import codec, keys
from offcam_proto.messages import Hello
from offcamd.config.settings import load
from offcamd.daemon.service import Service
from offcamd.security.keys import new_pair
from waiting import HANG_SECONDS


def add_client(store, name, server=None):
    path, key = store.make_client(name, new_pair, server or store.server())
    store.authorise(name, key.public)
    return path


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


def say(bare, message, wait=int(1000 * HANG_SECONDS)):
    """Send a message, or parts, and return the answer; None where there is none in time."""
    try:
        bare.send_multipart(message if isinstance(message, list) else codec.encode(message), zmq.NOBLOCK)
    except zmq.Again:  # libzmq gives a socket up whose handshake failed: what it is to send would wait for ever
        return None
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
