"""The HTTP server: its socket, and the thread that it runs on."""

from __future__ import annotations

import contextlib
import errno
import logging
import socket
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

from offcam_proto.errors import ConfigError
from offcamd.config.values import HttpAddress
from offcamd.process.health import HTTP, GuardedThread, Health

if TYPE_CHECKING:
    import uvicorn

    from offcamd.web.source import RunSource

MOST_CONNECTIONS = 128
"""Most connections at a time; a tab with the page open takes up to seven."""

_STOP_SECONDS = 5.0
_BACKLOG = 128

log = logging.getLogger(__name__)


FIX = "Choose another address with --http HOST:PORT (port 0 for any free one), or none with --http off."


def bind(address: HttpAddress, fix: str = FIX, *, before: int = 0) -> socket.socket:
    """Listen at an address; connections wait until `serving`. The caller owns the socket.

    Args:
        address: where to listen.
        fix: what to do if that is not possible, for the error.
        before: the port of an earlier server, 0 for none; it is taken again if possible, unless a user asked for
            another.

    Raises:
        ConfigError: the address cannot be had. A default address whose port is taken gives way to a free port.
    """
    if before and not (address.asked and address.port):
        with contextlib.suppress(ConfigError):  # another process has that port now
            return bind(HttpAddress(address.host, before))
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    try:
        listener = socket.create_server((address.host, address.port), family=family, backlog=_BACKLOG)
    except OSError as error:
        if not address.asked and error.errno == errno.EADDRINUSE:
            return bind(HttpAddress(address.host, 0))
        raise ConfigError(f"cannot serve HTTP at {address.netloc} ({error.strerror or error}). {fix}") from error
    # Connections inherit this option. asyncio only sets it on sockets that name their protocol; else answers wait for
    # an ACK.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def bound_address(listener: socket.socket, host: str) -> HttpAddress:
    """The address, with the port that the system chose."""
    return HttpAddress(host, listener.getsockname()[1])


@contextlib.contextmanager
def serving(
    listener: socket.socket, host: str, source: RunSource, *, token: str | None = None, health: Health | None = None
) -> Iterator[None]:
    """Serve on a thread of its own within the ``with`` block; closes the listener at its end.

    The libraries are loaded on that thread, so that a daemon is ready before they are.

    Args:
        listener: from `bind`.
        host: the host that it is bound to; requests may name it, beside this machine's loopback names.
        source: the runs and the statistics to serve.
        token: what requests must carry; None to let everybody who can connect read, and the page on this host do more.
        health: is told if the server ends by an exception.
    """
    server = _Server(listener, host, source, token, health or Health())
    server.start()
    try:
        yield
    finally:
        server.stop()
        listener.close()


class _Server(GuardedThread):
    def __init__(
        self, listener: socket.socket, host: str, source: RunSource, token: str | None, health: Health
    ) -> None:
        super().__init__(HTTP, self._serve, health, name="offcam-http")
        self._listener = listener
        self._host = host
        self._source = source
        self._token = token
        self._mutex = threading.Lock()
        self._uvicorn: uvicorn.Server | None = None
        self._stopping = False

    def _serve(self) -> None:
        import uvicorn  # noqa: PLC0415 - see serving

        from offcamd.web.app import make_app  # noqa: PLC0415 - as above

        config = uvicorn.Config(
            make_app(self._source, self._host, self._token, stopping=lambda: self._stopping),
            loop="asyncio",
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=1,
            limit_concurrency=MOST_CONNECTIONS,
        )
        with self._mutex:
            if self._stopping:
                return
            server = self._uvicorn = uvicorn.Server(config)
        server.run(sockets=[self._listener])

    def stop(self) -> None:
        with self._mutex:
            self._stopping = True
            if self._uvicorn:
                self._uvicorn.should_exit = True
        self.join(_STOP_SECONDS)
        if self.is_alive() and self._uvicorn:  # without uvicorn it is still loading its libraries
            log.warning("the HTTP server did not stop within %g s", _STOP_SECONDS)
