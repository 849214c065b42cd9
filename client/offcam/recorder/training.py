"""The id of the training that this process is a part of: the same in the processes that it forks or spawns."""

from __future__ import annotations

import os
import re
import uuid

_VARIABLE = "OFFCAM_SESSION"


def training() -> bytes:
    """The 16-byte id in ``OFFCAM_SESSION``, which children inherit; it is made if there is none."""
    found = os.environ.get(_VARIABLE, "")
    if not re.fullmatch("[0-9a-f]{32}", found):
        found = os.environ[_VARIABLE] = uuid.uuid4().hex
    return bytes.fromhex(found)


training()  # made at import, so that children that alone have streams inherit it
