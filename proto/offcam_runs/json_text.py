"""JSON as everybody can read it: NaN and the infinities, which JSON does not have, become null."""

from __future__ import annotations

import json
import math


def dumps(value: object, *, indent: int | None = None) -> str:
    """JSON text of plain values; a non-finite float is null."""
    return json.dumps(_finite(value), allow_nan=False, ensure_ascii=False, indent=indent)


def _finite(value: object) -> object:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value
