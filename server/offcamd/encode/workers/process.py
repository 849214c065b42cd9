"""The daemon's end of an encoder process: starts it, asks it, sets its pace, and says how it ended."""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, NamedTuple

from offcam_runs.idle import hurry, yield_share
from offcamd.encode.workers.wire import Pace, Wire, WorkerAnswer
from offcamd.process.health import ENCODER, Health

if TYPE_CHECKING:
    from collections.abc import Sequence

    from offcam_proto.messages import Buffer
    from offcamd.encode.workers.wire import Encode, Fail, Finish, SelfTest, Setup

COMMAND = ("-m", "offcamd.encode.workers")
"""What Python is told to run in an encoder process."""

_END_SECONDS = 5.0


class WorkerLost(Exception):
    """An encoder process ended before it answered. Its text says how.

    Attributes:
        killed: whether somebody ended it, as a system does that is short of memory; else it crashed.
    """

    def __init__(self, how: str, *, killed: bool) -> None:
        super().__init__(how)
        self.killed = killed


class _Running(NamedTuple):
    process: subprocess.Popen[bytes]
    wire: Wire


class Worker:
    """An encoder process, started when it is first asked for something, and again after it ended.

    From any thread.

    Args:
        setup: how it encodes.
        health: is told of unexpected errors in it.

    Attributes:
        life: which of the processes that follow each other is running; one more with each start.
    """

    def __init__(self, setup: Setup, health: Health) -> None:
        self.life = 0
        self._setup = setup
        self._health = health
        self._turn = threading.RLock()  # held until a request is answered
        self._lock = threading.Lock()  # held while something is sent
        self._urgent = False
        self._told: bool | None = None  # the pace that the process was told last
        self._share_for: bool | None = None
        self._loaded = 0  # the life that has answered
        self._running: _Running | None = None

    @property
    def pid(self) -> int | None:
        """Its process id; None if it is not running."""
        running = self._running
        return running.process.pid if running else None

    def start(self) -> None:
        """Start the process, if it is not running. Raises OSError if the system refuses."""
        with self._turn:
            if self._running is None:
                self._start()

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs, ExitStack() as undo:
            undo.callback(ours.close)
            process = subprocess.Popen(
                [sys.executable, *COMMAND, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                cwd="/",  # so that it keeps no file system busy, and imports nothing from a training's folder
                env={**os.environ, "PYTHONSAFEPATH": "1"},
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # so that its share of the cores can be lowered, and raised again
            )
            undo.pop_all()
        wire = Wire(ours)
        with self._lock:
            self._running = _Running(process, wire)
            self.life += 1
            self._told = self._share_for = None
            with suppress(OSError):  # it has ended already, as the first request will find
                wire.send(self._setup)
        self._say_pace()

    def ask(
        self,
        request: Encode | Finish | Fail | SelfTest,
        descriptors: Sequence[int] = (),
        pixels: Sequence[Buffer] = (),
    ) -> WorkerAnswer:
        """Have something done, and wait for it.

        Args:
            request: what is to be done.
            descriptors: of the files that come with it.
            pixels: those that lie in no file.

        Raises:
            WorkerLost: the process ended before it answered. It is started again with the next request.
            OSError: it cannot be started.
        """
        with self._turn:
            self.start()
            running = self._running
            assert running is not None  # noqa: S101 - just started, and let go of by this thread alone
            try:
                with self._lock:
                    running.wire.send(request, descriptors, pixels)
                self._say_pace()
                answer, _, _ = running.wire.receive()
            except (OSError, EOFError):
                raise self._ended(running) from None
        assert isinstance(answer, WorkerAnswer)  # noqa: S101 - it says nothing else
        self._loaded = self.life
        self._share()
        self._tell(answer)
        return answer

    def pace(self, *, urgent: bool) -> None:
        """Have it give way to other programs, or not, as somebody waits. Returns at once, even if it hangs."""
        if urgent != self._urgent:
            self._urgent = urgent
            self._say_pace()
            self._share()

    def _say_pace(self) -> None:
        """Tell the process, unless something is being sent: who does that calls this when it is through."""
        while self._told is not self._urgent and self._lock.acquire(blocking=False):
            try:
                self._told = self._urgent
                if self._running is not None:
                    with suppress(OSError):
                        self._running.wire.send(Pace(self._told))
            finally:
                self._lock.release()

    def _share(self) -> None:
        """Raise or lower the share of the cores, which the system may refuse for a tenth of a second.

        It is not lowered before the first answer: to load its libraries takes the process 0.3 s of CPU.
        """
        running, urgent = self._running, self._urgent
        loaded = urgent or self._loaded == self.life
        if running is not None and loaded and self._share_for is not urgent:
            change = hurry if urgent else yield_share
            if change(running.process.pid):
                self._share_for = urgent

    def kill(self) -> None:
        """End the process, whatever it is doing."""
        running = self._running
        if running is not None:
            running.process.kill()

    def rest(self) -> None:
        """End the process, which has nothing to do; the next request starts another."""
        with self._turn, self._lock:
            running, self._running = self._running, None
        if running is not None:
            running.wire.close()
            _reap(running.process)

    def _ended(self, running: _Running) -> WorkerLost:
        """How the process ended."""
        with self._lock:
            self._running = None
        running.wire.close()
        code = _reap(running.process)
        if code >= 0:
            return WorkerLost(f"it ended with exit code {code}", killed=False)
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = f"signal {-code}"
        return WorkerLost(f"it was ended by {name}", killed=-code in (signal.SIGKILL, signal.SIGTERM))

    def _tell(self, answer: WorkerAnswer) -> None:
        for told in answer.told:
            if told.error is None:
                logging.getLogger(told.logger).log(told.level, "%s", told.text)
            else:
                self._health.unexpected_elsewhere(ENCODER, *told.error, told.text)


def _reap(process: subprocess.Popen[bytes]) -> int:
    """Wait until a process that nobody asks any more has ended; returns its exit code."""
    try:
        return process.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()
