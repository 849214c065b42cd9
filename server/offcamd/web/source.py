"""Which runs are served: those of a daemon, or those in folders that a user wants to see."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Protocol

from offcam_runs.discover import MOST_LEVELS, labels, look_into
from offcam_runs.folder_lock import writer_of
from offcam_runs.format import INDEX_NAME, PAGE_NAME, VIDEO_EXTENSION
from offcam_runs.journal_reader import journals
from offcam_runs.run_ids import by_id

RESCAN_SECONDS = 2.0
"""How often `FolderSource` looks for new runs, in seconds."""

MOST_FOLDERS = 20_000
"""Most folders that it looks into at a time."""

MOST_RUNS = 2_000

_PARTS = 2
"""Parts of a path in the title of a run elsewhere, such as an experiment's and a seed's."""


class RunSource(Protocol):
    """What the HTTP server serves. Called from its threads; nothing in it raises.

    Attributes:
        daemon: whether there is a daemon behind it.
        address: of that daemon, for processes that should record through it; None for the one that they find or start.
    """

    daemon: bool
    address: str | None

    def folders(self) -> dict[str, Path]:
        """The run folders by id, in the order in which they came."""

    def title(self, folder: Path) -> str:
        """What a run is called, by its folder alone: no run's title changes because another one comes or goes."""

    def live(self, run: str) -> bool:
        """Whether somebody records into a run at this moment."""

    def watched(self) -> AbstractContextManager[None]:
        """While it lasts somebody watches what is recorded, and wants to see what it shows now."""

    def stats(self) -> dict[str, Any] | None:
        """The daemon's snapshot, or None where there is no daemon."""

    def unready(self) -> str | None:
        """Why clients should not send anything here now; None if they may."""

    def unhealthy(self) -> str | None:
        """What does not work; None if all does."""


class FolderSource:
    """The run folders at or below some folders, without a daemon.

    A run is a folder with an index, or with videos alone, as Gymnasium's own wrapper leaves it. Links are not followed;
    hidden folders and exported pages are not entered.

    Args:
        folders: where to look.
    """

    daemon = False
    address: str | None = None

    def __init__(self, folders: Iterable[Path]) -> None:
        self._roots = [Path(os.path.abspath(folder)) for folder in folders]  # noqa: PTH100 - links stay as they are
        self._labels = labels(self._roots) if len(set(self._roots)) == len(self._roots) else list(map(str, self._roots))
        self._lock = threading.Lock()
        self._scanned = -RESCAN_SECONDS
        self._found: dict[str, Path] = {}

    def folders(self) -> dict[str, Path]:
        """See `RunSource`. Looks into the folders anew, at most every `RESCAN_SECONDS`."""
        return dict(self._up_to_date())

    def _up_to_date(self) -> dict[str, Path]:
        """The current folders; not to be changed by the caller."""
        with self._lock:
            if time.monotonic() - self._scanned >= RESCAN_SECONDS:
                self._found = by_id(self._scan())
                self._scanned = time.monotonic()
            return self._found

    def title(self, folder: Path) -> str:
        """See `RunSource`: the path below the folder that was searched, or elsewhere its last two parts."""
        for root, label in zip(self._roots, self._labels, strict=True):
            if folder == root:
                return label
            if folder.is_relative_to(root):
                below = folder.relative_to(root)
                return str(below if len(self._roots) == 1 else Path(label) / below)
        return "/".join(folder.parts[1:][-_PARTS:]) or str(folder)

    def live(self, run: str) -> bool:
        """See `RunSource`."""
        folder = self._up_to_date().get(run)
        return folder is not None and writer_of(folder) is not None

    def watched(self) -> AbstractContextManager[None]:
        """See `RunSource`: whoever records does not know of it."""
        return nullcontext()

    def stats(self) -> dict[str, Any] | None:
        """See `RunSource`."""
        return None

    def unready(self) -> str | None:
        """See `RunSource`."""
        return None

    def unhealthy(self) -> str | None:
        """See `RunSource`."""
        return None

    def _scan(self) -> Iterator[Path]:
        waiting = [(root, 0) for root in reversed(self._roots)]
        seen = runs = 0
        while waiting and seen < MOST_FOLDERS and runs < MOST_RUNS:
            folder, level = waiting.pop()
            seen += 1
            try:
                names, below = look_into(folder)
            except OSError:
                continue
            if PAGE_NAME in names:
                continue
            if INDEX_NAME in names or any(name.endswith(VIDEO_EXTENSION) for name in names) or journals(folder):
                runs += 1
                yield folder
            if level < MOST_LEVELS:
                waiting += [(folder / name, level + 1) for name in reversed(below)]
