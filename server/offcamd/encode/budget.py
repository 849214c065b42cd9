"""How many bytes of frames all clips together hold in memory and on disk."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from offcam_proto.limits import MIB

if TYPE_CHECKING:
    from collections.abc import Callable

RETRY_SECONDS = 1.0
"""How long no frame goes to the spool after its disk refused a write."""

SPARED_BYTES = 4 * MIB
"""Most bytes of a clip that wait in memory while encoding gives way: a turn's, and the next one's."""


class Budget:
    """Counts the bytes that all clips hold in memory and on disk. Thread-safe.

    Memory is bounded by the credit that clients are granted, so here it is counted and never refused. Frames may wait
    for the encoder in half of it, which the open clips share equally; further ones go to disk.

    Args:
        memory_limit: bytes of frames that all clients together may have in this process's memory.
        spool_limit: bytes of frames that may be on disk; 0 for no spool.
        clip_memory: most bytes of one clip that may wait in memory. It has to be smaller than one stream's credit, or
            that runs out before a frame goes to disk.

    Attributes:
        memory_bytes, spool_bytes: of frames in memory, and of disk in use.
        sparing: whether encoding gives way, so that frames wait long: then little of each clip waits in memory, or
            some clips would use up the credit of their stream.
        spool_open: asks whether the spool's disk has room for more.
    """

    def __init__(self, memory_limit: int, spool_limit: int, clip_memory: int | None = None) -> None:
        self.memory_limit = memory_limit
        self.spool_limit = spool_limit
        self.clip_memory = memory_limit if clip_memory is None else clip_memory
        self._lock = threading.Lock()
        self.spool_open: Callable[[], bool] = lambda: True
        self.memory_bytes = self.spool_bytes = self._clips = 0
        self._resume_at = 0.0
        self.sparing = False

    @property
    def share(self) -> int:
        """Bytes that may wait in memory for each clip's encoder."""
        most = min(self.clip_memory, SPARED_BYTES) if self.sparing else self.clip_memory
        return min(most, self.memory_limit // 2 // (self._clips or 1))

    def lent_share(self, nbytes: int) -> int:
        """As `share`, for frames of ``nbytes`` bytes in a client's shared memory: more, as that saves writing to disk.

        The client's credit is twice the share. It must not run out while the disk is slow, so room is left for six
        frames that are being encoded, on their way, or rendered.
        """
        share = self.share
        return max(share, min(share * 3 // 2, 2 * share - 6 * nbytes))

    def count_clip(self, change: int) -> None:
        """Count a clip that begins (1) or ends (-1) to share the memory."""
        with self._lock:
            self._clips += change

    def count_memory(self, change: int) -> None:
        """Count bytes of frames that came into memory, or (negative) left it."""
        with self._lock:
            self.memory_bytes += change

    def reserve_spool(self, nbytes: int) -> bool:
        """Claim room on disk. Returns False if there is none or the disk failed a moment ago."""
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
