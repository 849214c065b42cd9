"""How many bytes of frames all clips together hold in memory and on disk."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

RETRY_SECONDS = 1.0
"""How long no frame goes to the spool after its disk refused a write."""


@dataclass(frozen=True)
class EncoderBacklog:
    """Frames that wait to be encoded: their bytes in memory and on disk, and how long the oldest has waited."""

    memory_bytes: int
    spool_bytes: int
    lag_seconds: float


class StreamMemory:
    """Counts one stream's frames in memory that are at hand for encoders, whichever clips they are of. Thread-safe.

    They wait there or are being encoded. Other frames are on their way to disk.

    Attributes:
        nbytes: their bytes.
        waiting: how many of them wait.
        clips: how many clips have their frames counted here; belongs to `Budget`.
    """

    def __init__(self) -> None:
        self.nbytes = self.waiting = self.clips = 0
        self._lock = threading.Lock()

    def count(self, nbytes: int, waiting: int) -> None:
        """Change what is counted, by positive or negative numbers."""
        with self._lock:
            self.nbytes += nbytes
            self.waiting += waiting

    def fits(self, nbytes: int, share: int) -> bool:
        """Whether a frame may wait in memory, too: within a share, or as the stream's only one, however large it is."""
        return not self.waiting or self.nbytes + nbytes <= share


class Budget:
    """Counts the bytes that all clips hold in memory and on disk. Thread-safe.

    Memory is bounded by the credit that clients are granted, so here it is counted and never refused. Frames may wait
    for the encoder in half of it, which the streams share equally; further ones go to disk.

    Args:
        memory_limit: bytes of frames that all clients together may have in this process's memory.
        spool_limit: bytes of frames that may be on disk; 0 for no spool.
        stream_memory: most bytes of one stream that may wait in memory. It has to be smaller than the stream's credit,
            or that runs out before a frame goes to disk.

    Attributes:
        memory_bytes, spool_bytes: of frames in memory, and of disk in use.
        sparing: whether encoding gives way. Then most frames go to disk in any case, and what is at hand leaves them
            less of the credit on their way there; half as much is enough for encoders that keep up.
        spool_open: asks whether the spool's disk has room for more.
    """

    def __init__(self, memory_limit: int, spool_limit: int, stream_memory: int | None = None) -> None:
        self.memory_limit = memory_limit
        self.spool_limit = spool_limit
        self.stream_memory = memory_limit if stream_memory is None else stream_memory
        self._lock = threading.Lock()
        self.spool_open: Callable[[], bool] = lambda: True
        self.memory_bytes = self.spool_bytes = self._streams = 0
        self._resume_at = 0.0
        self.sparing = False

    @property
    def share(self) -> int:
        """Bytes of each stream that may be at hand for encoders."""
        return min(self.stream_memory, self.memory_limit // 2 // (self._streams or 1)) // (1 + self.sparing)

    def lent_share(self, nbytes: int) -> int:
        """As `share`, for frames of ``nbytes`` bytes in a client's shared memory: more, as that saves writing to disk.

        The client's credit is twice the share. It must not run out while the disk is slow, so room is left for six
        frames that are being encoded, on their way, or rendered.
        """
        share = self.share
        return share if self.sparing else max(share, min(share * 3 // 2, 2 * share - 6 * nbytes))

    def begin_clip(self, stream: StreamMemory) -> None:
        """Let a clip of a stream have a part of the memory."""
        with self._lock:
            stream.clips += 1
            self._streams += stream.clips == 1

    def end_clip(self, stream: StreamMemory) -> None:
        """Count a clip as gone."""
        with self._lock:
            stream.clips -= 1
            self._streams -= stream.clips == 0

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
