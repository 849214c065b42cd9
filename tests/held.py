"""Whether a run folder is held for a process that encodes: see `offcam_runs.folder_lock.held_for_helper`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from offcam_runs.file_lock import try_flock

if TYPE_CHECKING:
    from pathlib import Path


def is_held(folder: Path) -> bool:
    """Whether a process that encodes has something to write into a folder."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        return not try_flock(descriptor, exclusive=True)
    finally:
        os.close(descriptor)
