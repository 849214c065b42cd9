"""Where the daemon listens, as pure functions of the environment: one rule for both sides."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from offcam_proto.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

ADDR_VARIABLE = "OFFCAM_ADDR"
"""Environment variable with the daemon's endpoint."""

SOCKET_NAME = "daemon.sock"
LOCK_NAME = "daemon.lock"
LAUNCH_LOCK_NAME = "launch.lock"
LOG_NAME = "daemon.log"

MAX_SOCKET_PATH = 107
"""Longest path of a Unix socket, in bytes (``sun_path`` is 108 with its NUL)."""

_TCP = re.compile(r"tcp://(?P<host>\[[0-9a-fA-F:.]+\]|[^\s:/]+):(?P<port>[0-9]{1,5})")
_EXAMPLE = "for example ipc:///run/offcam/daemon.sock"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A parsed endpoint: ``ipc`` with a socket path, or ``tcp`` with host and port."""

    url: str
    path: str | None
    host: str | None = None
    port: int | None = None


def runtime_dir(environ: Mapping[str, str], uid: int) -> str:
    """The user's directory for the daemon's socket, lock and log: in ``$XDG_RUNTIME_DIR``, else in ``/tmp``."""
    base = environ.get("XDG_RUNTIME_DIR")
    if base and base.startswith("/"):  # a relative one is invalid and to be ignored, says the XDG specification
        return f"{base.rstrip('/')}/offcam"
    return f"/tmp/offcam-{uid}"  # noqa: S108 - made 0700, owner checked


def default_endpoint(environ: Mapping[str, str], uid: int) -> Endpoint:
    """The endpoint used where none is given: a socket in `runtime_dir`.

    Raises:
        ConfigError: the path is too long for a Unix socket.
    """
    return parse_endpoint(f"ipc://{runtime_dir(environ, uid)}/{SOCKET_NAME}", "the default endpoint")


def endpoint_from(environ: Mapping[str, str], uid: int) -> tuple[Endpoint, bool]:
    """The endpoint that the environment asks for, and whether it was asked for by name.

    Raises:
        ConfigError: ``OFFCAM_ADDR`` is malformed.
    """
    text = environ.get(ADDR_VARIABLE, "").strip()
    if text:
        return parse_endpoint(text, ADDR_VARIABLE), True
    return default_endpoint(environ, uid), False


def parse_endpoint(text: str, source: str) -> Endpoint:
    """Parse ``ipc:///absolute/path`` or ``tcp://host:port``.

    Args:
        text: the endpoint.
        source: where it came from, for the message.

    Raises:
        ConfigError: it is neither.
    """
    if text.startswith("ipc://"):
        path = text.removeprefix("ipc://")
        if not path.startswith("/") or path.endswith("/") or "\0" in path or _never_a_path(path):
            raise ConfigError(f"{source} must name a socket by its absolute path, got {text!r}; {_EXAMPLE}.")
        if len(path.encode(errors="surrogateescape")) > MAX_SOCKET_PATH:
            raise ConfigError(
                f"{source} names a socket path longer than {MAX_SOCKET_PATH} bytes, which no Unix system "
                f"accepts: {path!r}. Set {ADDR_VARIABLE} or XDG_RUNTIME_DIR to a shorter path, {_EXAMPLE}.",
            )
        return Endpoint(text, path)
    match = _TCP.fullmatch(text)
    if match and 1 <= int(match["port"]) <= 65535:
        return Endpoint(text, None, match["host"], int(match["port"]))
    raise ConfigError(
        f"{source} must be ipc:///absolute/path or tcp://host:port, got {text!r}. Fix it, {_EXAMPLE}, "
        f"or unset it to use this user's own daemon.",
    )


def _never_a_path(text: str) -> bool:
    """Whether it holds surrogates that stand for no byte: nothing the operating system gave us."""
    return any("\ud800" <= char < "\udc80" or "\udcff" < char <= "\udfff" for char in text)
