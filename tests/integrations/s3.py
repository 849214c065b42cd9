"""A stand-in for S3: moto's server, which answers as it does, and worse when it is told to."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.s3.models import s3_backends
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BUCKET = "recordings"
FORBIDDEN = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
SLOW_DOWN = b"<Error><Code>SlowDown</Code><Message>Reduce your request rate</Message></Error>"
ANSWERS = {403: ("403 Forbidden", FORBIDDEN), 503: ("503 Service Unavailable", SLOW_DOWN)}


class S3:
    """It answers on an ephemeral port.

    Attributes:
        url: of the server.
        asked: method and path of each request, in order.
        to_refuse: status codes that the next requests are answered with.
        refuses: the status code that all requests are answered with that are not in ``to_refuse``; None for none.
        sent: bytes of the bodies of its answers to GET.
        seconds: how long each answer takes at least.
    """

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.to_refuse: list[int] = []
        self.refuses: int | None = None
        self.sent = 0
        self.seconds = 0.0
        self._moto = DomainDispatcherApplication(create_backend_app)
        self._server = make_server("127.0.0.1", 0, self._answer, threaded=True, request_handler=_Silent)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def keys(self, below: str = "") -> list[str]:
        """The keys of the bucket's objects."""
        objects = s3_backends[DEFAULT_ACCOUNT_ID]["aws"].buckets[BUCKET].keys
        return sorted(key for key in objects if key.startswith(below))

    def surroundings(self, folder: Path) -> dict[str, str]:
        """The variables by which it is found, with a cache and a state of the test's own."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "a_key",
            "AWS_SECRET_ACCESS_KEY": "of_the_test",
            "AWS_REGION": "us-east-1",
            "XDG_CACHE_HOME": str(folder / "cache"),
            "XDG_STATE_HOME": str(folder / "state"),
        }

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        s3_backends.reset()

    def _asked(self, environ: dict[str, Any], start: Any) -> list[bytes]:
        """Answer as S3 does. Returns the body."""
        return list(self._moto(environ, start))

    def _answer(self, environ: dict[str, Any], start: Any) -> Any:
        self.asked.append((environ["REQUEST_METHOD"], environ["PATH_INFO"]))
        time.sleep(self.seconds)
        status = self.to_refuse.pop(0) if self.to_refuse else self.refuses
        if status is None:
            body = self._asked(environ, start)
            self.sent += sum(map(len, body)) * (environ["REQUEST_METHOD"] == "GET")
            return body
        return refused(environ, start, *ANSWERS[status])


def refused(environ: dict[str, Any], start: Any, status: str, body: bytes) -> list[bytes]:
    """Answer a request otherwise than was asked for. Returns the body."""
    environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    start(status, [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))])
    return [body]


class _Silent(WSGIRequestHandler):
    def log(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def running(kind: type[S3] = S3) -> Iterator[S3]:
    """A server with one bucket."""
    server = kind()
    try:
        s3_backends[DEFAULT_ACCOUNT_ID]["aws"].create_bucket(BUCKET, "us-east-1")
        yield server
    finally:
        server.close()
