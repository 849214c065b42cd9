"""A stand-in for Google's object storage: that for S3, and what obstore says and expects otherwise.

Google's XML API is S3's but for its keys, and for the generations by which it tells one object of a key from the next.
The emulators of Google's storage speak its JSON API, which obstore does not write by.
"""

from __future__ import annotations

import json
import threading
from itertools import count
from typing import TYPE_CHECKING, Any

from s3 import S3, refused

if TYPE_CHECKING:
    from collections.abc import Iterator

AMAZONS = "AWS4-HMAC-SHA256 Credential=a_key/20261129/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0"
"""What moto, which checks no signature, takes for somebody who may."""

CHANGED = b"<Error><Code>PreconditionFailed</Code><Message>The generation is another one</Message></Error>"


class GoogleStorage(S3):
    """See `S3`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._numbers: Iterator[int] = count(1)
        self._generations: dict[str, int] = {}  # of objects, by their paths
        super().__init__()

    @property
    def account(self) -> str:
        """The key of a service account by which obstore finds it, and asks nobody for a token."""
        empty = {"client_email": "", "private_key": "", "private_key_id": ""}
        return json.dumps({"gcs_base_url": self.url, "disable_oauth": True, **empty})

    def _asked(self, environ: dict[str, Any], start: Any) -> list[bytes]:
        path, method, query = (environ[name] for name in ("PATH_INFO", "REQUEST_METHOD", "QUERY_STRING"))
        environ["HTTP_AUTHORIZATION"] = AMAZONS
        writes = (method == "PUT" and not query) or (method == "POST" and "uploadId=" in query)

        def started(status: str, headers: list[tuple[str, str]], error: Any = None) -> Any:
            if writes and status.startswith("200"):
                self._generations[path] = next(self._numbers)
            generation = str(self._generations.get(path, 0))
            return start(status, [*headers, ("x-goog-generation", generation)], error)

        with self._lock:
            wanted = environ.get("HTTP_X_GOOG_IF_GENERATION_MATCH")
            if wanted is not None and int(wanted) != self._generations.get(path, 0):
                return refused(environ, start, "412 Precondition Failed", CHANGED)
            if method == "DELETE":
                self._generations.pop(path, None)
            return list(super()._asked(environ, started))
