"""Small checks that messages run on construction, so that an invalid message cannot exist on either side."""

from __future__ import annotations

from typing import TYPE_CHECKING

from offcam_proto.errors import LimitExceeded, MalformedMessage
from offcam_proto.limits import MAX_INT, MAX_TEXT_BYTES

if TYPE_CHECKING:
    from collections.abc import Mapping

ID_BYTES = 16
"""Size of a session, stream or daemon-instance id: a random UUID's bytes."""


def uint(name: str, value: object, limit: int = MAX_INT) -> None:
    """Require an integer in ``0..limit`` (a bool is none)."""
    if type(value) is not int or value < 0:
        raise MalformedMessage(f"{name} must be a non-negative integer, got {value!r}")
    if value > limit:
        raise LimitExceeded(f"{name} must be at most {limit}, got {value}")


def real(name: str, value: object) -> None:
    """Require a float (NaN and the infinities are floats)."""
    if type(value) is not float:
        raise MalformedMessage(f"{name} must be a float, got {value!r}")


def flag(name: str, value: object) -> None:
    """Require a bool."""
    if type(value) is not bool:
        raise MalformedMessage(f"{name} must be a bool, got {value!r}")


def identifier(name: str, value: object) -> None:
    """Require `ID_BYTES` bytes."""
    if type(value) is not bytes or len(value) != ID_BYTES:
        raise MalformedMessage(f"{name} must be {ID_BYTES} bytes, got {value!r}")


def text(name: str, value: object, limit: int = MAX_TEXT_BYTES) -> None:
    """Require a str that encodes to at most ``limit`` UTF-8 bytes and holds no NUL."""
    if type(value) is not str:
        raise MalformedMessage(f"{name} must be text, got {value!r}")
    try:
        size = len(value.encode())
    except UnicodeEncodeError as error:
        raise MalformedMessage(f"{name} must be valid Unicode, got {value!r}") from error
    if "\0" in value:
        raise MalformedMessage(f"{name} must not contain NUL, got {value!r}")
    if size > limit:
        raise LimitExceeded(f"{name} must be at most {limit} bytes of UTF-8, got {size}")


def file_name(name: str, value: object, limit: int) -> None:
    """Require text that is one path component: no separator, not ``.`` or ``..``."""
    text(name, value, limit)
    if value in ("", ".", "..") or any(char in str(value) for char in "/\\"):
        raise MalformedMessage(f"{name} must be a plain file name without '/' or '\\', got {value!r}")


def counts(name: str, value: object) -> None:
    """Require a mapping from short text to non-negative integers, at most 32 entries."""
    if not isinstance(value, dict):
        raise MalformedMessage(f"{name} must be a map of counts, got {value!r}")
    if len(value) > 32:
        raise LimitExceeded(f"{name} must have at most 32 entries, got {len(value)}")
    mapping: Mapping[object, object] = value
    for key, count in mapping.items():
        text(f"a key of {name}", key, 64)
        uint(f"{name}[{key!r}]", count)
