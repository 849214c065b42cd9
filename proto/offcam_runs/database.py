"""Opening the index of a run folder to read it, and saying what is wrong with it: the one place for all readers.

How the daemon opens one to write is `offcamd.store.index_file`, with what both need from here.
"""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

from offcam_proto import host
from offcam_proto.errors import FolderNotWritable, NotARunFolder, RunFolderError
from offcam_runs import format as fmt
from offcam_runs.journal_reader import pending, unsealed_rows
from offcam_runs.pending import Facts, with_pending, with_unsealed
from offcam_runs.schema import upgrade_sql
from offcam_runs.sessions import Session, choose

BUSY_SECONDS = 10.0
"""How long to wait for a process that holds the index."""

_NO_ACCESS = ("readonly", "read-only", "unable to open")  # SQLite's texts: its codes need Python 3.11


class IndexLocked(RunFolderError):
    """Another process uses the index, in a way that shuts out this one for now."""


@contextmanager
def open_to_read(
    run: str | os.PathLike[str], *, settled: bool = False, session: Session = None, unsealed: bool = False
) -> Iterator[sqlite3.Connection]:
    """Read the index of a run folder as it is at one moment, whether or not a daemon is writing it.

    What is pending in clients' journals is in it, too, then in a copy in memory; see `offcam_runs.pending`.

    Nothing in the folder is changed, and it need not be writable. An index of an older version is read
    through an upgraded copy in memory; one that was left by a crash where nobody may write, or whose file system
    has no locks, through a copy in the folder for temporary files.

    Args:
        run: the folder.
        settled: leave out records that will be in the index in a moment; for readers that ask again and again.
        session: whose streams, episodes and clips there are in it; by default the newest's.
        unsealed: have the rows of steps, too, that trainings that go on have written last and not sent yet. Where there
            are any the index is copied for them.

    Yields:
        A connection with all tables of this version, within a read transaction.

    Raises:
        NotARunFolder: there is no index, and nothing is pending.
        RunFormatTooNew: a newer offcam wrote it.
        RunFolderError: the index is damaged, cannot be read, or is no index of offcam.
        ConfigError: there is no such session.
    """
    folder = Path(run)
    path = folder / fmt.INDEX_NAME
    facts = _facts(path)  # before the index is read: what changes meanwhile is news the next time
    rows = unsealed_rows(folder) if unsealed else []  # before the journals, for the same reason
    found = pending(folder)  # before the index: what is removed meanwhile is in there
    if not path.is_file() and not found:
        raise NotARunFolder(_why_no_run(folder))
    with explained(folder), ExitStack() as stack:
        index = _opened(path, folder, stack)
        database = stack.enter_context(with_pending(index, folder, found, settled=settled, facts=facts))
        database = stack.enter_context(with_unsealed(database, rows))
        choose(database, session, folder)
        yield database


@contextmanager
def open_committed(run: str | os.PathLike[str]) -> Iterator[sqlite3.Connection]:
    """As `open_to_read`, all sessions, without what is pending in journals: the index alone. Raises the same."""
    folder = Path(run)
    path = folder / fmt.INDEX_NAME
    if not path.is_file():
        raise NotARunFolder(_why_no_run(folder))
    with explained(folder), ExitStack() as stack:
        yield _opened(path, folder, stack)


def _opened(path: Path, folder: Path, stack: ExitStack) -> sqlite3.Connection:
    """The index itself, or what stands for it; an empty one where there is none."""
    if not path.is_file():
        nothing = stack.enter_context(closing(sqlite3.connect(":memory:", isolation_level=None)))
        upgrade(nothing, 0, folder)
        return nothing
    try:
        index = None if without_locks(folder) else stack.enter_context(_begun(path, folder, "ro"))
    except sqlite3.OperationalError as error:
        if not any(text in str(error) for text in _NO_ACCESS):
            raise
        index = None
    return index or stack.enter_context(_begun(stack.enter_context(_copied(path)), folder, "rw"))


def _facts(path: Path) -> Facts:
    """What changes whenever an index does."""
    found: list[object] = []
    for each in (path, *(path.with_name(path.name + companion) for companion in fmt.INDEX_COMPANIONS[::2])):
        with suppress(OSError):
            facts = each.stat()
            found.append((each.name, facts.st_ino, facts.st_size, facts.st_mtime_ns))
    return tuple(found)


def without_locks(folder: Path) -> bool:
    """Whether the folder's file system has no locks."""
    return host.locks_missing(os.fspath(folder / fmt.LOCK_NAME), os.fspath(folder / fmt.INDEX_NAME))


def connect(path: Path, mode: str, *, unlocked: bool) -> sqlite3.Connection:
    """Open a database; without locks where it has no other user, or can have none that we could see."""
    locks = "&vfs=unix-none" if unlocked else ""
    uri = f"{path.absolute().as_uri()}?mode={mode}{locks}"
    database = sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS, isolation_level=None)
    if unlocked:  # the only way in which SQLite opens an index in WAL mode where it cannot share memory with others
        database.execute("PRAGMA locking_mode = EXCLUSIVE")
    return database


@contextmanager
def _begun(path: Path, folder: Path, mode: str) -> Iterator[sqlite3.Connection]:
    """Open an index, or with ``rw`` a copy of our own, and begin a read transaction; see `open_to_read`."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as upgraded:
        with closing(connect(path, mode, unlocked=mode == "rw")) as database:
            database.execute("BEGIN")
            version = format_version(database, folder)
            if version == fmt.FORMAT_VERSION:
                yield database
                return
            database.backup(upgraded)
        upgrade(upgraded, version, folder)
        yield upgraded


@contextmanager
def _copied(path: Path) -> Iterator[Path]:
    """A copy of an index with its journal, which SQLite may bring in order; removed at the end."""
    with tempfile.TemporaryDirectory(prefix="offcam-") as scratch:
        try:
            copy = Path(host.copy_index(os.fspath(path), scratch))
        except OSError as error:
            raise RunFolderError(f"{path} cannot be read ({error}): check its permissions") from error
        yield copy


def upgrade(database: sqlite3.Connection, version: int, folder: Path) -> None:
    """Bring the tables of an index from a version to this one. The transaction is the caller's."""
    for statement in upgrade_sql(version, os.fspath(folder)):
        database.execute(statement)


def format_version(database: sqlite3.Connection, folder: Path) -> int:
    """The format version of an open index, 0 for an empty database.

    Raises:
        RunFormatTooNew: a newer offcam wrote it.
        RunFolderError: some other program did.
        sqlite3.Error: it is no database, or cannot be read.
    """
    (application,) = database.execute("PRAGMA application_id").fetchone()
    (version,) = database.execute("PRAGMA user_version").fetchone()
    (tables,) = database.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if application != fmt.APPLICATION_ID and (application or version or tables):
        raise RunFolderError(
            f"{folder / fmt.INDEX_NAME} is a database of another program (application_id {application:#x}): "
            "move it away, or record into another folder"
        )
    upgrade_sql(version, os.fspath(folder))  # refuses a newer one
    return int(version)


@contextmanager
def explained(folder: Path) -> Iterator[None]:
    """Turn SQLite's errors into offcam's.

    Raises:
        FolderNotWritable: the index may not be opened or written.
        IndexLocked: another process shuts us out.
        RunFolderError: it is damaged, or its disk is full.
    """
    try:
        yield
    except sqlite3.OperationalError as error:
        if any(text in str(error) for text in _NO_ACCESS):
            raise not_writable(folder, str(error)) from error
        kind = IndexLocked if "locked" in str(error) else RunFolderError
        raise kind(
            f"the index of {folder} could not be used ({error}): check that its disk is not full and that no "
            "other program keeps it locked"
        ) from error
    except sqlite3.ProgrammingError:
        raise  # our own mistake, such as using an index that was closed
    except sqlite3.DatabaseError as error:
        raise RunFolderError(
            f"the index of {folder} is damaged ({error}): move {fmt.INDEX_NAME} away to start a new one; the "
            "videos are not affected"
        ) from error


def not_writable(folder: Path, reason: str) -> FolderNotWritable:
    """The error to raise where a run folder cannot be written."""
    return FolderNotWritable(
        f"the run folder {folder} cannot be written by user id {os.geteuid()} ({reason}): make it writable, "
        "or record into another folder"
    )


def _why_no_run(folder: Path) -> str:
    if not folder.exists():
        return f"{folder} is no folder, as it does not exist: check the path"
    if not folder.is_dir():
        return f"{folder} is no folder, it is a file: give the run folder that holds it"
    videos = sum(1 for _ in folder.glob(f"*{fmt.VIDEO_EXTENSION}"))
    if videos:
        return (
            f"{folder} has no {fmt.INDEX_NAME}: its {videos} {fmt.VIDEO_EXTENSION} files are not offcam's "
            "(Gymnasium's own RecordVideo keeps no index), so there is nothing to list; `offcam view "
            f"{folder}` shows them, and `from offcam import RecordVideo` records with one"
        )
    return f"{folder} has no {fmt.INDEX_NAME}, so it is no run folder: give the one you passed as video_folder"
