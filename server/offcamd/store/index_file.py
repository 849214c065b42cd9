"""The index of a run folder as a file that the daemon writes; how it is read is `offcam_runs.database`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from offcam_proto.errors import RunFolderError
from offcam_runs import format as fmt
from offcam_runs.database import BUSY_SECONDS, connect, explained, format_version, not_writable, without_locks
from offcam_runs.filesystem import wal_works_on

if TYPE_CHECKING:
    import sqlite3
    from pathlib import Path

_OPENING_MS = 250
"""How long opening an index waits for readers: a glance only, as other runs wait for the store meanwhile."""


class IndexGone(RunFolderError):
    """The index being written is not in its folder any more: nobody would find there what is committed."""


def place_of(folder: Path) -> tuple[int, int] | None:
    """Identifies the index file in a folder among all others; None if there is none."""
    try:
        status = os.lstat(folder / fmt.INDEX_NAME)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return status.st_dev, status.st_ino


def open_to_write(folder: Path) -> sqlite3.Connection:
    """Open the index of a folder in the right journal mode; folder and index are made if they do not exist.

    The caller makes or upgrades the tables. Outside of a transaction the connection commits each statement by itself.

    Raises:
        FolderNotWritable: the folder or the index cannot be made or written.
        RunFormatTooNew: a newer offcam wrote it.
        IndexLocked: a process reads it, as the plain file that it was left as; that is not waited for.
        RunFolderError: the index is damaged, or is no index of offcam.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise not_writable(folder, error.strerror or str(error)) from error
    if (folder / fmt.INDEX_NAME).is_symlink():  # SQLite would follow the link and write there
        raise RunFolderError(
            f"{folder / fmt.INDEX_NAME} is a link, maybe out of the folder: replace it by the file itself"
        )
    unlocked = without_locks(folder)
    with explained(folder):
        database = connect(folder / fmt.INDEX_NAME, "rwc", unlocked=unlocked)
        try:
            database.execute(f"PRAGMA busy_timeout = {_OPENING_MS}")
            format_version(database, folder)
            mode = "wal" if wal_works_on(folder) and not unlocked else "delete"
            (mode,) = database.execute(f"PRAGMA journal_mode = {mode}").fetchone()
            database.execute(f"PRAGMA synchronous = {'NORMAL' if mode == 'wal' else 'FULL'}")
            database.execute("PRAGMA locking_mode = NORMAL")
            database.execute(f"PRAGMA busy_timeout = {1000 * BUSY_SECONDS:.0f}")
        except BaseException:
            database.close()
            raise
    return database
