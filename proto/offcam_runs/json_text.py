"""JSON as everybody can read it: NaN and the infinities, which JSON does not have, become null."""

from __future__ import annotations

import json
import math
from typing import Any


def dumps(value: object, *, indent: int | None = None) -> str:
    """JSON text of plain values; a non-finite float is null."""
    return json.dumps(finite(value), allow_nan=False, ensure_ascii=False, indent=indent)


def finite(value: object) -> Any:  # noqa: ANN401 - what was given, of plain values
    """The same value without what JSON does not have: a non-finite float is None, a tuple a list."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    return value
