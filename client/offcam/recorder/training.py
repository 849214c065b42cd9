"""The id of the training that this process is a part of: the same in the processes that it forks or spawns."""

from __future__ import annotations

import os
import re
import uuid

_VARIABLE = "OFFCAM_SESSION"


def training() -> bytes:
    """The id that ``OFFCAM_SESSION`` has, which children inherit; made where there is none. 16 bytes."""
    found = os.environ.get(_VARIABLE, "")
    if not re.fullmatch("[0-9a-f]{32}", found):
        found = os.environ[_VARIABLE] = uuid.uuid4().hex
    return bytes.fromhex(found)


training()  # where only the children have streams, the parent has it before they begin
