"""Statistics over HTTP, for this host: read-only, and deaf to pages that rebind their name to loopback."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import socket
import threading
from typing import TYPE_CHECKING, Any

import structlog

from offcam_proto.errors import ConfigError
from offcamd.jsontext import dumps
from offcamd.values import HttpAddress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import uvicorn
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp, Receive, Scope, Send

_STOP_SECONDS = 5.0
_BACKLOG = 128
_HEADERS = {"cache-control": "no-store", "x-content-type-options": "nosniff"}

log = structlog.get_logger()


def bind(address: HttpAddress) -> socket.socket:
    """Listen at an address; connections wait there until `serving`. The caller owns the socket.

    Raises:
        ConfigError: it cannot be had. A default address whose port is taken gives way to a free port.
    """
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    try:
        return socket.create_server((address.host, address.port), family=family, backlog=_BACKLOG)
    except OSError as error:
        if not address.asked and error.errno == errno.EADDRINUSE:
            return bind(HttpAddress(address.host, 0))
        raise ConfigError(
            f"cannot serve HTTP at {address.netloc} ({error.strerror or error}). Choose another address with "
            "--http HOST:PORT (port 0 for any free one), or none with --http off.",
        ) from error


def bound_address(listener: socket.socket, host: str) -> HttpAddress:
    """The address with the port that the system gave."""
    return HttpAddress(host, listener.getsockname()[1])


def make_app(stats: Callable[[], dict[str, Any]], host: str) -> Starlette:
    """The ASGI application.

    Args:
        stats: the snapshot to serve; called on the server's thread.
        host: the host it is bound to, which requests may name beside this machine's loopback names.
    """
    from starlette.applications import Starlette  # noqa: PLC0415 - loaded behind the ready line, see serving
    from starlette.middleware import Middleware  # noqa: PLC0415 - as above
    from starlette.responses import PlainTextResponse, Response  # noqa: PLC0415 - as above
    from starlette.routing import Route  # noqa: PLC0415 - as above

    async def healthz(_request: Request) -> Response:
        return PlainTextResponse("ok", headers=_HEADERS)

    async def api_stats(_request: Request) -> Response:
        return Response(dumps(stats()), media_type="application/json", headers=_HEADERS)

    return Starlette(
        routes=[Route("/healthz", healthz, methods=["GET"]), Route("/api/stats", api_stats, methods=["GET"])],
        middleware=[Middleware(HostCheck, host=host)],
    )


class HostCheck:
    """ASGI middleware: answers only requests whose Host names this machine.

    A page that points its own name at 127.0.0.1 (DNS rebinding) sends that name, and gets nothing. Where
    the server listens on every interface, any literal address will do: a literal cannot be rebound.
    """

    def __init__(self, app: ASGIApp, host: str) -> None:
        self._app = app
        self._names = {host.lower(), "localhost"}
        self._any_literal = False
        with contextlib.suppress(ValueError):
            self._any_literal = ipaddress.ip_address(host).is_unspecified
        if self._any_literal:
            self._names.add(socket.gethostname().lower())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        from starlette.responses import PlainTextResponse  # noqa: PLC0415 - see make_app

        if scope["type"] == "http" and not self.allows(_host_header(scope)):
            refusal = PlainTextResponse(
                "This address is not the recorder's. Use http://127.0.0.1 and its port, or bind the name "
                "you want with --http.\n",
                status_code=421,
                headers=_HEADERS,
            )
            await refusal(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def allows(self, host: str) -> bool:
        """Whether a Host header's value names this server."""
        name, bracket, _port = host.partition("]")
        name = name.removeprefix("[") if bracket else host.partition(":")[0]
        if name.lower() in self._names:
            return True
        try:
            literal = ipaddress.ip_address(name)
        except ValueError:
            return False
        return self._any_literal or literal.is_loopback


def _host_header(scope: Scope) -> str:
    values = [value for name, value in scope["headers"] if name == b"host"]
    return values[0].decode("latin-1") if len(values) == 1 else ""


@contextlib.contextmanager
def serving(listener: socket.socket, host: str, stats: Callable[[], dict[str, Any]]) -> Iterator[None]:
    """Serve on a thread of its own within the ``with`` block; closes the listener at its end.

    The libraries are loaded on that thread, so that a daemon is ready before they are.
    """
    server = _Server(listener, host, stats)
    server.start()
    try:
        yield
    finally:
        server.stop()
        listener.close()


class _Server(threading.Thread):
    def __init__(self, listener: socket.socket, host: str, stats: Callable[[], dict[str, Any]]) -> None:
        super().__init__(name="offcam-http", daemon=True)
        self._listener = listener
        self._host = host
        self._stats = stats
        self._mutex = threading.Lock()
        self._uvicorn: uvicorn.Server | None = None
        self._stopping = False

    def run(self) -> None:
        import uvicorn  # noqa: PLC0415 - see serving

        config = uvicorn.Config(
            make_app(self._stats, self._host),
            loop="asyncio",
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=1,
            limit_concurrency=64,
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
        if self.is_alive():
            log.warning("the HTTP server did not stop in time", seconds=_STOP_SECONDS)
