"""What the store knows of one run folder."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from offcam_runs.totals import RunTotals

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from offcam_runs.folder_lock import FolderLock
    from offcamd.store import tasks
    from offcamd.store.index import RunIndex
    from offcamd.store.journals import TakenIn
    from offcamd.store.left_frames import StreamArena
    from offcamd.store.rescue import RecoveredClip


@dataclass(slots=True)
class RunState:
    """A run that the store writes, or has written; its index is open while there is something to do for it."""

    lock: FolderLock | None = None
    index: RunIndex | None = None
    totals: RunTotals = field(default_factory=RunTotals)
    uncounted: bool = False
    journals: list[Path] = field(default_factory=list)
    taking_in: Generator[TakenIn, None, None] | None = None
    arenas: list[StreamArena] = field(default_factory=list)
    left: Generator[list[RecoveredClip], None, None] | None = None
    live: set[bytes] = field(default_factory=set)
    stuck: list[tasks.Task] = field(default_factory=list)
    stuck_bytes: int = 0
    retry_at: float = 0.0
    problem: str | None = None

    @property
    def busy(self) -> bool:
        """Whether the run has work that no task asks for."""
        if self.uncounted or self.journals or self.taking_in is not None or self.left is not None:
            return True
        return any(arena.stream not in self.live for arena in self.arenas)
