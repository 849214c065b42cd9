"""A stand-in for W&B's backend: as much of its GraphQL and HTTP as runs and their files need, kept in memory."""

from __future__ import annotations

import base64
import json
import re
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

KEY = "0123456789abcdef0123456789abcdef01234567"
ENTITY = "me"
VIEWER = {"id": "VQ==", "entity": ENTITY, "username": ENTITY, "email": "", "flags": "{}", "teams": {"edges": []}}
PROJECT = {"id": "UA==", "internalId": "1", "entity": {"id": "RQ==", "name": ENTITY}}
OPERATION = re.compile(r"(?:query|mutation)\s+(\w+)")
AWAY = 0
"""In place of a status code: the connection is closed without an answer."""


@dataclass
class StoredRun:
    """A run as the backend has it.

    Attributes:
        id: that it was given, as all up to ``config``.
        project: its name.
        group: by its name; empty for none.
        job_type: what it is for.
        title: its name for people.
        config: its settings.
        lines: its history.
        others: of its other files that come in lines, how many there are.
        files: that were uploaded, by name.
        complete: whether it was finished.
    """

    id: str
    project: str
    group: str = ""
    job_type: str = ""
    title: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    lines: list[dict[str, Any]] = field(default_factory=list)
    others: dict[str, int] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    complete: bool = False

    def column(self, name: str, by: str = "_step") -> list[tuple[Any, Any]]:
        """The values of a name, each behind that of another one."""
        return [(line[by], line[name]) for line in self.lines if name in line]

    def videos(self, name: str) -> dict[int, bytes]:
        """The videos that a name has, as they were uploaded, by episode."""
        return {episode: self.files[shown["path"]] for episode, shown in self.column(name, "offcam/episode")}

    def upsert(self, given: dict[str, Any]) -> None:
        """Take what is said of it; what is null there stays."""
        for name, ours in {"groupName": "group", "jobType": "job_type", "displayName": "title"}.items():
            setattr(self, ours, given[name] or getattr(self, ours))
        self.config |= json.loads(given["config"] or "{}")

    def stream(self, given: dict[str, Any]) -> None:
        """Take lines, each at its place: one that comes again is written over what was there."""
        for name, part in given.get("files", {}).items():
            offset, content = part["offset"], part["content"]
            if name == "wandb-history.jsonl":
                assert offset <= len(self.lines), f"lines {len(self.lines)} to {offset} never came"
                self.lines[offset : offset + len(content)] = map(json.loads, content)
            else:
                self.others[name] = max(self.others.get(name, 0), offset + len(content))
        self.complete = given.get("complete", self.complete)

    @property
    def bucket(self) -> dict[str, Any]:
        """As GraphQL has it."""
        return {
            "id": base64.b64encode(self.id.encode()).decode(),
            "name": self.id,
            "displayName": self.title or self.id,
            "description": "",
            "notes": "",
            "tags": [],
            "sweepName": None,
            "state": "finished" if self.complete else "running",
            "group": self.group,
            "jobType": self.job_type,
            "config": json.dumps(self.config),
            "wandbConfig": json.dumps({"t": self.config.get("_wandb", {}).get("value", {}).get("t")}),
            "summaryMetrics": "{}",
            "historyLineCount": len(self.lines),
            "historyTail": json.dumps([json.dumps(line) for line in self.lines[-1:]]),
            "eventsLineCount": self.others.get("wandb-events.jsonl", 0),
            "eventsTail": "[]",
            "logLineCount": self.others.get("output.log", 0),
            "project": {**PROJECT, "name": self.project},
        }

    @property
    def keys(self) -> dict[str, Any]:
        """What its history has, as GraphQL has it."""
        return {"historyKeys": {"lastStep": self.lines[-1]["_step"] if self.lines else -1}}

    def listed(self, names: list[str]) -> dict[str, Any]:
        """Its files as GraphQL has them: those of these names, or all."""
        found = [(name, data) for name, data in self.files.items() if not names or name in names]
        nodes = [{"id": name, "name": name, "sizeBytes": len(data), "url": "", "directUrl": ""} for name, data in found]
        more = {"mimetype": "", "updatedAt": None, "md5": ""}
        edges = [{"node": {**node, **more}, "cursor": node["name"]} for node in nodes]
        page = {"endCursor": None, "hasNextPage": False}
        return {"fileCount": len(self.files), "files": {"edges": edges, "pageInfo": page}}


class Backend(ThreadingHTTPServer):
    """It answers on an ephemeral port.

    Attributes:
        runs: by id.
        asked: what it was asked: names of GraphQL's operations, and ``lines`` and ``file`` for what is uploaded.
        refuses: by what it is asked, the status codes that it answers the next ones with, or `AWAY`.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.runs: dict[str, StoredRun] = {}
        self.asked: list[str] = []
        self.refuses: dict[str, list[int]] = {}
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def run_for(self, job_type: str) -> StoredRun:
        """The one run that there is for something."""
        (found,) = (run for run in self.runs.values() if run.job_type == job_type)
        return found

    def answer(self, operation: str, given: dict[str, Any]) -> dict[str, Any]:
        """GraphQL's to a question."""
        if operation in ("Viewer", "GetDefaultEntity"):
            return {"viewer": VIEWER}
        if operation == "ServerFeaturesQuery":
            return {"serverInfo": {"features": []}}
        if operation == "CreateRunFiles":
            files = [{"name": name, "uploadUrl": f"{self.url}/{given['run']}/{name}"} for name in given["files"]]
            return {"createRunFiles": {"runID": "UnVu", "uploadHeaders": [], "files": files}}
        if operation == "UpsertBucket":
            inserted = given["name"] not in self.runs
            run = self.runs.setdefault(given["name"], StoredRun(given["name"], given["project"]))
            run.upsert(given)
            return {"upsertBucket": {"bucket": run.bucket, "inserted": inserted}}
        if operation == "RunResumeStatus":
            known = self.runs.get(given["name"])
            return {"model": {**PROJECT, "name": given["project"], "bucket": known.bucket if known else None}}
        run = self.runs[given["name"]]
        found = {"Run": run.bucket, "RunFiles": run.listed(given.get("fileNames", [])), "RunHistoryKeys": run.keys}
        return {"project": {**PROJECT, "run": found[operation]}}

    def handle_error(self, *_: object) -> None:
        """Say nothing of connections that a killed process had; what is wrong here has no answer, which a test sees."""


class Answers(BaseHTTPRequestHandler):
    """One connection's."""

    server: Backend
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        given = json.loads(self._body())
        if self.path == "/graphql":
            operation = OPERATION.search(given["query"])[1]
            if self._lets_in(operation, self._has_key()):
                with self.server.lock:
                    found = self.server.answer(operation, given.get("variables") or {})
                self._say({"data": found})
        elif self._lets_in("lines", self._has_key()):
            with self.server.lock:
                self.server.runs[self.path.split("/")[-2]].stream(given)
            self._say({})

    def do_PUT(self) -> None:
        data = self._body()
        if self._lets_in("file", True):  # by an address that was given to who has the key
            _, run, name = self.path.split("/", 2)
            self.server.runs[run].files[name] = data
            self._say({})

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers["Content-Length"]))

    def _has_key(self) -> bool:
        return self.headers["Authorization"] == f"Basic {base64.b64encode(f'api:{KEY}'.encode()).decode()}"

    def _lets_in(self, what: str, has_key: bool) -> bool:
        self.server.asked.append(what)
        refuses = self.server.refuses.get(what)
        status = 401 if not has_key else refuses.pop(0) if refuses else 200
        if status == AWAY:
            self.close_connection = True
        elif status != 200:
            self._say({"errors": [{"message": "not now"}]}, status)
        return status == 200

    def _say(self, what: dict[str, Any], status: int = 200) -> None:
        body = json.dumps(what).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def running() -> Iterator[Backend]:
    with Backend() as backend:
        thread = threading.Thread(target=backend.serve_forever, daemon=True)
        thread.start()
        try:
            yield backend
        finally:
            backend.shutdown()
            thread.join()
