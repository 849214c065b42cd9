"""How the page and the API name a run: by an id of its own, which moves with its folder."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import sqlite3
import stat
from collections.abc import Iterable
from contextlib import closing
from functools import lru_cache
from pathlib import Path

from offcam_runs.format import INDEX_NAME, RUN_KEY

MOST_KNOWN = 20_000
"""Most indexes whose ids are kept, so that none is opened twice."""

_DIGITS = 12
_ID = re.compile(rf"[0-9a-f]{{{_DIGITS}}}")
_OF_RUN = "SELECT value FROM meta WHERE key = :key"


def new_id() -> str:
    """An id for a run that has none."""
    return secrets.token_hex(_DIGITS // 2)


def path_id(folder: str | os.PathLike[str]) -> str:
    """The id of a run whose index has none: a digest of its folder's absolute path, which cannot be read from it."""
    return hashlib.blake2b(os.fsencode(os.path.abspath(folder))).hexdigest()[:_DIGITS]  # links are not resolved


def run_id(folder: str | os.PathLike[str]) -> str:
    """The id of a run: that in its index, where it can be read, else `path_id`."""
    path = os.path.join(os.path.abspath(folder), INDEX_NAME)
    try:
        facts = os.lstat(path)
        if not stat.S_ISREG(facts.st_mode):
            return path_id(folder)
        return _in_index(path, facts.st_dev, facts.st_ino)
    except (OSError, sqlite3.Error, LookupError):  # whoever opens the index to read it says what is wrong
        return path_id(folder)


def by_id(folders: Iterable[str | os.PathLike[str]]) -> dict[str, Path]:
    """Runs by their ids, in order. Of a run and its copy the first has the run's id, the other that of its path."""
    found: dict[str, Path] = {}
    for folder in folders:
        own = run_id(folder)
        found[own if own not in found else path_id(folder)] = Path(folder)
    return found


def with_id(runs: dict[str, Path], name: str) -> Path | None:
    """The run with an id, out of those that `by_id` gave.

    Its `path_id` is accepted, too, which a run has before it has an index; and its own id where `by_id` could not read
    that, as while a daemon on a busy machine kept everybody else out.
    """
    of_name = (folder for folder in runs.values() if name in (path_id(folder), run_id(folder)))
    return runs.get(name) or next(of_name, None)


@lru_cache(maxsize=MOST_KNOWN)
def _in_index(path: str, _device: int, _inode: int) -> str:
    """The id in an index. Raises LookupError where there is none: that result is not cached, as an id may come."""
    with closing(sqlite3.connect(f"{Path(path).as_uri()}?mode=ro", uri=True, timeout=0.1)) as database:
        row = database.execute(_OF_RUN, {"key": RUN_KEY}).fetchone()
    if row is None or not _ID.fullmatch(str(row[0])):
        raise LookupError(path)
    return str(row[0])
