"""Counts of what was lost, kept beside the socket from one daemon to the next."""

from __future__ import annotations

import json
import os
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_BYTES = 128
"""Size of the file, whatever the counts are, so that one write replaces them."""


class LostFile:
    """Counts of lost ``frames`` and ``records``. For the one daemon that has the lock.

    Args:
        path: that of the file, which is made with the first loss.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._kept: Counter[str] = Counter()

    def read(self) -> Counter[str]:
        """What earlier daemons have lost; nothing if the file cannot be read."""
        with suppress(OSError, ValueError):
            found = json.loads(self._path.read_bytes())
            if isinstance(found, dict) and all(type(count) is int for count in found.values()):
                self._kept = Counter(found)
        return self._kept.copy()

    def keep(self, lost: Counter[str]) -> None:
        """Write the counts if they changed. If the disk is full, the next call tries again."""
        if lost == self._kept:
            return
        with suppress(OSError):
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            try:
                os.pwrite(descriptor, json.dumps(lost).encode().ljust(_BYTES), 0)
            finally:
                os.close(descriptor)
            self._kept = lost.copy()
