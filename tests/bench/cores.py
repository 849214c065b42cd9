"""Whether the machine's cores are its own: those of a virtual machine are shared with others'.

A host gives its two CPUs two cores at one time, at another two threads of one core, or less than that. What runs beside
something else is then slower by half, whoever records. So we look before and after each run, wait for a better moment
before it, and repeat one that was disturbed.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time

CALM = 1.1
"""A core of its own is one on which work beside a busy one takes no more times as long as it ever did alone."""

BUSY = "import signal\nsignal.alarm(1800)\nprint(flush=True)\nwhile True: pass"
"""A program that says that it runs, and takes a core until it is ended, or nobody is left to do so."""

WAITS = 4
PAUSE_SECONDS = 0.5
ATTEMPTS = 2
"""A run is repeated until the machine was calm before and after it, at most so often."""


class Cores:
    """Looks at the machine's cores, and remembers how fast they can be."""

    def __init__(self) -> None:
        self._fastest = min(_work() for _ in range(5))

    def disturbance(self) -> float:
        """How many times as long work takes beside another busy core as it ever took alone: 1 at the best."""
        self._fastest = min(self._fastest, _work())
        with subprocess.Popen([sys.executable, "-S", "-c", BUSY], stdout=-1) as busy:
            assert busy.stdout is not None
            busy.stdout.readline()
            beside = _work()
            busy.kill()
        return beside / self._fastest

    def wait(self) -> float:
        """Wait until nothing disturbs, within reason. Returns the last `disturbance`."""
        found = self.disturbance()
        for _ in range(WAITS):
            if found <= CALM:
                break
            time.sleep(PAUSE_SECONDS)
            found = self.disturbance()
        return found


def usable() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0))


def _work() -> float:
    return statistics.median(_once() for _ in range(9))


def _once() -> float:
    begin = time.perf_counter()
    sum(place * place for place in range(100_000))
    return time.perf_counter() - begin
