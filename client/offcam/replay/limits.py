"""What a process that replays may use: it is to be felt by nothing else on the machine."""

from __future__ import annotations

import os
import resource

NICE = 19


def settle(*, memory: int, cpu_seconds: int) -> None:
    """Bound this process for the rest of its life, and have it run only where nothing else wants to.

    Args:
        memory: most bytes of its data. What is beyond is a MemoryError.
        cpu_seconds: of all its threads together; then the system ends it.
    """
    _lower(resource.RLIMIT_DATA, memory)
    _lower(resource.RLIMIT_CPU, cpu_seconds)
    os.nice(NICE)
    if hasattr(os, "SCHED_IDLE"):  # Linux
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def _lower(which: int, value: int) -> None:
    """A process may lower what it may use, and never raise it again."""
    _, hard = resource.getrlimit(which)
    most = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(which, (most, most))
