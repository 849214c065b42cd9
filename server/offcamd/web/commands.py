"""Running a verb of offcam's in a process of its own, which is ended where it takes too long, say."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_LEAVE_SECONDS = 5.0
_LOOK_SECONDS = 0.1


class Outcome(NamedTuple):
    """What became of a command.

    Attributes:
        ended: whether it came to its end, well or not.
        said: what it wrote to stdout then; else why it was ended.
    """

    ended: bool
    said: str


def run_offcam(arguments: Sequence[str], over: Callable[[float], str | None], address: str | None = None) -> Outcome:
    """Run ``offcam`` with some arguments, and wait for its end.

    Args:
        arguments: the verb, and what it takes.
        over: why it is to be ended, after so many seconds; None while it may go on.
        address: of the daemon by which it records; None for the one that it finds.
    """
    environment = dict(os.environ) if address is None else {**os.environ, "OFFCAM_ADDR": address}
    process = subprocess.Popen(
        [sys.executable, "-m", "offcamd", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
        start_new_session=True,
    )
    with process:
        began = time.monotonic()
        while (said := _said(process, _LOOK_SECONDS)) is None:
            if (why := over(time.monotonic() - began)) is not None:
                process.terminate()  # it ends what it has started, too
                if _said(process, _LEAVE_SECONDS) is None:
                    process.kill()
                return Outcome(ended=False, said=why)
    return Outcome(ended=True, said=said)


def _said(process: subprocess.Popen[bytes], seconds: float) -> str | None:
    """What a process has said once it has ended; None where it has not after so many seconds."""
    try:
        return process.communicate(timeout=seconds)[0].decode(errors="replace")
    except subprocess.TimeoutExpired:
        return None
