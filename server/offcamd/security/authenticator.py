"""The authenticator, which decides who may connect over ``tcp://``, where libzmq encrypts by its mechanism CURVE.

Without an authenticator libzmq accepts every client key, so it must run before anything is bound. It speaks ZAP
(https://rfc.zeromq.org/spec/27/): libzmq asks it about each new connection, over a socket that only libzmq can use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import zmq

from offcam_proto.errors import ConfigError
from offcam_proto.keys import KeyFile
from offcamd.process.health import SERVICE, GuardedThread, Health
from offcamd.process.logs import Logger
from offcamd.security.keys import is_pair

if TYPE_CHECKING:
    from offcamd.security.key_store import KeyStore

log = Logger(__name__)

LOCAL = ""
"""The user of every connection over this host's ``ipc://`` socket, which only its owner can reach."""

_ZAP_ENDPOINT = "inproc://zeromq.zap.01"
_LOCAL_DOMAIN = b"offcam-local"
_REMOTE_DOMAIN = b"offcam-remote"
_LOCAL_USER = "local"  # the name of a remote user has a space in it
_MOST_REPORTED = 1000


class Authenticator:
    """The authenticator of one context, on a thread of its own until the context is terminated.

    Keys are looked up at each new connection: a client that is authorised or revoked while the daemon runs is accepted
    or refused from its next connection on.

    Args:
        context: the context of the connections. It must have no other authenticator.
        store: the keys.
        health: is told of unexpected errors.

    Raises:
        ConfigError: the keys cannot be used; see `KeyStore.server`.
    """

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], store: KeyStore, health: Health) -> None:
        self._store = store
        self._health = health
        self._server = store.server()
        if not is_pair(self._server):
            raise ConfigError(f"the two halves of {store.server_file} do not belong together. Make another key.")
        self._reported: set[str] = set()
        self._socket = context.socket(zmq.REP)
        self._socket.linger = 0
        self._socket.bind(_ZAP_ENDPOINT)
        GuardedThread(SERVICE, self._answer, health, name="offcam-authenticator").start()

    def before_local(self, socket: zmq.Socket[bytes]) -> None:
        """Set up a socket to be bound to ``ipc://``: no encryption, messages marked as local."""
        socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)
        socket.setsockopt(zmq.ZAP_DOMAIN, _LOCAL_DOMAIN)

    def before_remote(self, socket: zmq.Socket[bytes]) -> None:
        """Set up a socket to be bound to ``tcp://``: for clients that know the daemon's key and whose own is known."""
        assert self._server.secret is not None  # noqa: S101 - KeyStore.secret sees to that
        socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)
        socket.setsockopt(zmq.ZAP_DOMAIN, _REMOTE_DOMAIN)
        socket.setsockopt(zmq.CURVE_SECRETKEY, self._server.secret)
        socket.setsockopt(zmq.CURVE_SERVER, 1)

    @staticmethod
    def user(frame: zmq.Frame) -> str | None:
        """Who sent a message, by its connection.

        Returns:
            `LOCAL`; or the client's name, a space and its key's fingerprint; or None if nobody has vouched for the
            connection, which must not happen: such a message must not be used.
        """
        try:
            user = frame.get("User-Id")
        except zmq.ZMQError:
            return None
        return LOCAL if user == _LOCAL_USER else str(user)

    # --- its thread ---------------------------------------------------------------------------------------

    def _answer(self) -> None:
        with self._socket as socket:
            while True:
                try:
                    version, request, domain, address, _identity, mechanism, *credentials = socket.recv_multipart()
                except zmq.ContextTerminated:
                    return
                user = ""
                with self._health.survive(SERVICE, "the authenticator"):  # then nobody is let in, rather than everybody
                    user = self._judge(domain, mechanism, credentials, address.decode(errors="replace"))
                code = b"200" if user else b"400"
                try:
                    socket.send_multipart([version, request, code, b"", user.encode(), b""])
                except zmq.ContextTerminated:
                    return

    def _judge(self, domain: bytes, mechanism: bytes, credentials: list[bytes], address: str) -> str:
        """The user of a connection; empty if the connection is refused."""
        if (domain, mechanism) == (_LOCAL_DOMAIN, b"NULL"):
            return _LOCAL_USER
        if (domain, mechanism) != (_REMOTE_DOMAIN, b"CURVE") or len(credentials) != 1:
            return ""
        fingerprint = KeyFile("client", credentials[0]).fingerprint
        try:
            name = self._store.name_of(credentials[0])
        except ConfigError as error:
            log.error("no remote client can be let in", problem=str(error))  # noqa: TRY400 - what is wrong is not in the code
            return ""
        if name is None:
            self._report(address, fingerprint)
            return ""
        log.info("a remote client was let in", client=name, address=address, key=fingerprint)
        return f"{name} {fingerprint}"

    def _report(self, address: str, fingerprint: str) -> None:
        """Log a refusal, once for each key: a stranger can try for ever."""
        if fingerprint not in self._reported and len(self._reported) < _MOST_REPORTED:
            self._reported.add(fingerprint)
            log.warning("an unknown key was refused", address=address, key=fingerprint)
