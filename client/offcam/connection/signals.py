"""Leaving in good order at a signal. Only on request, as a process's signal handlers are its user's."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import TYPE_CHECKING

from offcam.connection import process
from offcam_proto.errors import ConfigError

if TYPE_CHECKING:
    from types import FrameType

    Handler = Callable[[int, FrameType | None], object]

_SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU)


def flush_on_signal(signum: int = signal.SIGTERM, *, seconds: float = 10.0) -> None:
    """Have a signal that ends this process wait until what was recorded is safe, and only then do what it does.

    Slurm and Kubernetes send SIGTERM some time before they kill (30 s by default; Slurm can be asked for another
    signal, and for more time). If the program has no handler for the signal, it ends the process: here the videos being
    recorded end first, their files become final, and every finished episode is in the index. If the program has a
    handler, everything that ended becomes final, then the handler is called, and recording goes on if it returns. The
    same signal again does not wait.

    Call it once, on the main thread, after the program's own handlers are installed.

    Args:
        signum: SIGTERM, or a signal that some senders use instead: SIGHUP, SIGUSR1, SIGUSR2, SIGXCPU.
        seconds: longest time to wait, for all connections of the process together.

    Raises:
        ConfigError: the signal is another one, or is handled outside of Python; this is not the main thread; or
            ``seconds`` is not a positive number.
    """
    if signum not in _SIGNALS:
        raise ConfigError(f"signum must be one of {', '.join(each.name for each in _SIGNALS)}, got {signum!r}.")
    if not seconds > 0:
        raise ConfigError(f"seconds must be positive, got {seconds!r}.")
    before = signal.getsignal(signum)
    if before is None:
        raise ConfigError(
            f"{signal.Signals(signum).name} is handled outside of Python, by a library, whose handler would be lost. "
            "Call flush_on_signal before that library is loaded, or choose another signal."
        )
    try:
        signal.signal(signum, _Leaving(before, seconds))
    except ValueError as error:
        raise ConfigError("flush_on_signal must be called on the main thread.") from error


class _Leaving:
    """The signal's handler: makes what was recorded safe, then does what was set for the signal before."""

    def __init__(self, before: Handler | int | signal.Handlers, seconds: float) -> None:
        self._before = before
        self._seconds = seconds
        self._busy = False

    def __call__(self, signum: int, frame: FrameType | None) -> None:
        if self._busy:  # the signal came again
            self._pass_on(signum, frame)
        else:
            process.undisturbed(lambda: self._finish(signum, frame))

    def _finish(self, signum: int, frame: FrameType | None) -> None:
        self._busy = True
        try:
            if self._before == signal.SIG_DFL:
                process.shutdown_all(self._seconds)
            else:
                process.flush_all(self._seconds)
        finally:
            self._busy = False
            self._pass_on(signum, frame)

    def _pass_on(self, signum: int, frame: FrameType | None) -> None:
        if callable(self._before):
            self._before(signum, frame)
        elif self._before == signal.SIG_DFL:
            signal.signal(signum, signal.SIG_DFL)
            os.kill(os.getpid(), signum)
