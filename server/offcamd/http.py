"""Statistics over HTTP: read-only without a token, and deaf to other sites' pages in this host's browsers."""

from __future__ import annotations

import contextlib
import errno
import hmac
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


def make_app(stats: Callable[[], dict[str, Any]], host: str, token: str | None = None) -> Starlette:
    """The ASGI application.

    Args:
        stats: the snapshot to serve; called on the server's thread.
        host: the host it is bound to, which requests may name beside this machine's loopback names.
        token: what requests must carry; None to let everybody who can connect read, and nobody do more.
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
        middleware=[Middleware(HostCheck, host=host), Middleware(AccessCheck, token=token)],
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

        if scope["type"] == "http" and not self.allows(_header(scope, b"host")):
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


class AccessCheck:
    """ASGI middleware: who may read, and who may do more than that.

    With a token every request must carry it (``Authorization: Bearer TOKEN``), but for ``/healthz``, which tells
    nothing. Without one nothing can be changed. A request to change something that names an ``Origin`` must name
    this server's: a browser sends along what another site's page asks it to, but says whose page it was.
    """

    def __init__(self, app: ASGIApp, token: str | None) -> None:
        self._app = app
        self._expected = None if token is None else f"Bearer {token}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        from starlette.responses import PlainTextResponse  # noqa: PLC0415 - see make_app

        if scope["type"] == "http" and (refusal := self.refusal(scope)):
            status, text = refusal
            headers = {**_HEADERS, "www-authenticate": "Bearer"} if status == 401 else _HEADERS
            await PlainTextResponse(f"{text}\n", status_code=status, headers=headers)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def refusal(self, scope: Scope) -> tuple[int, str] | None:
        """The status and the words with which a request is refused, or None where it is not."""
        reading = scope["method"] in ("GET", "HEAD")
        if not reading and not self._from_here(scope):
            return 403, "A page of another site may not change anything here."
        if self._expected is None:
            return None if reading else (405, "It is read-only: the daemon has no http_token.")
        if reading and scope["path"] == "/healthz":
            return None
        if hmac.compare_digest(_header(scope, b"authorization").encode("latin-1"), self._expected):
            return None
        return 401, "Send the daemon's http_token: `Authorization: Bearer TOKEN`."

    @staticmethod
    def _from_here(scope: Scope) -> bool:
        given = [value.decode("latin-1") for name, value in scope["headers"] if name == b"origin"]
        return not given or given == [f"{scope['scheme']}://{_header(scope, b'host')}"]


def _header(scope: Scope, name: bytes) -> str:
    """A header's value; empty where it is not there, or more than once."""
    values = [value for key, value in scope["headers"] if key == name]
    return values[0].decode("latin-1") if len(values) == 1 else ""


@contextlib.contextmanager
def serving(
    listener: socket.socket, host: str, stats: Callable[[], dict[str, Any]], *, token: str | None = None
) -> Iterator[None]:
    """Serve on a thread of its own within the ``with`` block; closes the listener at its end. See `make_app`.

    The libraries are loaded on that thread, so that a daemon is ready before they are.
    """
    server = _Server(listener, lambda: make_app(stats, host, token))
    server.start()
    try:
        yield
    finally:
        server.stop()
        listener.close()


class _Server(threading.Thread):
    def __init__(self, listener: socket.socket, app: Callable[[], Starlette]) -> None:
        super().__init__(name="offcam-http", daemon=True)
        self._listener = listener
        self._app = app
        self._mutex = threading.Lock()
        self._uvicorn: uvicorn.Server | None = None
        self._stopping = False

    def run(self) -> None:
        import uvicorn  # noqa: PLC0415 - see serving

        config = uvicorn.Config(
            self._app(),
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
