"""JSON as the API sends it."""

from __future__ import annotations

import msgspec

from offcam_runs.json_text import dumps


def encoded(value: object) -> bytes:
    """The text of `dumps` in UTF-8 and without spaces, in a tenth of the time; half of a surrogate pair is a mark."""
    try:
        return msgspec.json.encode(value)
    except (TypeError, UnicodeEncodeError):  # NumPy's floats, and text that UTF-8 does not have
        return dumps(value).encode("utf-8", "replace")
