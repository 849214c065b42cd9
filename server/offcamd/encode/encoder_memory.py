"""Memory of the encoders themselves: each open video has one, however few frames come for it."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

from offcam_proto.errors import EncodeError

if TYPE_CHECKING:
    from pathlib import Path


def half_of_memory() -> int:
    """Half of this host's memory in bytes: what encoders may take."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


class EncoderMemory:
    """Counts the memory of the encoders that are open, and refuses more than they are meant to take. Thread-safe.

    Args:
        limit: bytes for all encoders that are open at a time.

    Attributes:
        nbytes: what those that are open are counted as, by `offcamd.video.h264.encoder_bytes`.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.nbytes = 0
        self._lock = threading.Lock()

    def take(self, path: Path, nbytes: int) -> None:
        """Count an encoder that is about to be opened for a video, or raise EncodeError (``encoder``)."""
        with self._lock:
            if self.nbytes + nbytes > self.limit:
                raise EncodeError(
                    f"too many videos are open for {path} to be one more: their encoders take {self.nbytes:,} of "
                    f"{self.limit:,} bytes of memory. Record fewer environments at a time, or smaller frames",
                )
            self.nbytes += nbytes

    def give_back(self, nbytes: int) -> None:
        """An encoder is closed."""
        with self._lock:
            self.nbytes -= nbytes
