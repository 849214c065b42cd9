"""Room that videos leave on a disk, so that the index beside them can still be written when it is nearly full."""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING

from offcam_proto.errors import EncodeError
from offcam_proto.limits import MIB

if TYPE_CHECKING:
    from pathlib import Path

LARGEST_SHARE = 20
"""The reserve is at most one twentieth of a disk, or a small disk would take no video at all."""

LOOK_SECONDS = 0.05
"""How long a disk's free space is cached, as a network file system is slow to tell it."""

AMPLE_BYTES = 256 * MIB
"""The cache is used only while the disk has so much more than is asked for."""


class DiskReserve:
    """Says whether a disk has more room than is kept for the index. Thread-safe.

    Args:
        nbytes: the room to keep free, 0 for none; less on a small disk (`LARGEST_SHARE`).
    """

    def __init__(self, nbytes: int) -> None:
        self._nbytes = nbytes
        self._lock = threading.Lock()
        self._looks: dict[str, tuple[float, int, int]] = {}

    def missing(self, folder: Path, wanted: int = 0, reserves: int = 1) -> int:
        """Bytes that a folder's disk lacks for ``wanted`` bytes beside ``reserves`` times the reserve; 0 for none."""
        if not self._nbytes:
            return 0
        now = time.monotonic()
        with self._lock:
            seen, free, total = self._looks.get(str(folder), (0.0, 0, 0))
            if now - seen >= LOOK_SECONDS or free < wanted + reserves * self._nbytes + AMPLE_BYTES:
                free, total = _look(folder)
                self._looks = {name: look for name, look in self._looks.items() if now - look[0] < LOOK_SECONDS}
                self._looks[str(folder)] = (now, free, total)
        return max(0, wanted + reserves * min(self._nbytes, total // LARGEST_SHARE) - free)

    def require(self, folder: Path, nbytes: int, video: Path) -> None:
        """Raise EncodeError (``disk_full``) if a disk lacks room for ``nbytes`` more of a video."""
        if short := self.missing(folder, nbytes):
            raise EncodeError(
                f"no space left for {video}: the disk is {short:,} bytes short of what is kept free for the index. "
                "Free some, record elsewhere, or lower disk_reserve",
                "disk_full",
            )


def _look(folder: Path) -> tuple[int, int]:
    """Free and total bytes of a folder's disk; as good as endless if the disk does not say."""
    try:
        status = os.statvfs(folder)
    except OSError:
        return 2**63, 0  # writing will fail for the same reason, and tell it
    return status.f_bavail * status.f_frsize, status.f_blocks * status.f_frsize
