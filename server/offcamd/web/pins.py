"""Clips pinned by somebody who looks at them, where the run's folder may be written."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

from offcam_proto.errors import RunFolderError
from offcam_runs.pins import write_pin
from offcamd.web.queries import clip_detail

if TYPE_CHECKING:
    from pathlib import Path

    from offcamd.web.episode_cache import EpisodeCache
    from offcamd.web.reading import AskedRun
    from offcamd.web.source import RunSource


class Pins:
    """Of any thread.

    Args:
        source: the runs that are served. Where there is no daemon they may be anybody's.
        episodes: those of the runs that are looked at.
    """

    def __init__(self, source: RunSource, episodes: EpisodeCache) -> None:
        self._source = source
        self._episodes = episodes
        self._lock = threading.Lock()

    def set(self, asked: AskedRun, key: str, note: str | None) -> dict[str, Any]:
        """Pin a clip with a note, or no longer, where that is None; returns it as `clip_detail` does.

        Raises:
            NotHere: there is no such clip.
            RunFolderError: the run cannot be read, or its folder not be written.
        """
        clip_detail(asked, key, self._episodes)
        if not self._source.daemon and (why := _not_ours(asked.folder)):
            raise RunFolderError(why)
        with self._lock:
            write_pin(asked.folder, key, note)
        return clip_detail(asked, key, self._episodes)


def _not_ours(folder: Path) -> str | None:
    """Why nothing is written into a folder that is only looked at; None where it is this user's own."""
    try:
        owner = folder.stat().st_uid
    except OSError as error:
        return f"{folder} cannot be seen ({error.strerror}): was it moved or removed?"
    if owner == os.geteuid():
        return None
    return (
        f"pins are kept in the run folder, and {folder} is user id {owner}'s, not yours (user id {os.geteuid()}): pin "
        "in a copy of it, or ask its owner"
    )
