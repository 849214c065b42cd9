"""The id of the training that this process is a part of: the same in the processes that it forks or spawns."""

from __future__ import annotations

import os
import re
import uuid

_VARIABLE = "OFFCAM_SESSION"


_made = ""  # the id that this process made, as it was given none


def training() -> bytes:
    """The 16-byte id in ``OFFCAM_SESSION``, which children inherit; it is made if there is none."""
    global _made  # noqa: PLW0603 - one training a process is what it is for
    found = os.environ.get(_VARIABLE, "")
    if not re.fullmatch("[0-9a-f]{32}", found):
        found = _made = os.environ[_VARIABLE] = uuid.uuid4().hex
    return bytes.fromhex(found)


def join(training_id: bytes) -> None:
    """Be a part of another training from now on, unless the environment of this process's start named one."""
    global _made  # noqa: PLW0603 - as above
    if os.environ.get(_VARIABLE, "") == _made:
        _made = os.environ[_VARIABLE] = training_id.hex()


training()  # made at import, so that children that alone have streams inherit it
