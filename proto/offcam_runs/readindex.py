"""The index of a run folder, read: the one place of the client that knows SQLite."""

from __future__ import annotations

import os
import sqlite3
import tempfile
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, NamedTuple

from offcam_proto import host
from offcam_proto.errors import NotARunFolder, RunFolderError
from offcam_runs import format as fmt
from offcam_runs import sql

BUSY_SECONDS = 10.0
"""How long to wait for whoever holds the index."""

Rows = list[tuple[Any, ...]]


class IndexRows(NamedTuple):
    """What an index holds: rows of `sql.STREAMS`, and with the columns of the queries below."""

    streams: Rows
    episodes: Rows
    clips: Rows


def read_index(folder: str) -> IndexRows:
    """Read the index of a folder as it is at one moment, whether or not a daemon is writing it.

    Nothing in the folder is changed, and it need not be writable. An index of an older version is read through an
    upgraded copy in memory; one that a crash left where nobody may write, or whose file system has no locks, through a
    copy elsewhere.

    Raises:
        NotARunFolder: there is no index.
        RunFormatTooNew: a newer offcam wrote it.
        RunFolderError: it is damaged, cannot be read, or is no index of offcam.
    """
    path = os.path.join(folder, fmt.INDEX_NAME)
    if not os.path.isfile(path):
        raise NotARunFolder(
            f"{folder!r} is no run folder, as it has no {fmt.INDEX_NAME}: give the one you passed as video_folder"
            if os.path.isdir(folder)
            else f"{folder!r} is no folder: check the path"
        )
    try:
        with ExitStack() as stack:
            database = stack.enter_context(closing(_opened(path, folder, stack)))
            return IndexRows(
                database.execute(sql.STREAMS).fetchall(),
                database.execute(_EPISODES).fetchall(),
                database.execute(_CLIPS, sql.CLIPS_VALUES).fetchall(),
            )
    except sqlite3.OperationalError as error:
        raise RunFolderError(
            f"the index of {folder!r} could not be read ({error}): check its permissions, and that no other program "
            "keeps it locked"
        ) from error
    except sqlite3.DatabaseError as error:
        raise RunFolderError(
            f"the index of {folder!r} is damaged ({error}); the videos are not affected, copy them away"
        ) from error


def _opened(path: str, folder: str, stack: ExitStack) -> sqlite3.Connection:
    try:
        if not host.locks_missing(os.path.join(folder, fmt.LOCK_NAME), path):
            return _connected(path, folder, "mode=ro")
    except sqlite3.OperationalError as error:
        if not any(text in str(error) for text in ("readonly", "read-only", "unable to open")):
            raise
    scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="offcam-"))
    try:
        copy = host.copy_index(path, scratch)
    except OSError as error:
        raise RunFolderError(f"{path} cannot be read ({error.strerror}): check its permissions") from error
    return _connected(copy, folder, "mode=rw&vfs=unix-none")


def _connected(path: str, folder: str, options: str) -> sqlite3.Connection:
    """Open an index and begin a read transaction; one of an older version becomes an upgraded copy in memory."""
    uri = f"{Path(path).absolute().as_uri()}?{options}"
    database = sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS, isolation_level=None)
    try:
        if "unix-none" in options:  # SQLite opens one in WAL mode only so, where it cannot share memory with others
            database.execute("PRAGMA locking_mode = EXCLUSIVE")
        database.execute("BEGIN")
        statements = fmt.upgrade_sql(_version(database, path), folder)
        if statements:
            old, database = database, sqlite3.connect(":memory:", isolation_level=None)
            with closing(old):
                old.backup(database)
            for statement in statements:
                database.execute(statement)
    except BaseException:
        database.close()
        raise
    return database


def _version(database: sqlite3.Connection, path: str) -> int:
    (application,) = database.execute("PRAGMA application_id").fetchone()
    (version,) = database.execute("PRAGMA user_version").fetchone()
    (tables,) = database.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if application != fmt.APPLICATION_ID and (application or version or tables):
        raise RunFolderError(f"{path} is a database of another program (application_id {application:#x})")
    return int(version)


_EPISODES = """
SELECT stream_id, env_index, episode, return, length, duration, started, terminated, truncated, seed
FROM episodes ORDER BY id
"""

_CLIPS = f"""
SELECT stream_id, clip, name, part, file, state, encoded, fps, width, height, duration, episode, step, return, steps,
    offered, received, dropped, complete, file_bytes, started, ended, error, partial
FROM ({sql.CLIPS}) ORDER BY place
"""  # noqa: S608 - of constants
