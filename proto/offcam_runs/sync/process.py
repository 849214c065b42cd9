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
from offcam_proto.errors import ConfigError, MalformedMessage

END: Final = b"\n"
"""The line behind the request: the training is over. So it is at the end of the input, and when its process is gone."""


@dataclass(frozen=True, kw_only=True)
class SyncRequest:
    """What is to be sent where: a line of JSON on the process's stdin.

    Attributes:
        folder: absolute path of the run folder.
        tracker: its name.
        options: of the tracker.
        session: which session; None for the newest.
        stream: instead of that, the id of a stream that is in it, 32 hexadecimal digits. It may not be there yet.
        follow: whether to go on until the session is over.
        owner: pid of the process whose end, or `END`, is the end of the training; 0 for none, where the index says so.
        tries: how often in a row it may fail before it is given up; 0 for any number.
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
        """As a line of JSON."""
        return json.dumps(asdict(self)).encode() + b"\n"

    @staticmethod
    def parse(line: bytes) -> SyncRequest:
        """The request that a line is of.

        Raises:
            MalformedMessage: it is of none.
        """
        try:
            return SyncRequest(**json.loads(line))
        except (ValueError, TypeError) as error:
            raise MalformedMessage(f"not a request to send a run: {check.shown(line)}") from error


def start(
    request: SyncRequest, path: Sequence[str], *, stdout: int | IO[Any], stderr: int | IO[Any] | None
) -> subprocess.Popen[bytes]:
    """Start it, and ask. It leaves when all is sent that was asked for; with `SyncRequest.owner`, not before its end.

    Args:
        request: what is asked for.
        path: where modules are found, as in ``sys.path``.
        stdout: where the line of JSON goes that says how it ended.
        stderr: where goes what it says meanwhile; None for our own.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "offcam.sync"],
        stdin=subprocess.PIPE,
        stdout=stdout,
        stderr=stderr,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(each for each in path if each)},
        start_new_session=True,  # Ctrl-C is for whoever asked
    )
    assert process.stdin is not None  # noqa: S101 - a pipe
    with suppress(BrokenPipeError):  # it has ended already
        process.stdin.write(request.line)  # which fits the pipe
        process.stdin.flush()
    return process


def parse_place(text: str) -> tuple[str, dict[str, str]]:
    """A tracker and its options as people write them: ``mlflow:tracking_uri=sqlite:///runs.db,experiment=cartpole``.

    Raises:
        ConfigError: it is not of that form.
    """
    tracker, _, rest = text.partition(":")
    options = dict[str, str]()
    for part in rest.split(",") if rest else ():
        name, equals, value = part.partition("=")
        if not equals or not name.strip().isidentifier():
            raise ConfigError(f"a tracker is given as NAME or NAME:option=value,option=value, got {text!r}")
        options[name.strip()] = value
    return _tracker(tracker, text), options


def with_options(to: str, options: Mapping[str, object]) -> tuple[str, dict[str, str]]:
    """The same, with options that were given by name; those come first."""
    tracker, found = parse_place(to)
    return tracker, {**found, **{name: str(value) for name, value in options.items() if value is not None}}


def _tracker(name: str, text: str) -> str:
    if not name or not all(char.isalnum() or char in "._-" for char in name):
        raise ConfigError(f"a tracker's name is letters, digits, '.', '_' and '-', got {text!r}")
    return name
