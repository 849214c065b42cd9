"""The daemon's sockets: how they are set up and bound, and what comes and goes through them."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import zmq

from offcam_proto.errors import DaemonError, OffcamError
from offcam_proto.limits import MAX_FRAME_BYTES, MAX_HEADER_BYTES, MAX_STREAMS_PER_SESSION
from offcamd.daemon.liveness import MOST_QUEUED_IN
from offcamd.process.instance_lock import private_umask
from offcamd.process.logs import Logger
from offcamd.security.authenticator import LOCAL, Authenticator
from offcamd.security.key_store import KeyStore

if TYPE_CHECKING:
    import socket

    from offcam_proto.endpoints import Endpoint
    from offcam_proto.messages import Buffer
    from offcamd.config.settings import Settings
    from offcamd.process.health import Health

log = Logger(__name__)

MOST_QUEUED_OUT = 4 * MAX_STREAMS_PER_SESSION
"""Answers that one client may leave unread, a few for each stream that it can have. With more it counts as gone."""

HEARTBEAT_MS = 1000
"""How often a silent remote client is asked for a heartbeat. Its libzmq answers, however busy Python is.
Local clients are watched by `offcamd.daemon.liveness`, which says why they cannot have heartbeats."""

HEARTBEAT_TIMEOUT_MS = 4000
"""How long the answer may take. Then the process is stopped or its host is gone, and its connection is closed."""


_EVENT = struct.Struct("=hi")
"""An event of libzmq's monitor: its kind and value. pyzmq's own reader of it imports all of asyncio."""


class Message(NamedTuple):
    """What came from a client.

    Attributes:
        identity: ZeroMQ's routing id of the client.
        connection: file descriptor of its connection, by which `Transport.disconnected` names it.
        parts: the message itself: a header, and perhaps pixels.
        user: `offcamd.security.authenticator.LOCAL`, or a remote client's name and key.
    """

    identity: bytes
    connection: int
    parts: list[Buffer]
    user: str


class Transport:
    """The socket that clients connect to. It listens once it is made, and belongs to the service's thread from then on.

    Args:
        settings: where it listens, and where the keys are.
        health: is told of unexpected errors.
        waker: `wait` returns when something can be read from it.

    Raises:
        ConfigError: ``tcp://`` is wanted and the keys cannot be used.
        DaemonError: a socket cannot be bound.
    """

    def __init__(self, settings: Settings, health: Health, waker: socket.socket) -> None:
        self._context = zmq.Context()
        self._router = self._context.socket(zmq.ROUTER)
        for option, value in (
            (zmq.LINGER, 0),
            (zmq.SNDHWM, MOST_QUEUED_OUT),
            (zmq.RCVHWM, MOST_QUEUED_IN),
            (zmq.BACKLOG, 1024),  # with libzmq's 100, many that connect at once wait seconds for TCP's retries
            # credit never exceeds the memory limit, so no frame can be larger
            (zmq.MAXMSGSIZE, min(MAX_FRAME_BYTES, max(settings.memory_limit_bytes, MAX_HEADER_BYTES))),
            (zmq.ROUTER_MANDATORY, 1),  # sending to a vanished client is an error
        ):
            self._router.setsockopt(option, value)
        self._monitor = self._router.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        self._authenticator: Authenticator | None = None
        self._poller = zmq.Poller()
        for readable in (self._monitor, waker):
            self._poller.register(readable, zmq.POLLIN)
        try:
            self._bind(settings, health)
        except OffcamError:
            self.close()
            raise

    def _bind(self, settings: Settings, health: Health) -> None:
        if settings.tcp is not None:
            self._authenticator = Authenticator(self._context, KeyStore(settings.keys), health)
            self._authenticator.before_local(self._router)
        with private_umask():
            self._listen(settings.endpoint)
        if settings.tcp is not None and self._authenticator is not None:
            self._authenticator.before_remote(self._router)  # options hold for later binds only
            self._router.setsockopt(zmq.IPV6, int(":" in str(settings.tcp.host)))
            self._router.setsockopt(zmq.RCVHWM, 0)  # no limit: see `offcamd.daemon.liveness`
            self._router.setsockopt(zmq.HEARTBEAT_IVL, HEARTBEAT_MS)
            self._router.setsockopt(zmq.HEARTBEAT_TIMEOUT, HEARTBEAT_TIMEOUT_MS)
            self._listen(settings.tcp)

    def _listen(self, endpoint: Endpoint) -> None:
        try:
            self._router.bind(endpoint.url)
        except zmq.ZMQError as error:
            fix = "Set OFFCAM_ADDR to another."
            if endpoint.path is None:
                fix = "Give --tcp a free port and an address of this host, or 0.0.0.0 for all it has."
            raise DaemonError(f"cannot listen at {endpoint.url}: {error}. {fix}") from error

    def close(self, linger_ms: int = 0) -> None:
        """Close the sockets, and take at most so long to send what is not sent yet."""
        self._router.disable_monitor()
        self._monitor.close(linger=0)
        self._router.close(linger=linger_ms)
        self._context.term()

    def wait(self, seconds: float, *, reading: bool) -> tuple[bool, bool]:
        """Wait until something happens; returns whether messages are there, and whether connections broke.

        With ``reading`` False clients' messages stay in the socket.
        """
        self._poller.register(self._router, zmq.POLLIN if reading else 0)
        ready = dict(self._poller.poll(int(seconds * 1000)))
        return self._router in ready, self._monitor in ready

    def has_message(self, within_ms: int) -> bool:
        """Whether a message is there, or comes in time."""
        return bool(self._router.poll(within_ms))

    def receive(self) -> Message | None:
        """The next message, of all clients in turn; None where there is none."""
        while True:
            try:
                identity, *parts = self._router.recv_multipart(zmq.DONTWAIT, copy=False)
            except zmq.Again:
                return None
            user = LOCAL if self._authenticator is None else self._authenticator.user(identity)
            if user is not None:
                connection = int(parts[-1].get(zmq.SRCFD)) if parts else -1
                return Message(identity.bytes, connection, [part.buffer for part in parts], user)

    def disconnected(self) -> Iterator[int]:
        """The connections that broke since the last call."""
        while self._monitor.poll(0):
            event, _ = self._monitor.recv_multipart()
            yield _EVENT.unpack(event)[1]

    def send(self, identity: bytes, messages: Iterable[Sequence[Buffer]]) -> bool:
        """Send messages to a client; returns False where it is gone, or leaves them unread."""
        try:
            for parts in messages:
                self._router.send_multipart([identity, *parts], zmq.DONTWAIT)
        except zmq.ZMQError as error:  # EHOSTUNREACH: the client left; EAGAIN: it leaves too many unread
            log.debug("an answer found nobody", peer=identity.hex(), problem=str(error))
            return False
        return True
