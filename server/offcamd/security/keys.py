"""Key pairs, made by libzmq, and the socket of a client that has one."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, TypeAlias

import zmq
from zmq.utils import z85

if TYPE_CHECKING:
    from offcam_proto.endpoints import Endpoint
    from offcam_proto.keys import KeyFile

Socket: TypeAlias = "zmq.Socket[bytes]"


def new_pair() -> tuple[bytes, bytes]:
    """A new public and secret key."""
    public, secret = zmq.curve_keypair()
    return z85.decode(public), z85.decode(secret)


def is_pair(key: KeyFile) -> bool:
    """Whether a public and a secret key belong together."""
    return key.secret is not None and z85.decode(zmq.curve_public(z85.encode(key.secret))) == key.public


@contextlib.contextmanager
def connected(endpoint: Endpoint, key: KeyFile | None) -> Iterator[Socket]:
    """A client's socket, connected to a daemon; ``key`` is the client's, None for ``ipc://``."""
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        socket.linger = 0
        if key is not None:
            socket.setsockopt(zmq.IPV6, int(":" in str(endpoint.host)))
            socket.curve_publickey, socket.curve_secretkey, socket.curve_serverkey = key.public, key.secret, key.server
        socket.connect(endpoint.url)
        yield socket
