"""The client's socket: everything that touches ZeroMQ.

Messages go from the agent's thread to libzmq's I/O thread, except records that were held back. What the daemon said is
read at the next call.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import zmq

from offcam.connection import timeouts
from offcam_proto.errors import ConfigError, DaemonUnavailable, KeyRefused
from offcam_proto.limits import MAX_HEADER_BYTES

if TYPE_CHECKING:
    from offcam_proto.codec import Parts
    from offcam_proto.endpoints import Endpoint
    from offcam_proto.keys import KeyFile


class Transport:
    """A DEALER socket to one daemon. For one thread at a time: `offcam.connection.exchange.Exchange` has the lock.

    Attributes:
        endpoint: where the daemon is.
        key: the key to show to a daemon of another host, None for ``ipc://``.
        dialled: whether it has begun to connect; libzmq then reconnects by itself.
    """

    def __init__(self, endpoint: Endpoint, key: KeyFile | None) -> None:
        self.endpoint = endpoint
        self.key = key
        self.dialled = False
        self._context = zmq.Context()
        self._socket = self._open()

    def _open(self) -> zmq.Socket[bytes]:
        dealer = self._context.socket(zmq.DEALER)
        # IMMEDIATE: without a connection a send fails at once, and no message is queued for a later daemon.
        # No high-water mark: credit bounds the frames, and a mark would drop records.
        for option, value in (
            (zmq.IMMEDIATE, 1),
            (zmq.SNDHWM, 0),
            (zmq.RCVHWM, 0),
            (zmq.LINGER, 0),
            (zmq.RECONNECT_IVL, 50),
            (zmq.RECONNECT_IVL_MAX, 1000),
            (zmq.MAXMSGSIZE, 64 * MAX_HEADER_BYTES),
        ):
            dealer.setsockopt(option, value)
        if self.key is not None:
            dealer.setsockopt(zmq.IPV6, int(":" in str(self.endpoint.host)))
            dealer.curve_publickey, dealer.curve_secretkey = self.key.public, self.key.secret
            dealer.curve_serverkey = self.key.server
        self.dialled = False
        return dealer

    def dial(self) -> None:
        """Begin to connect, if it has not yet."""
        if not self.dialled:
            self.dialled = True
            self._socket.connect(self.endpoint.url)

    def renew(self, linger_ms: int = 0) -> None:
        """Replace the socket by a new one, not dialled yet. The old one's messages have ``linger_ms`` to be sent."""
        self._socket.close(linger=linger_ms)
        self._socket = self._open()

    def close(self, linger_ms: int) -> None:
        """Close the socket. Its messages have ``linger_ms`` to be sent."""
        self._socket.close(linger=linger_ms)
        self._context.term()

    def received(self) -> Iterator[list[bytes]]:
        """The messages that have come. Never blocks."""
        while int(self._socket.getsockopt(zmq.EVENTS)) & zmq.POLLIN:
            yield self._socket.recv_multipart(zmq.DONTWAIT)

    @property
    def connected(self) -> bool:
        """Whether there is a connection, as far as libzmq has noticed."""
        return bool(int(self._socket.getsockopt(zmq.EVENTS)) & zmq.POLLOUT)  # see IMMEDIATE

    def await_message(self, seconds: float) -> None:
        """Wait until a message has come, at most so long."""
        self._socket.poll(max(1, int(1000 * seconds)))

    def send(self, parts: Parts) -> bool:
        """Send one message, copied before this returns; False where there is no connection. Never blocks."""
        try:
            # copied here, as the env may render into the same buffer next; libzmq's own copy is the cheapest
            self._socket.send_multipart(parts, zmq.DONTWAIT, copy=True)
        except zmq.Again:
            return False
        except BaseException:  # Ctrl-C between two parts: the next message would be taken for the rest of this one
            self.renew(timeouts.LINGER_MS)
            raise
        return True

    def connect_with_key(self, seconds: float | None = None) -> None:
        """Connect anew to a daemon of another host, and watch libzmq's events: they alone tell why a handshake fails.

        Args:
            seconds: how long to wait for the handshake, by default `timeouts.HANDSHAKE_SECONDS`.

        Raises:
            ConfigError: nothing can connect to the endpoint.
            DaemonUnavailable: no daemon answers there.
            KeyRefused: the daemon does not accept the key, or is not the one that the key is for.
        """
        self.renew()
        monitor = self._socket.get_monitor_socket(
            zmq.EVENT_HANDSHAKE_SUCCEEDED
            | zmq.EVENT_HANDSHAKE_FAILED_AUTH
            | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
            | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
            | zmq.EVENT_CONNECT_RETRIED
        )
        try:
            self.dial()
            self._await_handshake(monitor, timeouts.HANDSHAKE_SECONDS if seconds is None else seconds)
        except zmq.ZMQError as error:
            raise ConfigError(f"OFFCAM_ADDR is {self.endpoint.url}, which nothing can connect to: {error}.") from error
        finally:
            self._socket.disable_monitor()
            monitor.close(linger=0)

    def _await_handshake(self, monitor: zmq.Socket[bytes], seconds: float) -> None:
        from zmq.utils.monitor import recv_monitor_message  # noqa: PLC0415 - it imports all of asyncio

        deadline = time.monotonic() + seconds
        url, retries, answered = self.endpoint.url, 0, False
        name = f"{self.key.name!r} ({self.key.fingerprint})" if self.key is not None else "none"
        while retries < timeouts.HANDSHAKE_TRIES and monitor.poll(max(0, int(1000 * (deadline - time.monotonic())))):
            match recv_monitor_message(monitor)["event"]:
                case zmq.EVENT_HANDSHAKE_SUCCEEDED:
                    return
                case zmq.EVENT_HANDSHAKE_FAILED_AUTH:
                    raise KeyRefused(
                        f"the recorder daemon at {url} does not let the key {name} in. On "
                        "its host, see `offcam keys list`: make a key with `offcam keys new NAME` and use that here."
                    )
                case zmq.EVENT_CONNECT_RETRIED:
                    retries += 1
                case zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL:
                    answered, retries = True, timeouts.HANDSHAKE_TRIES
                case zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL:
                    answered = True
        if answered:
            raise KeyRefused(
                f"what listens at {url} is not the recorder daemon that the key {name} is "
                "for: its own key is another. Copy the client's key file from that daemon's host anew (`offcam keys "
                "list` there shows its keys), or give the right address (OFFCAM_ADDR)."
            )
        raise DaemonUnavailable(
            f"no recorder daemon answers at {url} (OFFCAM_ADDR). Start it there with `offcam serve --tcp {url}`, see "
            "that no firewall is in between, or unset OFFCAM_ADDR to have one started here for you."
        )
