"""One value of a setting: parses what a user wrote, or raises the error that helps them."""

from __future__ import annotations

import difflib
import ipaddress
import math
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from offcam_proto.endpoints import Endpoint, parse_endpoint
from offcam_proto.errors import ConfigError
from offcam_proto.keys import SECRET_ENDING
from offcam_proto.limits import MIB
from offcam_proto.sizes import parse_size
from offcam_runs.objects.layout import ObjectPlace


@dataclass(frozen=True, slots=True)
class HttpAddress:
    """Where the HTTP server listens.

    Attributes:
        host: name or address, an IPv6 one without brackets.
        port: 0 for any free one.
        asked: whether a user asked for this address; a default whose port is taken gives way to any free port.
    """

    host: str
    port: int
    asked: bool = True

    @property
    def netloc(self) -> str:
        """``host:port``, as in a URL and for ``--http``."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """``http://host:port``."""
        return f"http://{self.netloc}"

    @property
    def loopback(self) -> bool:
        """Whether only this host can reach it."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host.lower() == "localhost"


@dataclass(frozen=True, slots=True)
class Given:
    """A value, where it was given (for messages), and the folder that its relative paths start from."""

    value: object
    source: str
    base: Path
    asked: bool = True

    def wrong(self, must: str) -> ConfigError:
        """The error for this value, which says what it must be."""
        return ConfigError(f"{self.source} must be {must}, got {self.value!r}. Fix it, or leave it out.")


_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]{16,512}")
_HTTP = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^\s:/\[\]]+):(\d{1,5})")


def number(low: float, high: float, what: str) -> Callable[[Given], float]:
    """A parser of numbers from ``low`` to ``high``; ``what`` describes them in the error."""

    def parse(given: Given) -> float:
        try:
            found = float(cast("str", given.value)) if type(given.value) is not bool else math.nan
        except (TypeError, ValueError):
            found = math.nan
        if not low <= found <= high:
            raise given.wrong(what)
        return found

    return parse


def integer(low: int, high: int) -> Callable[[Given], int]:
    """A parser of integers from ``low`` to ``high``."""
    parse_number = number(low, high, what := f"an integer from {low} to {high}")

    def parse(given: Given) -> int:
        found = parse_number(given)
        if found != int(found):
            raise given.wrong(what)
        return int(found)

    return parse


def size(given: Given) -> int:
    """A number of bytes, written with or without a unit."""
    try:
        return parse_size(str(given.value))
    except ValueError as error:
        raise given.wrong(str(error)) from error


def memory_size(given: Given) -> int:
    """A number of bytes that is large enough for a small frame."""
    found = size(given)
    if found < MIB:
        raise given.wrong("at least 1MiB, or no frame fits in")
    return found


def choice(*choices: str) -> Callable[[Given], str]:
    """A parser of one of some words."""

    def parse(given: Given) -> str:
        text = str(given.value).strip().lower()
        if text not in choices:
            near = difflib.get_close_matches(text, choices, 1)
            raise given.wrong(f"one of {', '.join(choices)}" + (f" (did you mean {near[0]}?)" if near else ""))
        return text

    return parse


def path(given: Given) -> Path:
    """A path; a relative one starts at the folder of the value's source."""
    if not isinstance(given.value, (str, os.PathLike)) or not str(given.value) or "\0" in str(given.value):
        raise given.wrong("a path")
    try:
        return given.base / Path(given.value).expanduser()
    except RuntimeError as error:
        if not given.asked:  # HOME itself is "~": nobody gave this path, and few daemons need it
            return Path("/", str(given.value))
        raise given.wrong("a path (its ~ names no known user)") from error


def optional_path(given: Given) -> Path | None:
    """A path, or None for the empty text."""
    return None if given.value is None or given.value == "" else path(given)


def keys_directory(given: Given) -> Path:
    """A directory of keys; for a path of a key file, as clients may have it, the directory of that file."""
    found = path(given)
    return found.parent if found.suffix == SECRET_ENDING else found


def http_address(given: Given) -> HttpAddress | None:
    """``HOST:PORT``, or None for ``off``."""
    text = str(given.value).strip()
    if text.lower() == "off":
        return None
    match = _HTTP.fullmatch(text)
    if not match or int(match[2]) > 65535:
        raise given.wrong("HOST:PORT (port 0 for any free one) or off, for example 127.0.0.1:8720")
    return HttpAddress(match[1].strip("[]"), int(match[2]), asked=given.asked)


def endpoint(given: Given) -> Endpoint:
    """An endpoint, ``ipc://`` or ``tcp://``."""
    return parse_endpoint(str(given.value).strip(), given.source)


def tcp_endpoint(given: Given) -> Endpoint | None:
    """``tcp://HOST:PORT``, or None for ``off``."""
    if given.value is None or str(given.value).strip().lower() == "off":
        return None
    found = endpoint(given)
    if found.path is not None:
        raise given.wrong("tcp://HOST:PORT or off, for example tcp://0.0.0.0:8721")
    return found


def object_place(given: Given) -> ObjectPlace | None:
    """A URL of object storage, or None for ``off``."""
    text = str(given.value).strip()
    if text.lower() == "off":
        return None
    try:
        return ObjectPlace.parse(text)
    except ConfigError as error:
        raise ConfigError(f"{given.source}: {error}") from error


def token(given: Given) -> str | None:
    """A secret of 16 to 512 characters, or None for none. No error message shows it."""
    if given.value is None or given.value == "":
        return None
    text = str(given.value).strip()
    if not _TOKEN.fullmatch(text):
        raise ConfigError(
            f"{given.source} must be 16 to 512 letters, digits or any of -._~+/=, as `openssl rand -hex 16` prints."
        )
    return text
