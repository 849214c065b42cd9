"""A stand-in for the Hugging Face Hub: as much of its HTTP as commits need, one repository each, kept in memory."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

REGULAR_BYTES = 1000
"""Files up to this size, and all that are text, come with the commit; others are uploaded first."""


class Hub(ThreadingHTTPServer):
    """It answers on an ephemeral port.

    Attributes:
        files: in the repository, by path.
        blobs: that were uploaded, by their SHA-256.
        uploads: how often one was.
        commits: the paths that each added.
        made: what the repository was asked to be, each time.
        to_refuse: status codes that next requests to commit are answered with.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.files: dict[str, bytes] = {}
        self.blobs: dict[str, bytes] = {}
        self.uploads = 0
        self.commits: list[list[str]] = []
        self.made: list[dict] = []
        self.to_refuse: list[int] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def mode(self, path: str, size: int) -> str:
        return "regular" if size <= REGULAR_BYTES or path.endswith((".md", ".csv")) else "lfs"

    def oid(self, path: str) -> str | None:
        data = self.files.get(path)
        if data is None:
            return None
        if self.mode(path, len(data)) == "lfs":
            return hashlib.sha256(data).hexdigest()
        return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()

    def commit(self, lines: list[dict]) -> None:
        added = {}
        for line in lines[1:]:
            value = line["value"]
            given = line["key"] == "file"
            added[value["path"]] = base64.b64decode(value["content"]) if given else self.blobs[value["oid"]]
        self.files |= added
        self.commits.append(sorted(added))


class Answers(BaseHTTPRequestHandler):
    """One connection's."""

    server: Hub
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        data = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/api/repos/create":
            self.server.made.append(json.loads(data))
            again = len(self.server.made) > 1
            self._say({"url": f"{self.server.url}/datasets/me/agents"}, 409 if again else 200)
        elif self.path == "/api/validate-yaml":
            self._say({"errors": [], "warnings": []})
        elif "/preupload/" in self.path:
            asked = json.loads(data)["files"]
            known = [(each["path"], self.server.mode(each["path"], each["size"])) for each in asked]
            answer = [{"path": p, "uploadMode": m, "shouldIgnore": False, "oid": self.server.oid(p)} for p, m in known]
            self._say({"files": answer})
        elif self.path.endswith("/info/lfs/objects/batch"):
            objects = json.loads(data)["objects"]
            for each in objects:
                if each["oid"] not in self.server.blobs:
                    each["actions"] = {"upload": {"href": f"{self.server.url}/blobs/{each['oid']}"}}
            self._say({"transfer": "basic", "objects": objects})
        elif "/commit/" in self.path:
            if self.server.to_refuse:
                self._say({"error": "not now"}, self.server.to_refuse.pop())
                return
            self.server.commit([json.loads(line) for line in data.splitlines()])
            repository = self.path.partition("/commit/")[0].removeprefix("/api").removeprefix("/models")
            self._say({"commitUrl": f"{self.server.url}{repository}/commit/{'0' * 40}", "commitOid": "0" * 40})
        else:
            self._say({"error": self.path}, 404)

    def do_PUT(self) -> None:
        data = self.rfile.read(int(self.headers["Content-Length"]))
        assert hashlib.sha256(data).hexdigest() == self.path.rpartition("/")[2]
        self.server.blobs[self.path.rpartition("/")[2]] = data
        self.server.uploads += 1
        self._say({})

    def do_GET(self) -> None:  # of a repository
        self._say({"id": "me/agents", "sha": "0" * 40, "private": True, "downloads": 0, "likes": 0, "tags": []})

    def do_HEAD(self) -> None:
        data = self.server.files.get(self.path.partition("/resolve/main/")[2])
        self.send_response(404 if data is None else 200)
        if data is None:
            self.send_header("X-Error-Code", "EntryNotFound")
        self.send_header("X-Repo-Commit", "0" * 40)
        self.send_header("ETag", '"x"')
        self.send_header("Content-Length", str(len(data or b"")))
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _say(self, what: dict, status: int = 200) -> None:
        body = json.dumps(what).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def running() -> Iterator[Hub]:
    with Hub() as hub:
        thread = threading.Thread(target=hub.serve_forever, daemon=True)
        thread.start()
        try:
            yield hub
        finally:
            hub.shutdown()
            thread.join()
