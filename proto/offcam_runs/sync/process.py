"""Starting the process that sends a run to a tracker: in the interpreter and the environment of whoever asks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import IO, Any, Final

from offcam_proto import validation as check
from offcam_proto.endpoints import parse_endpoint
from offcam_proto.errors import ConfigError, MalformedMessage
from offcam_runs.idle import give_way
from offcam_runs.objects.layout import ObjectPlace, is_url

END: Final = b"\n"
"""The line behind the request: the training is over. The end of the input means the same, and the owner's end."""


OBJECTS: Final = "objects"
"""The tracker that is meant by the URL of a place in object storage, which is its option ``url``."""


PUSH: Final = "push"
"""The tracker that is meant by the URL of a hub, ``tcp://HOST:PORT``, which is its option ``url``."""


@dataclass(frozen=True, kw_only=True)
class SyncRequest:
    """What is to be sent where: a line of JSON on the process's stdin.

    Attributes:
        folder: absolute path of the run folder.
        tracker: name of the tracker.
        options: of the tracker, by name.
        session: number of the session to send; None for the newest.
        stream: instead of ``session``, the id of a stream in it, 32 hexadecimal digits. The stream may not be there
            yet.
        follow: whether to go on until the session is over.
        owner: pid of a process: the training is over when that ends, or after `END`; 0 where the index says when.
        tries: how many failures in a row end the sending; 0 for any number.
    """

    folder: str
    tracker: str
    options: dict[str, str] = field(default_factory=dict)
    session: int | None = None
    stream: str = ""
    follow: bool = False
    owner: int = 0
    tries: int = 0

    @property
    def line(self) -> bytes:
        """The request as a line of JSON."""
        return json.dumps(asdict(self)).encode() + b"\n"

    @staticmethod
    def parse(line: bytes) -> SyncRequest:
        """Parse a line of JSON.

        Raises:
            MalformedMessage: the line is not such a request.
        """
        try:
            return SyncRequest(**json.loads(line))
        except (ValueError, TypeError) as error:
            raise MalformedMessage(f"not a request to send a run: {check.shown(line)}") from error


def start(
    request: SyncRequest, path: Sequence[str], *, stdout: int | IO[Any], stderr: int | IO[Any] | None
) -> subprocess.Popen[bytes]:
    """Start it. The process leaves when all is sent that was asked for; with an ``owner``, not before that one's end.

    Args:
        request: what is asked for.
        path: where modules are found, as in ``sys.path``.
        stdout: where it writes one line of JSON in the end, which says how it went.
        stderr: where it writes warnings meanwhile; None for our own.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "offcam.sync"],
        stdin=subprocess.PIPE,
        stdout=stdout,
        stderr=stderr,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(each for each in path if each)},
        start_new_session=True,  # Ctrl-C is for the caller
    )
    if request.follow:  # else the user waits for it
        give_way(process.pid)
    assert process.stdin is not None  # noqa: S101 - a pipe
    with suppress(BrokenPipeError):  # the process has ended already
        process.stdin.write(request.line)  # which fits the pipe
        process.stdin.flush()
    return process


def parse_place(text: str) -> tuple[str, dict[str, str]]:
    """A tracker and its options as people write them: ``mlflow:tracking_uri=sqlite:///runs.db,experiment=cartpole``.

    A URL, as ``s3://bucket/run``, stands for `OBJECTS` there; that of a hub, ``tcp://HOST:PORT``, for `PUSH`.

    Raises:
        ConfigError: the text is not of that form.
    """
    if text.startswith("tcp://"):
        return PUSH, {"url": parse_endpoint(text, "the hub's address").url}
    if is_url(text):
        ObjectPlace.parse(text)
        return OBJECTS, {"url": text}
    tracker, _, rest = text.partition(":")
    options = dict[str, str]()
    for part in rest.split(",") if rest else ():
        name, equals, value = part.partition("=")
        if not equals or not name.strip().isidentifier():
            raise ConfigError(f"a tracker is given as NAME or NAME:option=value,option=value, got {text!r}")
        options[name.strip()] = value
    return _tracker(tracker, text), options


def with_options(to: str, options: Mapping[str, object]) -> tuple[str, dict[str, str]]:
    """As `parse_place`, with further options given by name; these take precedence."""
    tracker, found = parse_place(to)
    return tracker, {**found, **{name: str(value) for name, value in options.items() if value is not None}}


def _tracker(name: str, text: str) -> str:
    if not name or not all(char.isalnum() or char in "._-" for char in name):
        raise ConfigError(f"a tracker's name is letters, digits, '.', '_' and '-', got {text!r}")
    return name
