"""Who may read over HTTP, and from which pages: other sites' pages in this host's browsers get nothing."""

from __future__ import annotations

import contextlib
import hmac
import ipaddress
import socket
from typing import TYPE_CHECKING

from starlette.responses import JSONResponse

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADERS = {
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
}
"""Content security policy of the page: it loads from its own server only, runs no inline script, is never framed."""

OPEN_PATHS = ("/", "/healthz", "/readyz")
OPEN_FOLDERS = ("/static/", "/r/")
"""Below these paths no token is needed: the page's own files, and the addresses of the page, which tell no records."""

READ_ONLY = "Without an http_token it is for reading alone: only its own page, opened on this host, may ask for more."

_RAW_HEADERS = [(name.encode(), value.encode()) for name, value in HEADERS.items()]


class HostCheck:
    """ASGI middleware: answers only requests whose Host names this machine.

    A hostile page that points its own name at 127.0.0.1 (DNS rebinding) sends that name, and is refused. Where
    the server listens on every interface, any literal IP address is allowed: a literal cannot be rebound.
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
        if scope["type"] == "http" and not self.allows(_header(scope, b"host")):
            text = (
                "This address is not the recorder's. Use http://127.0.0.1 and its port, or bind the name with --http."
            )
            await JSONResponse({"error": text}, 421, HEADERS)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def allows(self, host: str) -> bool:
        """Whether a Host header's value names this server."""
        name = _name(host)
        if name in self._names:
            return True
        try:
            literal = ipaddress.ip_address(name)
        except ValueError:
            return False
        return self._any_literal or literal.is_loopback


class AccessCheck:
    """ASGI middleware: who may read, and who may change anything.

    With a token every request must carry it (``Authorization: Bearer TOKEN``), except those for `OPEN_PATHS` and
    `OPEN_FOLDERS`: these are the page itself, which asks the user for the token, and tell nothing of what is recorded.
    A request to change something must have an ``Origin`` of this server if it has one: a browser sends requests for
    other sites' pages, too, but says whose page it was. Without a token it must have one, and come from this host.
    """

    def __init__(self, app: ASGIApp, token: str | None) -> None:
        self._app = app
        self._expected = None if token is None else f"Bearer {token}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] == "http" and (refusal := self.refusal(scope)):
            status, text = refusal
            headers = {**HEADERS, "www-authenticate": "Bearer"} if status == 401 else HEADERS
            await JSONResponse({"error": text}, status, headers)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def refusal(self, scope: Scope) -> tuple[int, str] | None:
        """The status and the text with which a request is refused; None if it is not."""
        reading = scope["method"] in ("GET", "HEAD")
        origins = [value.decode("latin-1") for name, value in scope["headers"] if name == b"origin"]
        if not reading and origins and origins != [f"{scope['scheme']}://{_header(scope, b'host')}"]:
            return 403, "A page of another site may not change anything here."
        if self._expected is None:
            return None if reading or (origins and _on_loopback(scope)) else (403, READ_ONLY)
        if reading and (scope["path"] in OPEN_PATHS or scope["path"].startswith(OPEN_FOLDERS)):
            return None
        if hmac.compare_digest(_header(scope, b"authorization").encode("latin-1"), self._expected):
            return None
        return 401, "Send the daemon's http_token: `Authorization: Bearer TOKEN`."


def _on_loopback(scope: Scope) -> bool:
    """Whether a request came from this host, to a name that means this host."""
    with contextlib.suppress(ValueError):
        peer = ipaddress.ip_address((scope.get("client") or ("",))[0])
        name = _name(_header(scope, b"host"))
        return peer.is_loopback and (name == "localhost" or ipaddress.ip_address(name).is_loopback)
    return False


def _name(host: str) -> str:
    """The name in a Host header, without its port."""
    name, bracket, _port = host.partition("]")
    return (name.removeprefix("[") if bracket else host.partition(":")[0]).lower()


def _header(scope: Scope, name: bytes) -> str:
    """A header's value; empty if it is missing, or given more than once."""
    values = [value for key, value in scope["headers"] if key == name]
    return values[0].decode("latin-1") if len(values) == 1 else ""


class Headers:
    """ASGI middleware: adds headers for browsers to every answer that does not set them itself."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and add the headers to the answer."""

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = {name for name, _ in message["headers"]}
                message["headers"] = [*message["headers"], *(pair for pair in _RAW_HEADERS if pair[0] not in given)]
            await send(message)

        await self._app(scope, receive, sending if scope["type"] == "http" else send)
