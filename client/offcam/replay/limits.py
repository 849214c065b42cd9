"""Limits of a process that runs beside a training, and must not slow it down."""

from __future__ import annotations

import os
import resource
import signal
from typing import Any, Final

from offcam_proto.errors import NotReplayable
from offcam_runs.idle import give_way

CPU_SECONDS: Final = 1800
"""Most CPU time that one video may take."""


def half_of_the_memory() -> int:
    """Half of this machine's memory, in bytes."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


def settle(*, memory: int) -> None:
    """Bound this process for the rest of its life, and have it run only where nothing else wants to.

    Args:
        memory: most bytes of its data; beyond that Python raises MemoryError.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    most = memory if hard == resource.RLIM_INFINITY else min(memory, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    signal.signal(signal.SIGXCPU, _too_long)
    give_way()


def allow(cpu_seconds: float = CPU_SECONDS) -> None:
    """Allow this process so many seconds of CPU from now on; then NotReplayable is raised on its main thread."""
    used = sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    most = int(used + cpu_seconds) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


def _too_long(*_: Any) -> None:  # noqa: ANN401 - a signal's handler
    raise NotReplayable(f"it took too long: one video may take {CPU_SECONDS} s of CPU time")
