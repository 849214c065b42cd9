"""Values without a fixed size as bytes; `offcam_runs.steps.values` decodes them to the same types, dtypes and bits."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
from gymnasium.spaces import GraphInstance

from offcam.recorder import readings
from offcam_proto.errors import ActionError
from offcam_runs.steps.values import ARRAY, DICT, GRAPH, INTEGER, LIST, SCALAR, TUPLE

_pack = msgspec.msgpack.Encoder().encode

_PLAIN = (type(None), bool, int, float, str, bytes)
_MOST_INT, _LEAST_INT = 2**64 - 1, -(2**63)


def encode(value: Any) -> bytes:  # noqa: ANN401 - of any space
    """Encode a value as bytes: numbers, text, arrays, and tuples, lists and dicts of them.

    Raises:
        ActionError: the value is of another kind, or lies in a device's memory.
    """
    try:
        return _pack(_told(value))
    except (RecursionError, UnicodeEncodeError) as error:
        raise ActionError(f"an action cannot be written down: {error}") from error


def as_array(value: Any) -> np.ndarray[Any, Any]:  # noqa: ANN401 - of numpy, torch, JAX, or Python's own
    """An action, or a part of one, as an array, without a copy if possible.

    Raises:
        ActionError: the value cannot become an array, or lies in a device's memory.
    """
    if readings.on_device(value):
        raise ActionError(
            "an action lies in a device's memory, and to read it there would make each step wait for the device: "
            "give the env `action.cpu().numpy()`"
        )
    try:
        array = np.asarray(value.detach().numpy() if hasattr(value, "detach") else value)
    except readings.UNREADABLE as error:
        raise ActionError(
            f"an action is no array ({error}): give the env a numpy array, of bfloat16 `.float()`"
        ) from error
    if array.dtype.kind not in "biuf":
        raise ActionError(f"an action is an array of {array.dtype}, not of numbers")
    return array.astype(array.dtype.newbyteorder("<"), copy=False)


def _told(value: Any) -> Any:  # noqa: ANN401 - as above
    kind = type(value)
    if kind in _PLAIN:
        return [INTEGER, str(value)] if kind is int and not _LEAST_INT <= value <= _MOST_INT else value
    if isinstance(value, GraphInstance):
        return [GRAPH, *map(_told, value)]
    if kind is dict:
        return [DICT, [[_told(key), _told(each)] for key, each in value.items()]]
    if kind in (list, tuple):
        return [LIST if kind is list else TUPLE, *map(_told, value)]
    if isinstance(value, np.str_):
        return str(value)
    array = as_array(value)
    return [SCALAR if isinstance(value, np.generic) else ARRAY, array.dtype.str, array.shape, array.tobytes()]
