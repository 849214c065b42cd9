"""Asking a daemon how far a run came whose folder is on the daemon's host.

The question has a session and a socket of its own: a daemon of an earlier offcam does not know it and refuses that
session, and the process's other recordings go on.
"""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING

from offcam.connection import timeouts
from offcam.connection.transport import Transport
from offcam_proto.client_session import ClientSession, State
from offcam_proto.errors import ConfigError, DaemonUnavailable, MalformedMessage, RemoteProtocolError
from offcam_proto.resuming import RunReply

if TYPE_CHECKING:
    from offcam.connection.exchange import Exchange

GOODBYE_MS = 200
"""How long the goodbye may take to be sent."""


def ask(exchange: Exchange, folder: str, prefix: str, deadline: float) -> RunReply:
    """Ask and wait: until the deadline for the daemon's welcome, then `timeouts.RESUME_SECONDS` for its answer.

    Args:
        exchange: of this process with the daemon.
        folder: the run folder, as in `OpenStream`.
        prefix: of the names of the stream's videos.
        deadline: by `time.monotonic`.

    Raises:
        ConfigError: the daemon is of an earlier offcam.
        DaemonUnavailable: the daemon did not answer in time.
        RemoteProtocolError: the daemon broke the protocol, or refused this client.
    """
    _await_what_was_said(exchange, deadline)
    hello = exchange.session.hello
    session = ClientSession(uuid.uuid4().bytes, pid=hello.pid, host=hello.host, client=hello.client)
    transport = Transport(exchange.endpoint, exchange.transport.key)
    try:
        return _Conversation(session, transport, deadline).ask(folder, prefix)
    finally:
        session.close()
        for parts in session.take():
            transport.send(parts)
        transport.close(GOODBYE_MS)


def _await_what_was_said(exchange: Exchange, deadline: float) -> None:
    """Wait until the daemon has read what this process told it of its streams: the question may overtake that."""
    with exchange.lock:
        if exchange.session.state is not State.OPEN or not exchange.session.streams:
            return
        token = exchange.session.flush()
        exchange.answers[token] = None
    read = lambda: exchange.answers[token] is not None or exchange.session.state is not State.OPEN  # noqa: E731
    try:
        exchange.wait(read, max(0.0, deadline - time.monotonic()))
    finally:
        exchange.answers.pop(token)


class _Conversation:
    """A session with a daemon that answers one question."""

    def __init__(self, session: ClientSession, transport: Transport, deadline: float) -> None:
        self._session = session
        self._transport = transport
        self._deadline = deadline
        self._next_greeting = 0.0
        self._token = 0  # of the question; 0 before this session was asked it
        self._welcomed = False

    def ask(self, folder: str, prefix: str) -> RunReply:
        """See `ask` of this module."""
        session, transport = self._session, self._transport
        while (left := self._deadline - time.monotonic()) > 0:
            self._greet_if_due()
            if session.state is State.OPEN and not self._token:
                self._token = session.ask_run(folder, prefix)
                self._give_time()
            self._send()
            transport.await_message(min(left, timeouts.SOON_SECONDS))
            for parts in transport.received():
                message = session.receive(parts)
                if isinstance(message, RunReply) and message.token == self._token:
                    return message
            self._raise_if_refused()
        raise DaemonUnavailable(
            f"the recorder daemon at {transport.endpoint.url} does not say how far the run in {folder} came: it is "
            "busy or stopped, see `offcam status`."
        )

    def _greet_if_due(self) -> None:
        now = time.monotonic()
        if self._session.state is State.OPEN and not self._transport.connected:
            self._session.lost()  # a session that only waits would not learn of this otherwise
        if self._session.state in (State.IDLE, State.GREETING) and now >= self._next_greeting:
            self._next_greeting = now + timeouts.ANSWER_SECONDS
            self._token = 0
            self._transport.dial()
            self._session.connect()

    def _give_time(self) -> None:
        """Extend the deadline, once: the daemon is there, and may have to read a long run."""
        if not self._welcomed:
            self._welcomed = True
            self._deadline = max(self._deadline, time.monotonic() + timeouts.RESUME_SECONDS)

    def _send(self) -> None:
        for parts in self._session.take():
            if not self._transport.send(parts):  # there is no connection yet, or none any more
                self._session.lost()
                self._next_greeting = time.monotonic() + timeouts.SOON_SECONDS
                return

    def _raise_if_refused(self) -> None:
        refused = self._session.refused
        if refused is None:
            return
        url = self._transport.endpoint.url
        if refused.code == MalformedMessage.reason:
            raise ConfigError(
                f"the recorder daemon at {url} is of an earlier offcam, and cannot say how far a run came: install "
                "the same version on its host as here, or leave out `resume` and `if_exists`: another session is "
                "begun then, and `--session all` shows both."
            )
        raise RemoteProtocolError(f"the recorder daemon at {url} refused this client: {refused.text}")
