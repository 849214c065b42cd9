"""How many bytes of frames all clips together hold in memory and on disk."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

RETRY_SECONDS = 1.0
"""How long the spool is left alone after the disk refused a write."""


class Budget:
    """Counts the bytes that all clips hold in memory and on disk. Thread-safe.

    Memory is bounded by the credit that clients are granted, so it is counted here and never refused; the limit
    says how much of it may wait for the encoder before frames go to disk: half, shared equally by the open clips.

    Args:
        memory_limit: the bytes that clients may have in this process's memory, all together.
        spool_limit: the bytes that may be on disk; 0 for no spool.
        clip_memory: the most bytes of one clip that may wait in memory before its frames go to disk. It has to be
            smaller than the credit of one client, or that runs out first.

    Attributes:
        memory_bytes, spool_bytes: of frames in memory, and of disk in use.
        spool_open: whether the spool's disk may take more.
    """

    def __init__(self, memory_limit: int, spool_limit: int, clip_memory: int | None = None) -> None:
        self.memory_limit = memory_limit
        self.spool_limit = spool_limit
        self.clip_memory = memory_limit if clip_memory is None else clip_memory
        self._lock = threading.Lock()
        self.spool_open: Callable[[], bool] = lambda: True
        self.memory_bytes = self.spool_bytes = self._clips = 0
        self._resume_at = 0.0

    @property
    def share(self) -> int:
        """Bytes that each clip's head may hold."""
        return min(self.clip_memory, self.memory_limit // 2 // (self._clips or 1))

    def lent_share(self, nbytes: int) -> int:
        """The same of frames of a size that lie in a client's memory, from which they need not be read back.

        They go to disk only where the client's credit, twice the share, may run out otherwise: as many as six are being
        encoded, on their way, or rendered while the disk is slow.
        """
        share = self.share
        return max(share, min(share * 3 // 2, 2 * share - 6 * nbytes))

    def count_clip(self, change: int) -> None:
        """One clip more (1) or fewer (-1) shares the memory."""
        with self._lock:
            self._clips += change

    def count_memory(self, change: int) -> None:
        """Some bytes more or fewer are in memory."""
        with self._lock:
            self.memory_bytes += change

    def reserve_spool(self, nbytes: int) -> bool:
        """Claim room on disk; False if there is none or the disk failed a moment ago."""
        if not self.spool_open():
            return False
        with self._lock:
            if self.spool_bytes + nbytes > self.spool_limit or time.monotonic() < self._resume_at:
                return False
            self.spool_bytes += nbytes
            return True

    def free_spool(self, nbytes: int) -> None:
        """Give room on disk back."""
        with self._lock:
            self.spool_bytes -= nbytes

    def pause_spool(self) -> None:
        """Leave the disk alone for `RETRY_SECONDS`."""
        with self._lock:
            self._resume_at = time.monotonic() + RETRY_SECONDS
