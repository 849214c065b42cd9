"""Values of no fixed size, as the heap of steps has them: of which kinds they are, and how they are read back.

`offcam.recorder.typed_values` writes them. Nothing of it is ever run.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np

from offcam_proto.codec import unpack_value
from offcam_proto.errors import ActionError, MalformedMessage

INTEGER, ARRAY, SCALAR, LIST, TUPLE, DICT, GRAPH = range(7)
"""What an array begins with that stands for what msgpack does not tell apart."""


def decode(data: bytes) -> Any:  # noqa: ANN401 - what was given to `typed_values.encode`
    """What was encoded.

    Raises:
        ActionError: the bytes are of nothing that was.
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
