"""Whether the kernel has killed processes for want of memory: a killed daemon cannot say so itself."""

from __future__ import annotations

import contextlib
from pathlib import Path

_COUNTS = ("sys/fs/cgroup/memory.events", "proc/vmstat")
"""Where the kernel counts that: for this container, if it has a count of its own, else for the host."""


def kills(root: Path = Path("/")) -> int:
    """How many processes the kernel has killed for want of memory so far; 0 where it does not say."""
    for name in _COUNTS:
        with contextlib.suppress(OSError, ValueError):
            counts = dict(line.split() for line in (root / name).read_text("ascii").splitlines())
            if "oom_kill" in counts:
                return int(counts["oom_kill"])
    return 0
