"""Opening runs by their ids."""

from __future__ import annotations

import os
import stat
import time
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, NamedTuple

from offcam_proto.errors import ConfigError, NotARunFolder, RunFolderError
from offcam_runs.database import open_to_read
from offcam_runs.format import INDEX_COMPANIONS, INDEX_NAME, PINS_NAME
from offcam_runs.journal_reader import journals
from offcam_runs.pending import ON_ITS_WAY_SECONDS, is_written
from offcam_runs.run_ids import with_id
from offcam_runs.sessions import Session, session_of
from offcamd.web import indexless
from offcamd.web.params import BadQuery, Query

if TYPE_CHECKING:
    import sqlite3
    from pathlib import Path

    from offcamd.web.source import RunSource


SETTLED_NS = 1_000_000_000
"""How long nothing must have changed before the time of the last change tells it from all others, in nanoseconds: more
than a tick of any clock by which file systems note it."""


class NotHere(Exception):
    """What was asked for does not exist; the message says what does."""


class NothingNow(Exception):
    """What was asked for is of this moment, and there is none of it now: not yet, or no more."""


class NoPictureYet(NothingNow):
    """It is being recorded, and nothing of it has been encoded: that comes soon, unless it was over just now."""


class AskedRun(NamedTuple):
    """A run that a request is for.

    Attributes:
        run: its id, followed by ``@`` and the session if the request names one so.
        folder: of the run.
        session: which session; by default the newest.
    """

    run: str
    folder: Path
    session: Session = None


def asked_for(source: RunSource, run: str, query: Query | None = None) -> AskedRun:
    """The run with an id, such as ``0123456789ab``; ``@1`` or ``@all`` after it names a session.

    Args:
        source: the runs there are.
        run: the id.
        query: may name the session instead.

    Raises:
        BadQuery: there is no such kind of session.
        NotHere: there is no such run.
    """
    name, _, session = run.partition("@")
    session = session or (query.text("session") if query else "")
    folder = with_id(source.folders(), name)
    if folder is None:
        raise NotHere(f"there is no run {run[:40]!r}: GET /api/runs lists those there are")
    try:
        return AskedRun(run, folder, session_of(session))
    except ConfigError as error:
        raise BadQuery(str(error)) from error


@contextmanager
def reading(folder: Path, session: Session = None) -> Iterator[sqlite3.Connection]:
    """Read a run as it is at this moment: by its index, or if it has none by its videos.

    Args:
        folder: of the run.
        session: whose rows are read; by default the newest's. Videos without an index are one session.

    Raises:
        NotHere: there is no such session.
        RunFolderError: the run cannot be read; its subclasses say why, see `offcam_runs.database.open_to_read`.
    """
    if not is_plain(folder):
        try:
            with open_to_read(folder, settled=True, session=session) as database:
                yield database
        except ConfigError as error:
            raise NotHere(str(error)) from error
        return
    with _explained(folder):
        if not indexless.videos(folder):
            raise NotARunFolder(f"{folder} holds no index and no video any more: was it moved or removed?")
        with indexless.opened(folder) as database:
            yield database


@contextmanager
def reading_clips(folder: Path, session: Session = None) -> Iterator[sqlite3.Connection]:
    """Read a run's clips: by its index, or if that cannot be read by its videos, which exist all the same.

    Raises:
        NotHere: there is no such session.
        RunFolderError: the index cannot be read, and the folder holds no video.
    """
    with ExitStack() as stack:
        try:
            database = stack.enter_context(reading(folder, session))
        except RunFolderError:
            with _explained(folder):
                if not indexless.videos(folder):
                    raise
            database = stack.enter_context(indexless.opened(folder))
        yield database


def is_plain(folder: Path) -> bool:
    """Whether a run has no index, and no journals that one will be made of.

    Raises:
        RunFolderError: the folder cannot be accessed, or its index is a link.
    """
    index = folder / INDEX_NAME
    with _explained(folder):
        try:
            facts = index.lstat()
        except (FileNotFoundError, NotADirectoryError):
            return not journals(folder)
    if stat.S_ISLNK(facts.st_mode):
        raise RunFolderError(f"{index} is a link, maybe out of the folder: replace it by the file itself")
    return False


@contextmanager
def _explained(folder: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise NotARunFolder(f"{folder} is not there any more: was it moved or removed?") from error
    except OSError as error:
        raise RunFolderError(f"{folder} cannot be read ({error.strerror}): check its permissions") from error


def signature(folder: Path) -> tuple[object, ...]:
    """Changes whenever anything does from which a run's statistics are made; cheap."""
    index = f"{folder}/{INDEX_NAME}"
    files = [str(folder), *(f"{index}{companion}" for companion in ("", *INDEX_COMPANIONS[::2]))]
    found = journals(folder)
    later = time.time() // ON_ITS_WAY_SECONDS if found and is_written(folder) else None
    return (*map(_facts, files), *map(_checksum, found), later)


def settled_signature(folder: Path) -> tuple[object, ...] | None:
    """The `signature` of a run with an index, and of its pins, where nobody has changed it for a while; else None.

    Two changes within one tick of a file system's clock leave the same signature, so whoever keeps what was read in
    between must not do so until that clock has gone on. What lies in journals becomes due without any change.
    """
    found = (*signature(folder), _facts(f"{folder}/{PINS_NAME}"))
    index, times = found[1], [facts[2] for facts in found if isinstance(facts, tuple)]
    if index is None or journals(folder) or max(times) > time.time_ns() - SETTLED_NS:
        return None
    return found


def _checksum(path: Path) -> int:
    """Checksum of a journal: writing to a mapped file changes neither its size nor, at once, its time."""
    try:
        return zlib.crc32(path.read_bytes())
    except OSError:
        return 0


def _facts(path: str) -> tuple[int, int, int] | None:
    try:
        facts = os.stat(path, follow_symlinks=False)  # noqa: PTH116 - Path.lstat is the same, slower
    except OSError:
        return None
    return facts.st_ino, facts.st_size, facts.st_mtime_ns
