"""Asks a running daemon for its statistics over its socket."""

from __future__ import annotations

import contextlib
import json
import math
import os
import secrets
import time
from pathlib import Path
from socket import gethostname
from typing import TYPE_CHECKING, Any

from offcam_proto.client_session import ClientSession, State
from offcam_proto.errors import DaemonUnavailable, VersionMismatch
from offcam_proto.host import client_key
from offcam_proto.messages import StatsReply
from offcam_proto.validation import ID_BYTES
from offcamd import __version__
from offcamd.security import keys

if TYPE_CHECKING:
    from offcam_proto.endpoints import Endpoint

DEFAULT_TIMEOUT_SECONDS = 5.0
FIX = "Start one with `offcam start` (background) or `offcam serve` (foreground); `offcam doctor` looks closer."


def ask_stats(endpoint: Endpoint, timeout: float = DEFAULT_TIMEOUT_SECONDS) -> dict[str, Any]:
    """Ask the daemon at an endpoint for the JSON that ``GET /api/stats`` serves.

    Args:
        endpoint: where the daemon listens.
        timeout: seconds to wait for the answer.

    Raises:
        ConfigError: the endpoint is ``tcp://``, and this user's key cannot be used.
        DaemonUnavailable: nobody answered in time.
        VersionMismatch: a daemon of another protocol version answered.
        RemoteProtocolError: what answered is not an offcam daemon, or is a broken one.
    """
    with Asker(endpoint) as asker:
        return asker.ask(timeout)


class Asker:
    """Asks a daemon repeatedly over one connection, and over a new one if that has failed.

    Args:
        endpoint: where the daemon listens. Nothing is done before the first question.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._connection = contextlib.ExitStack()
        self._conversation: _Conversation | None = None

    def __enter__(self) -> Asker:  # noqa: PYI034 - typing.Self is newer than Python 3.10
        return self

    def __exit__(self, *_: object) -> None:
        if self._conversation is not None:
            self._conversation.leave()
        self._connection.close()

    def ask(self, timeout: float = DEFAULT_TIMEOUT_SECONDS) -> dict[str, Any]:
        """Ask once; raises what `ask_stats` does, and may be called again after that."""
        endpoint = self._endpoint
        if endpoint.path is not None and not Path(endpoint.path).exists():
            raise DaemonUnavailable(f"no offcam daemon at {endpoint.url}: there is no such socket. {FIX}")
        key = client_key(endpoint, os.environ)
        answer = None
        try:
            if self._conversation is None:
                self._conversation = _Conversation(self._connection.enter_context(keys.connected(endpoint, key)))
            answer = self._conversation.ask(time.monotonic() + timeout)
        finally:
            if answer is None:  # else all questions asked in vain would be delivered once there is a daemon
                self._conversation = None
                self._connection.close()
        if answer is None:
            fix = f"Is it running there, and is key {key.fingerprint} authorised? (`offcam keys list`)" if key else FIX
            raise DaemonUnavailable(f"no offcam daemon answered at {endpoint.url} within {timeout:g} s. {fix}")
        stats: dict[str, Any] = json.loads(answer)
        return stats


class _Conversation:
    """A session with a daemon, over one socket."""

    def __init__(self, socket: keys.Socket) -> None:
        self._socket = socket
        self._session = ClientSession(
            secrets.token_bytes(ID_BYTES), pid=os.getpid(), host=gethostname(), client=f"offcam-cli/{__version__}"
        )
        self._session.connect()

    def ask(self, deadline: float) -> bytes | None:
        """Ask and wait for the answer. None if the time is over."""
        session, token = self._session, None
        while True:
            if session.state is State.IDLE:
                token = None
                session.connect()  # another daemon has taken the place of the one that was asked before
            elif session.state is State.OPEN and token is None:
                token = session.request_stats()
            self._send()
            left = deadline - time.monotonic()
            if left <= 0 or not self._socket.poll(math.ceil(left * 1000)):
                return None
            message = session.receive(self._socket.recv_multipart())
            if isinstance(message, StatsReply) and message.token == token:
                return message.json
            if session.refused:
                raise VersionMismatch(session.refused.text)

    def leave(self) -> None:
        """Tell the daemon that this client leaves; the socket is then closed by its owner."""
        self._session.close()
        self._send()
        self._socket.linger = 200  # milliseconds for the goodbye to be sent

    def _send(self) -> None:
        for parts in self._session.take():
            self._socket.send_multipart(parts)
