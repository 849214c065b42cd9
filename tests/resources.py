"""What a process has of the system: descriptors, and memory that it shares."""

from __future__ import annotations

from pathlib import Path


def descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def memories(pid: int | str = "self") -> int:
    """Mappings of arenas that a process has."""
    return Path(f"/proc/{pid}/maps").read_text().count("memfd:offcam")
