"""Plain values as bytes and back, exactly: arguments of resets, states of random generators, an env's arguments."""

from __future__ import annotations

from typing import Any, Final

import msgspec
import numpy as np

from offcam_proto import validation as check
from offcam_proto.errors import MalformedMessage, NotReplayable

_AS_IS: Final = (type(None), bool, float, str, bytes)
_MOST_BITS: Final = 63
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode


def pack(value: Any) -> bytes:  # noqa: ANN401 - whatever a user gives
    """Pack None, numbers, text, bytes, numpy's arrays and scalars, and lists, tuples and dicts of them.

    Raises:
        NotReplayable: the value has something else in it, such as a function or an object of another class.
    """
    try:
        return _encode(_tagged(value))
    except (RecursionError, UnicodeEncodeError) as error:
        raise NotReplayable(f"{check.shown(value)} cannot be written down: {error}") from error


def unpack(data: bytes) -> Any:  # noqa: ANN401 - see pack
    """Unpack a value that `pack` packed.

    Raises:
        MalformedMessage: the bytes are not those of such a value.
    """
    try:
        return _untagged(_decode(data))
    except (msgspec.MsgspecError, RecursionError, TypeError, ValueError) as error:
        raise MalformedMessage(f"not a value of a tape: {check.shown(data)}") from error


def _tagged(value: Any) -> Any:  # noqa: ANN401 - see pack
    """A value in msgpack's types, in which each list begins with its kind. Subclasses are refused."""
    kind = type(value)
    if kind in _AS_IS:
        return value
    if kind is int:
        return value if value.bit_length() <= _MOST_BITS else ["int", hex(value)]
    if kind is list or kind is tuple:
        return [kind.__name__, *map(_tagged, value)]
    if kind is dict:
        return ["dict", *(_tagged(each) for item in value.items() for each in item)]
    if isinstance(value, np.generic) and not value.dtype.hasobject:
        return ["scalar", value.dtype.str, value.tobytes()]
    if kind is np.ndarray and not value.dtype.hasobject and value.dtype.names is None:
        return ["array", value.dtype.str, list(value.shape), value.tobytes()]
    raise NotReplayable(f"a {kind.__module__}.{kind.__qualname__} is nothing that can be written down exactly")


def _untagged(value: Any) -> Any:  # noqa: ANN401 - see pack
    if not isinstance(value, list):
        return value
    kind, *items = value
    if kind == "int":
        return int(items[0], 16)
    if kind == "scalar":
        return np.frombuffer(items[1], items[0])[0]
    if kind == "array":
        return np.frombuffer(items[2], items[0]).reshape(items[1]).copy()
    plain = map(_untagged, items)
    if kind == "dict":
        return dict(zip(plain, plain, strict=True))
    if kind in ("list", "tuple"):
        return list(plain) if kind == "list" else tuple(plain)
    raise ValueError(f"unknown kind of a value: {kind!r}")
