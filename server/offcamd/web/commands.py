"""Running a verb of offcam's in a process of its own, which is ended where it takes too long, say."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from io import RawIOBase

_LEAVE_SECONDS = 5.0
_LOOK_SECONDS = 0.1


class CommandEnd(NamedTuple):
    """What became of a command.

    Attributes:
        ended: whether it came to its end, well or not.
        said: what it wrote to stdout then; else why it was ended.
    """

    ended: bool
    said: str


def run_offcam(
    arguments: Sequence[str],
    over: Callable[[float], str | None],
    address: str | None = None,
    progress: Callable[[int], object] | None = None,
) -> CommandEnd:
    """Run ``offcam`` with some arguments, and wait for its end.

    Args:
        arguments: the verb, and what it takes.
        over: why it is to be ended, after so many seconds; None while it may go on.
        address: of the daemon by which it records; None for the one that it finds.
        progress: is called with the percent that a verb that has ``--progress`` has come to.
    """
    environment = dict(os.environ) if address is None else {**os.environ, "OFFCAM_ADDR": address}
    with ExitStack() as stack:
        lines, told = _pipe(stack) if progress is not None else (None, None)
        process = subprocess.Popen(
            [sys.executable, "-m", "offcamd", *arguments, *([] if told is None else ["--progress", str(told)])],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            pass_fds=[] if told is None else [told],
            start_new_session=True,
        )
        stack.enter_context(process)
        began = time.monotonic()
        while (said := _said(process, _LOOK_SECONDS)) is None:
            if progress is not None and lines is not None and (percents := (lines.read(4096) or b"").split()):
                progress(int(percents[-1]))
            if (why := over(time.monotonic() - began)) is not None:
                process.terminate()  # it ends what it has started, too
                if _said(process, _LEAVE_SECONDS) is None:
                    process.kill()
                return CommandEnd(ended=False, said=why)
    return CommandEnd(ended=True, said=said)


def _pipe(stack: ExitStack) -> tuple[RawIOBase, int]:
    """A pipe: the end that is read without waiting, and the descriptor of the other; the stack closes both."""
    reader, writer = os.pipe()
    stack.callback(os.close, writer)
    os.set_blocking(reader, False)
    return stack.enter_context(os.fdopen(reader, "rb", buffering=0)), writer


def _said(process: subprocess.Popen[bytes], seconds: float) -> str | None:
    """What a process has said once it has ended; None where it has not after so many seconds."""
    try:
        return process.communicate(timeout=seconds)[0].decode(errors="replace")
    except subprocess.TimeoutExpired:
        return None
