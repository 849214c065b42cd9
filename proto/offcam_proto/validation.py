"""Small checks that messages run on construction, so that an invalid message cannot exist on either side."""

from __future__ import annotations

import reprlib
from typing import TYPE_CHECKING

from offcam_proto.errors import LimitExceeded, MalformedMessage
from offcam_proto.limits import MAX_COUNT_NAME_BYTES, MAX_COUNTS, MAX_INT, MAX_TEXT_BYTES

if TYPE_CHECKING:
    from collections.abc import Mapping

ID_BYTES = 16
"""Size of a session, stream or daemon-instance id: a random UUID's bytes."""


_short = reprlib.Repr()
_short.maxstring = _short.maxother = 100


def shown(value: object) -> str:
    """A value for an error's message, cut short: a peer's may be large, or nested deeper than `repr` can go."""
    return _short.repr(value)


def uint(name: str, value: object, limit: int = MAX_INT, *, low: int = 0) -> None:
    """Require an integer in ``low..limit`` (a bool is none)."""
    if type(value) is not int or value < low:
        raise MalformedMessage(f"{name} must be an integer from {low} on, got {shown(value)}")
    if value > limit:
        raise LimitExceeded(f"{name} must be at most {limit}, got {value}")


def real(name: str, value: object) -> None:
    """Require a float (NaN and the infinities are floats)."""
    if type(value) is not float:
        raise MalformedMessage(f"{name} must be a float, got {shown(value)}")


def flag(name: str, value: object) -> None:
    """Require a bool."""
    if type(value) is not bool:
        raise MalformedMessage(f"{name} must be a bool, got {shown(value)}")


def identifier(name: str, value: object) -> None:
    """Require `ID_BYTES` bytes."""
    if type(value) is not bytes or len(value) != ID_BYTES:
        raise MalformedMessage(f"{name} must be {ID_BYTES} bytes, got {shown(value)}")


def text(name: str, value: object, limit: int = MAX_TEXT_BYTES) -> None:
    """Require a str that encodes to at most ``limit`` UTF-8 bytes and holds no NUL."""
    if type(value) is not str:
        raise MalformedMessage(f"{name} must be text, got {shown(value)}")
    try:
        size = len(value.encode())
    except UnicodeEncodeError as error:
        raise MalformedMessage(f"{name} must be valid Unicode, got {shown(value)}") from error
    if "\0" in value:
        raise MalformedMessage(f"{name} must not contain NUL, got {shown(value)}")
    if size > limit:
        raise LimitExceeded(f"{name} must be at most {limit} bytes of UTF-8, got {size}")


def file_name(name: str, value: object, limit: int) -> None:
    """Require text that is one path component: no separator, not ``.`` or ``..``."""
    text(name, value, limit)
    if value in ("", ".", "..") or "/" in str(value) or "\\" in str(value):
        raise MalformedMessage(f"{name} must be a plain file name without '/' or '\\', got {shown(value)}")


def counts(name: str, value: object) -> None:
    """Require a mapping from short text to non-negative integers, at most `MAX_COUNTS` entries."""
    if not isinstance(value, dict):
        raise MalformedMessage(f"{name} must be a map of counts, got {shown(value)}")
    if len(value) > MAX_COUNTS:
        raise LimitExceeded(f"{name} must have at most {MAX_COUNTS} entries, got {len(value)}")
    mapping: Mapping[object, object] = value
    for key, count in mapping.items():
        text(f"a key of {name}", key, MAX_COUNT_NAME_BYTES)
        uint(f"{name}[{shown(key)}]", count)
