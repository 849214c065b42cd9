"""Copies of videos that are in object storage alone, for a sink that sends them elsewhere."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from offcam_runs.objects.copies import copy_video

if TYPE_CHECKING:
    from offcam.sync.core import ClipSent


class Copies:
    """A folder of videos that were evicted from a run, made once there is one. Thread: the one that sends the run.

    Attributes:
        nbytes: of all that are there.

    Args:
        folder: of the run.
    """

    def __init__(self, folder: str) -> None:
        self.nbytes = 0
        self._folder = folder
        self._copies: tempfile.TemporaryDirectory[str] | None = None

    def of(self, clip: ClipSent) -> ClipSent | None:
        """A clip whose file is not here any more, with a copy of it; None where it is nowhere.

        Raises:
            ConfigError: the storage refuses it.
            RunFolderError: it cannot be reached.
            OSError: the copy cannot be written.
        """
        if self._copies is None:
            self._copies = tempfile.TemporaryDirectory(prefix="offcam-")
        copy = copy_video(self._folder, clip.stream, clip.clip, Path(self._copies.name))
        if copy is None:
            return None
        self.nbytes += copy.stat().st_size
        return clip._replace(path=os.fspath(copy), recorded=clip.path)

    def close(self) -> None:
        """Remove them all."""
        self.nbytes = 0
        copies, self._copies = self._copies, None
        if copies is not None:
            copies.cleanup()
