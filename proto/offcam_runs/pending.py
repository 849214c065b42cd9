"""Pending records, put into a copy of the index for whoever reads it: what journals hold and the index has not yet."""

from __future__ import annotations

import math
import sqlite3
import time
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Final

from offcam_proto.records import numbered
from offcam_runs import format as fmt
from offcam_runs.file_lock import held
from offcam_runs.journal_reader import end_of, in_order
from offcam_runs.record_rows import Fields, add_records

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from offcam_runs.journal_reader import Journal

COMMITTED_KEY: Final = "committed"
"""Key in ``meta`` of such a copy: ``episodes.id`` of the last episode that is in the index itself."""

ON_ITS_WAY_SECONDS: Final = 5.0
"""A record that waits for no longer than this, with a client and a writer there, will be in the index in a moment."""

_KNOWN = "SELECT id, last_seq FROM streams WHERE stream = :stream"
_ENTER = f"""
INSERT INTO streams (stream, env_id, num_envs, vector, prefix, suffix, video, host, pid, client, started, ended, state,
    training, session)
VALUES (:id, :env_id, :num_envs, :vector, :prefix, :suffix, :video, :host, :pid, :client, :started, :ended, :state,
    :training, {fmt.SESSION_OF})
ON CONFLICT (stream) DO NOTHING
"""  # noqa: S608 - of our own words


def enter_stream(database: sqlite3.Connection, journal: Journal) -> tuple[int, int]:
    """Enter a journal's stream where the index does not know it; returns its key, and its last committed record."""
    state = fmt.LIVE if journal.ended is None else fmt.LOST
    who = journal.client
    client = (who.host, who.pid, who.client) if who else ("", 0, "unknown: found by its journal")
    own = {"id": journal.stream.stream.hex(), "ended": journal.ended, "state": state}
    own |= {"training": fmt.training_text(journal.stream.training), "gone": "[]", "since": journal.stream.started}
    own |= zip(("host", "pid", "client"), client, strict=True)
    database.execute(_ENTER, Fields(journal.stream, **own))
    known: tuple[int, int] = database.execute(_KNOWN, {"stream": journal.stream.stream.hex()}).fetchone()
    return known


def is_of(database: sqlite3.Connection, folder: Path, journal: Journal) -> bool:
    """Whether a journal is of the run whose index this is.

    One that had no place in the run folder need not be: its stream may have been recorded by a daemon on another host,
    into a folder that is there by that name, too. If that has acked any of it, its index is there.
    """
    if journal.path.parent.parent == folder or journal.first_seq == 1:
        return True
    return _last_seq(database, journal) is not None


@contextmanager
def with_pending(
    database: sqlite3.Connection, folder: Path, found: Iterable[Journal], *, settled: bool = False
) -> Iterator[sqlite3.Connection]:
    """An index with the pending records of its run: itself where there are none, else a copy in memory.

    Args:
        database: the index, in a read transaction that began after the journals were read.
        folder: of the run.
        found: its journals.
        settled: leave out what will be in the index in a moment, rather than copying it for that.
    """
    fresh = [journal for journal in found if _adds(database, journal) and is_of(database, folder, journal)]
    if settled and fresh and is_written(folder):
        before = time.time() - ON_ITS_WAY_SECONDS
        fresh = [journal for journal in fresh if journal.ended is not None or _waits_since(database, journal) < before]
    if not fresh:
        yield database
        return
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as copy:
        database.backup(copy)
        _put(copy, fresh)
        yield copy


def is_written(folder: Path) -> bool:
    """Whether somebody writes a run folder, as far as can be seen."""
    try:
        return held(folder / fmt.LOCK_NAME)
    except OSError:
        return False


def committed(database: sqlite3.Connection) -> int:
    """``episodes.id`` of the last episode that the index has, whatever is pending; 0 for none."""
    query = "SELECT ifnull((SELECT CAST(value AS INTEGER) FROM meta WHERE key = :key), (SELECT max(id) FROM episodes))"
    return int(database.execute(query, {"key": COMMITTED_KEY}).fetchone()[0] or 0)


def _put(copy: sqlite3.Connection, fresh: list[Journal]) -> None:
    copy.execute("BEGIN")
    mark = "INSERT INTO meta (key, value) SELECT :key, ifnull(max(id), 0) FROM episodes"
    copy.execute(mark, {"key": COMMITTED_KEY})
    streams = {journal.path: enter_stream(copy, journal) for journal in fresh}
    numbered = ((*streams[journal.path], seq, body) for journal, seq, body in in_order(fresh))
    add_records(copy, ((key, seq, body) for key, last_seq, seq, body in numbered if seq > last_seq))
    copy.execute("COMMIT")


def _last_seq(database: sqlite3.Connection, journal: Journal) -> int | None:
    """The last record of a journal's stream that is in the index; None where that does not know the stream."""
    row = database.execute(_KNOWN, {"stream": journal.stream.stream.hex()}).fetchone()
    return None if row is None else row[1]


def _adds(database: sqlite3.Connection, journal: Journal) -> bool:
    """Whether a journal has anything that the index has not."""
    last_seq = _last_seq(database, journal)
    return last_seq is None or (bool(journal.bodies) and journal.last_seq > last_seq)


def _waits_since(database: sqlite3.Connection, journal: Journal) -> float:
    """When the first episode ended that is in a journal and not in the index; infinity where there is none."""
    last_seq = _last_seq(database, journal) or 0
    new = (end_of(body) for seq, body in numbered(journal.first_seq, journal.bodies) if seq > last_seq)
    return next(filter(math.isfinite, new), math.inf)
