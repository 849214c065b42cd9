"""What the page shows and where, kept beside the socket: a daemon's successor shows the same at the same address."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

MOST_FOLDERS = 2000
"""Run folders that are remembered; those that were written first are forgotten first."""

_MOST_BYTES = 16 << 20


class ShownFile:
    """The HTTP port, and the run folders that daemons at this endpoint have written. For the one that has the lock.

    Args:
        path: that of the file, which is made with the first address or folder.

    Attributes:
        port: where the page was last served; 0 if it never was.
        folders: absolute paths, in the order in which they came.
    """

    def __init__(self, path: Path) -> None:
        self.port = 0
        self.folders: tuple[str, ...] = ()
        self._path = path
        with suppress(OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            self.port, self.folders = self._read()

    def _read(self) -> tuple[int, tuple[str, ...]]:
        with os.fdopen(os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as file:
            found: dict[str, Any] = json.loads(file.read(_MOST_BYTES))
        folders = tuple(each for each in found["folders"] if each.startswith("/"))
        return (found["port"] if found["port"] in range(1 << 16) else 0), folders

    def served_at(self, port: int) -> None:
        """Note the page's port."""
        self._keep(port, self.folders)

    def wrote(self, folders: Iterable[str]) -> None:
        """Note folders that were written. Cheap if they are known."""
        new = [folder for folder in folders if folder not in self.folders]
        if new:
            self._keep(self.port, (*self.folders, *new)[-MOST_FOLDERS:])

    def _keep(self, port: int, folders: tuple[str, ...]) -> None:
        """Write the file if something changed. If the disk is full, the next daemon finds what it had before."""
        if (port, folders) == (self.port, self.folders):
            return
        self.port, self.folders = port, folders
        new = self._path.with_name(f"{self._path.name}.new")
        with suppress(OSError):
            with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600), "w") as file:
                json.dump({"port": port, "folders": folders}, file)
            new.replace(self._path)
