"""Pending records, put into a copy of the index for whoever reads it: what journals hold and the index has not yet."""

from __future__ import annotations

import math
import sqlite3
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, NamedTuple

from offcam_proto.errors import RemoteProtocolError
from offcam_proto.limits import MIB
from offcam_proto.records import numbered
from offcam_runs import format as fmt
from offcam_runs.file_lock import held
from offcam_runs.journal_reader import JournalContents, end_of, in_order
from offcam_runs.record_rows import Fields, add_records
from offcam_runs.schema import SESSION_OF, id_text
from offcam_runs.sessions import show_all
from offcam_runs.steps.places import PendingSteps

if TYPE_CHECKING:
    from pathlib import Path

    from offcam_proto.records import StepRecord


COMMITTED_KEY: Final = "committed"
"""Key in ``meta`` of such a copy: ``episodes.id`` of the last episode that is in the index itself."""

ON_ITS_WAY_SECONDS: Final = 5.0
"""A record that waited no longer than this, and has a client and a writer, will be in the index in a moment."""

MOST_COPIES: Final = 4
"""Most runs of which the last copy is kept."""

KEPT_BYTES: Final = 64 * MIB
"""Largest copy that is kept."""

_BEHIND_ALL: Final = 1 << 62  # no record of a stream has such a number
_KNOWN = "SELECT id, last_seq FROM streams WHERE stream = :stream"
_ENTER = f"""
INSERT INTO streams (stream, env_id, num_envs, vector, prefix, suffix, video, host, pid, client, started, ended, state,
    training, session, steps_limit, replays)
VALUES (:id, :env_id, :num_envs, :vector, :prefix, :suffix, :video, :host, :pid, :client, :started, :ended, :state,
    :training, {SESSION_OF}, :steps_limit, :replays)
ON CONFLICT (stream) DO NOTHING
"""  # noqa: S608 - of our own words


def enter_stream(database: sqlite3.Connection, journal: JournalContents) -> tuple[int, int]:
    """Enter a journal's stream if the index does not have it; returns its key and its last committed record."""
    state = fmt.LIVE if journal.ended is None else fmt.LOST
    who = journal.client
    client = (who.host, who.pid, who.client) if who else ("", 0, "unknown: found by its journal")
    own = {"id": journal.stream.stream.hex(), "ended": journal.ended, "state": state}
    own |= {"training": id_text(journal.stream.training), "replays": id_text(journal.stream.replays)}
    own |= {"gone": "[]", "since": journal.stream.started}
    own |= zip(("host", "pid", "client"), client, strict=True)
    database.execute(_ENTER, Fields(journal.stream, **own))
    known: tuple[int, int] = database.execute(_KNOWN, {"stream": journal.stream.stream.hex()}).fetchone()
    return known


def is_of(database: sqlite3.Connection, folder: Path, journal: JournalContents) -> bool:
    """Whether a journal is of the run whose index this is.

    A journal outside of the run folder need not be: its stream may have been recorded by a daemon on another host, into
    a folder of the same name there. If that daemon has acked any of it, the index is there, too.
    """
    if journal.path.parent.parent == folder or journal.first_seq == 1:
        return True
    return _last_seq(database, journal) is not None


Facts = tuple[object, ...]
"""What changes whenever an index does."""


class _Taken(NamedTuple):
    """What a copy has of one journal: its first and last record, how many bodies, and whether the journal ended."""

    first_seq: int
    last_seq: int
    bodies: int
    ended: bool


@dataclass(frozen=True, slots=True)
class _Copy:
    """A copy of an index in memory with what was pending. Each reader in turn adds to it only what is new.

    Attributes:
        facts: of the index, from before it was copied.
        taken: by journal, what the copy has of it.
    """

    database: sqlite3.Connection
    facts: Facts
    taken: dict[Path, _Taken]

    def is_of(self, facts: Facts, fresh: Iterable[JournalContents]) -> bool:
        """Whether an index and its journals are those of this copy, with nothing new but at the journals' ends."""
        found = {journal.path: journal for journal in fresh}
        return self.facts == facts and all(
            (now := found.get(path)) is not None and _begins_with(now, before) for path, before in self.taken.items()
        )


_copies: OrderedDict[Path, _Copy] = OrderedDict()  # those that nobody reads just now
_lock = threading.Lock()


@contextmanager
def with_pending(
    database: sqlite3.Connection,
    folder: Path,
    found: Iterable[JournalContents],
    *,
    settled: bool = False,
    facts: Facts = (),
) -> Iterator[sqlite3.Connection]:
    """An index with the pending records of its run: itself where there are none, else a copy in memory.

    Args:
        database: the index, in a read transaction that began after the journals were read.
        folder: of the run.
        found: its journals.
        settled: leave out what will be in the index in a moment, so that no copy is made for that alone; and keep the
            copy for the next time.
        facts: of the index, from before its read transaction.
    """
    fresh = [journal for journal in found if _adds(database, journal) and is_of(database, folder, journal)]
    if settled and fresh and is_written(folder):
        before = time.time() - ON_ITS_WAY_SECONDS
        fresh = [journal for journal in fresh if journal.ended is not None or _waits_since(database, journal) < before]
    if not fresh:
        yield database
        return
    with _lock:
        copy = _copies.pop(folder.absolute(), None)  # another reader that comes meanwhile makes its own copy
    if copy is None or not copy.is_of(facts, fresh):
        if copy is not None:
            copy.database.close()
        copy = _Copy(sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False), facts, {})
        database.backup(copy.database)
    with ExitStack() as undo:
        undo.callback(copy.database.close)
        _put(copy, fresh)
        yield copy.database
        if settled and _bytes(copy.database) <= KEPT_BYTES:
            undo.pop_all()
            show_all(copy.database)
            _keep(folder.absolute(), copy)


@contextmanager
def with_unsealed(database: sqlite3.Connection, rows: Sequence[tuple[str, StepRecord]]) -> Iterator[sqlite3.Connection]:
    """An index with rows of steps that are in no record: itself where there are none, else a copy in memory.

    Args:
        database: the index, with what is pending, which was read after the rows.
        rows: as of `journal_reader.unsealed_rows`. Those that are in a record by now are passed over, and what is none.
    """
    if not rows:
        yield database
        return
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as copy:
        database.backup(copy)
        copy.execute("BEGIN")
        entered = PendingSteps(copy)
        for number, (stream, record) in enumerate(rows):
            known = copy.execute(_KNOWN, {"stream": stream}).fetchone()
            with suppress(RemoteProtocolError):
                if known:
                    entered.add(known[0], _BEHIND_ALL + number, record)
        copy.execute("COMMIT")
        yield copy


def _keep(folder: Path, copy: _Copy) -> None:
    with _lock:
        gone = [_copies.pop(folder)] if folder in _copies else []
        _copies[folder] = copy
        if len(_copies) > MOST_COPIES:
            gone.append(_copies.popitem(last=False)[1])
    for each in gone:
        each.database.close()


def _bytes(database: sqlite3.Connection) -> int:
    return int(database.execute("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size").fetchone()[0])


def _begins_with(now: JournalContents, before: _Taken) -> bool:
    """Whether a journal is what it was before, with nothing but more records at its end."""
    same = (now.first_seq, now.ended is not None) == (before.first_seq, before.ended)
    return same and now.last_seq >= before.last_seq


def is_written(folder: Path) -> bool:
    """Whether a process writes the run folder, as far as can be seen."""
    try:
        return held(folder / fmt.LOCK_NAME)
    except OSError:
        return False


def committed(database: sqlite3.Connection) -> int:
    """``episodes.id`` of the last episode that the index has, whatever is pending; 0 for none."""
    query = "SELECT ifnull((SELECT CAST(value AS INTEGER) FROM meta WHERE key = :key), (SELECT max(id) FROM episodes))"
    return int(database.execute(query, {"key": COMMITTED_KEY}).fetchone()[0] or 0)


def _put(copy: _Copy, fresh: list[JournalContents]) -> None:
    database, taken = copy.database, copy.taken
    database.execute("BEGIN")
    mark = "INSERT OR IGNORE INTO meta (key, value) SELECT :key, ifnull(max(id), 0) FROM episodes"
    database.execute(mark, {"key": COMMITTED_KEY})
    streams = {journal.path: enter_stream(database, journal) for journal in fresh}
    new = [_behind(journal, taken.get(journal.path)) for journal in fresh]
    rows = ((*streams[journal.path], seq, body) for journal, seq, body in in_order(new))
    add_records(
        database, ((key, seq, body) for key, last_seq, seq, body in rows if seq > last_seq), PendingSteps(database).add
    )
    database.execute("COMMIT")
    for journal in fresh:
        own = _Taken(journal.first_seq, journal.last_seq, len(journal.bodies), journal.ended is not None)
        taken[journal.path] = own


def _behind(journal: JournalContents, before: _Taken | None) -> JournalContents:
    """The part of a journal behind what it had before."""
    if before is None:
        return journal
    return replace(journal, first_seq=before.last_seq + 1, bodies=journal.bodies[before.bodies :])


def _last_seq(database: sqlite3.Connection, journal: JournalContents) -> int | None:
    """The last record of a journal's stream that is in the index; None where the index does not know the stream."""
    row = database.execute(_KNOWN, {"stream": journal.stream.stream.hex()}).fetchone()
    return None if row is None else row[1]


def _adds(database: sqlite3.Connection, journal: JournalContents) -> bool:
    """Whether a journal has anything that the index does not have."""
    last_seq = _last_seq(database, journal)
    return last_seq is None or (bool(journal.bodies) and journal.last_seq > last_seq)


def _waits_since(database: sqlite3.Connection, journal: JournalContents) -> float:
    """When the first episode ended that is in a journal and not in the index; infinity without any."""
    last_seq = _last_seq(database, journal) or 0
    new = (end_of(body) for seq, body in numbered(journal.first_seq, journal.bodies) if seq > last_seq)
    return next(filter(math.isfinite, new), math.inf)
