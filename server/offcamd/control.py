"""Asking a running daemon for its statistics, in its own protocol."""

from __future__ import annotations

import json
import math
import os
import secrets
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from offcam_proto.client_session import ClientSession, State
from offcam_proto.errors import DaemonUnavailable, VersionMismatch
from offcam_proto.messages import StatsReply
from offcam_proto.validation import ID_BYTES
from offcamd import __version__, curve
from offcamd.keystore import client_key

if TYPE_CHECKING:
    from offcam_proto.endpoints import Endpoint

DEFAULT_TIMEOUT_SECONDS = 5.0
FIX = "Start one with `offcam start` (background) or `offcam serve` (foreground); `offcam doctor` looks closer."


def ask_stats(endpoint: Endpoint, timeout: float = DEFAULT_TIMEOUT_SECONDS) -> dict[str, Any]:
    """Ask the daemon at an endpoint for the JSON that ``GET /api/stats`` serves.

    Args:
        endpoint: where it listens.
        timeout: seconds to wait for the answer.

    Raises:
        ConfigError: a ``tcp://`` endpoint, and this user's key cannot be used.
        DaemonUnavailable: nobody answered in time.
        VersionMismatch: a daemon of another protocol version did.
        RemoteProtocolError: what answered is no offcam daemon, or a broken one.
    """
    if endpoint.path is not None and not Path(endpoint.path).exists():
        raise DaemonUnavailable(f"no offcam daemon at {endpoint.url}: there is no such socket. {FIX}")
    key = client_key(endpoint.url, os.environ) if endpoint.path is None else None
    with curve.dealer(endpoint, key) as dealer:
        answer = _converse(dealer, time.monotonic() + timeout)
    if answer is None:
        fix = f"Is it running there, and is key {key.fingerprint} authorised? (`offcam keys list`)" if key else FIX
        raise DaemonUnavailable(f"no offcam daemon answered at {endpoint.url} within {timeout:g} s. {fix}")
    stats: dict[str, Any] = json.loads(answer)
    return stats


def _converse(dealer: curve.Dealer, deadline: float) -> bytes | None:
    """Greet, ask, wait for the answer, leave. None where the time is over."""
    session = ClientSession(
        secrets.token_bytes(ID_BYTES),
        pid=os.getpid(),
        host=socket.gethostname(),
        client=f"offcam-cli/{__version__}",
    )
    token: int | None = None
    session.connect()
    while True:
        for parts in session.take():
            dealer.send_multipart(parts)
        left = deadline - time.monotonic()
        if left <= 0 or not dealer.poll(math.ceil(left * 1000)):
            return None
        message = session.receive(dealer.recv_multipart())
        if isinstance(message, StatsReply) and message.token == token:
            session.close()
            for parts in session.take():
                dealer.send_multipart(parts)
            dealer.linger = 200  # milliseconds for the goodbye
            return message.json
        if session.refused:
            raise VersionMismatch(session.refused.text)
        if session.state is State.IDLE:
            token = None
            session.connect()  # the daemon was replaced while we asked
        elif session.state is State.OPEN and token is None:
            token = session.request_stats()
