"""Numbers of bytes as people write them."""

from __future__ import annotations

import re
from typing import Final

from offcam_proto.limits import KIB, MAX_INT

_SIZE: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b?", re.IGNORECASE)


def parse_size(text: str) -> int:
    """A number of bytes, written with or without a unit, as ``512MiB``, ``20GB`` or ``4096``.

    Raises:
        ValueError: it is none; the message is what it must be.
    """
    match = _SIZE.fullmatch(text.strip())
    if not match or (match[3] and not match[2]):
        raise ValueError("a size such as 512MiB, 4GiB or a number of bytes")
    power = " kmgt".index(match[2].lower() or " ")
    found = int(float(match[1]) * (KIB if match[3] else 1000) ** power)
    if found > MAX_INT:
        raise ValueError("a size below 8 EiB")
    return found
