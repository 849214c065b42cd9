"""Whether the kernel has ended processes for want of memory: a daemon that it ended cannot say so itself."""

from __future__ import annotations

import contextlib
from pathlib import Path

_COUNTS = ("sys/fs/cgroup/memory.events", "proc/vmstat")
"""Of this container with all that is in it, where it has its own count; else of the host."""


def kills(root: Path = Path("/")) -> int:
    """Processes that it has ended so by now; 0 where it does not say."""
    for name in _COUNTS:
        with contextlib.suppress(OSError, ValueError):
            counts = dict(line.split() for line in (root / name).read_text("ascii").splitlines())
            if "oom_kill" in counts:
                return int(counts["oom_kill"])
    return 0
