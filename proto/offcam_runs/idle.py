"""Processes beside a training, which run only where nothing else wants to."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Final

NICE: Final = 19


def give_way(pid: int = 0) -> None:
    """Have a process run only where nothing else wants to, for the rest of its life.

    Whoever starts one calls this at once: to load its libraries takes it half a second of CPU.

    Args:
        pid: of the process; 0 for this one. One that has ended already, or is another user's, is left alone.
    """
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, pid, NICE)
        if hasattr(os, "SCHED_IDLE"):  # Linux
            os.sched_setscheduler(pid, os.SCHED_IDLE, os.sched_param(0))
