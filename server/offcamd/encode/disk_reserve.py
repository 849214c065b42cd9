"""Room that videos leave on a disk, so that the index beside them can go on when the disk is nearly full."""

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
"""The reserve is at most this part of a disk (one twentieth), or a small one would take no video at all."""

LOOK_SECONDS = 0.05
"""How long the answer of a disk to "how much is free?" is used again, as a network file system answers slowly."""

AMPLE_BYTES = 256 * MIB
"""Only where the disk had so much more than is asked for is its answer used again."""


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
        """Bytes that a folder's disk is short of, 0 if it has room.

        So many bytes are wanted, and so many reserves have to stay free beside them.
        """
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
        """Raise EncodeError (``disk_full``) where a disk is short of room for so many more bytes of a video."""
        if short := self.missing(folder, nbytes):
            raise EncodeError(
                f"no space left for {video}: the disk is {short:,} bytes short of what is kept free for the index. "
                "Free some, record elsewhere, or lower disk_reserve",
                "disk_full",
            )


def _look(folder: Path) -> tuple[int, int]:
    """Bytes free for us and bytes altogether; as good as endless where the disk does not say."""
    try:
        status = os.statvfs(folder)
    except OSError:
        return 2**63, 0  # the writer will meet the same, and say what it is
    return status.f_bavail * status.f_frsize, status.f_blocks * status.f_frsize
