"""Values of no fixed size, as the heap of steps has them: their kinds, and how they are decoded.

`offcam.recorder.typed_values` encodes them. Nothing in them is ever run.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np

from offcam_proto.codec import unpack_value
from offcam_proto.errors import ActionError, MalformedMessage

INTEGER, ARRAY, SCALAR, LIST, TUPLE, DICT, GRAPH = range(7)
"""First item of an array that stands for a value which msgpack has no type for."""


def decode(data: bytes) -> Any:  # noqa: ANN401 - what was given to `typed_values.encode`
    """Decode a value.

    Raises:
        ActionError: the bytes are not an encoded value.
    """
    try:
        return _meant(unpack_value(data))
    except (MalformedMessage, TypeError, ValueError, LookupError, RecursionError) as error:
        raise ActionError(f"not the bytes of an action: {error}") from error


def _meant(told: Any) -> Any:  # noqa: ANN401 - as above
    if not isinstance(told, list):
        return told
    kind, *rest = told
    if kind == INTEGER:
        return int(rest[0])
    if kind in (ARRAY, SCALAR):
        dtype, shape, data = rest
        array = np.frombuffer(data, np.dtype(dtype)).reshape(shape).copy()
        return array if kind == ARRAY else array[()]
    if kind == DICT:
        return {_meant(key): _meant(each) for key, each in rest[0]}
    if kind == GRAPH:
        return import_module("gymnasium.spaces").GraphInstance(*map(_meant, rest))  # slow to import, and seldom needed
    return {LIST: list, TUPLE: tuple}[kind](map(_meant, rest))
