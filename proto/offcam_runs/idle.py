"""Processes beside a training, which run only where nothing else wants to.

Where Linux groups processes by session (autogroup, sched(7)), it shares cores between sessions first: a priority
counts within its session only, and a process that leads a session of its own has the share of a whole training, however
low its priority. So the session's share is lowered, too. That, other than a priority, may be taken back by anyone.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

NICE: Final = 19

_SHARE: Final = 10
"""Of a session that gives way, as a nice value: a tenth of a core beside a busy loop, so that its videos do come."""

_TRIES: Final = 10
_PAUSE_SECONDS: Final = 0.11
"""Linux takes one such change in a tenth of a second from all who are not root."""


def give_way(pid: int = 0) -> None:
    """Have a process run only where nothing else wants to, for the rest of its life or until `hurry`.

    Whoever starts one calls this at once: to load its libraries takes it half a second of CPU. The process calls it
    again, and then waits until it is heard, a second at most.

    Args:
        pid: of the process; 0 for this one. One that has ended already, or is another user's, is left alone.
    """
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, pid, NICE)
        if hasattr(os, "SCHED_IDLE"):  # Linux
            os.sched_setscheduler(pid, os.SCHED_IDLE, os.sched_param(0))
    tries = _TRIES if pid == 0 else 1
    while not _share(pid, _SHARE) and (tries := tries - 1):
        time.sleep(_PAUSE_SECONDS)


def yield_share(pid: int) -> bool:
    """Lower the share of the session that a process leads, until `hurry`; its threads keep their priorities.

    Returns whether there is nothing to try again, as `hurry` does.
    """
    return _share(pid, _SHARE)


def lower_thread() -> None:
    """Have the calling thread run only where nothing else of its session, or of its container, wants to.

    It cannot be taken back without privileges. Does nothing where a priority is a whole process's.
    """
    if sys.platform == "linux":
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)


def hurry(pid: int) -> bool:
    """Give a process that gives way its share again, as somebody waits for it; `give_way` takes it back.

    Only its session's share can be given back, so this does nothing where Linux does not group processes by session.

    Returns whether there is nothing to try again: another process may have changed its share in the same moment.
    """
    return _share(pid, 0)


def _share(pid: int, nice: int) -> bool:
    """Set the share of the session that a process leads. Returns False where that may succeed a moment later."""
    try:
        if os.getsid(pid) == (pid or os.getpid()):  # else others are in that session, too
            Path(f"/proc/{pid or 'self'}/autogroup").write_text(str(nice))
    except BlockingIOError:
        return False
    except OSError:  # there are no such groups, or no such process
        pass
    return True
