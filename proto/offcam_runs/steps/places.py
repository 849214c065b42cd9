"""Where the index says that the blocks of a run's steps lie, and which rows are in no block."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final, NamedTuple

from offcam_proto.codec import pack_record, unpack_record
from offcam_proto.records import StepRecord
from offcam_runs.steps.blocks import layout_of
from offcam_runs.steps.layout import RESETS, STEPS

if TYPE_CHECKING:
    import sqlite3

ADD_BLOCK: Final = """
INSERT INTO step_blocks (stream_id, seq, kind, env_index, envs, first_row, rows, first_episode, last_episode, file,
    offset, bytes)
VALUES (:stream_id, :seq, :kind, :env_index, :envs, :first_row, :rows, :first_episode, :last_episode, :file, :offset,
    :bytes)
"""

_HAS = """
SELECT 1 FROM step_blocks
WHERE stream_id = :stream_id AND kind = :kind AND env_index = :env_index AND first_row = :first_row
UNION ALL
SELECT 1 FROM dropped_steps
WHERE stream_id = :stream_id AND kind = :kind AND env_index = :env_index AND first_row <= :first_row
    AND first_row + rows > :first_row
"""

# This table exists only in a reader's copy of the index: pending records are in no file.
_BODIES = (
    "CREATE TABLE IF NOT EXISTS step_bodies (stream_id INTEGER, seq INTEGER, body BLOB, PRIMARY KEY (stream_id, seq))"
)
_ADD_BODY = "INSERT INTO step_bodies (stream_id, seq, body) VALUES (:stream_id, :seq, :body)"
_BODY = "SELECT body FROM step_bodies WHERE stream_id = :stream_id AND seq = :seq"

_PLACES = """
SELECT stream_id, stream, seq, kind, env_index, envs, first_row, rows, first_episode, last_episode, file, offset, bytes
FROM main.step_blocks JOIN main.streams ON id = stream_id
"""
_DROPPED = "SELECT first_row, rows, reason FROM main.dropped_steps"
# The blocks of one table of a stream that have rows of one sub-environment.
_OF_ENV = (
    "WHERE stream_id = :key AND kind = :kind AND env_index <= :env_index AND env_index + max(envs, 1) > :env_index"
)
_OF_EPISODE = "AND first_episode <= :episode AND last_episode >= :episode"
_OF_ROWS = "AND first_row < :behind AND first_row + rows > :first_row"
_BEFORE = f"SELECT max(first_row + rows) FROM main.{{0}} {_OF_ENV} AND first_row < :first_row"  # noqa: S608 - of our own words
_BEHIND = f"SELECT min(first_row) FROM main.{{0}} {_OF_ENV} AND first_row > :first_row"  # noqa: S608 - as above
_BOTH = ("step_blocks", "dropped_steps")

_TOTALS = f"""
SELECT ifnull(sum(kind = {STEPS}), 0), ifnull(sum((kind = {STEPS}) * rows * max(envs, 1)), 0), ifnull(sum(bytes), 0)
FROM main.step_blocks WHERE stream_id IN (SELECT id FROM streams)
"""  # noqa: S608 - of our own numbers
_DROPPED_TOTALS = f"""
SELECT reason, sum(rows * max(envs, 1)) FROM main.dropped_steps
WHERE kind = {STEPS} AND stream_id IN (SELECT id FROM streams) GROUP BY reason ORDER BY reason
"""  # noqa: S608 - as above

_TAPED = (
    f"SELECT EXISTS (SELECT 1 FROM main.step_blocks WHERE kind = {RESETS} AND stream_id IN (SELECT id FROM streams))"  # noqa: S608 - as above
)


class Place(NamedTuple):
    """Where a block is.

    Attributes:
        key: of its stream in the index.
        stream: id of that stream, 32 hexadecimal digits.
        seq: number of its record.
        kind: its table, of `layout.TABLES`.
        env_index: the first sub-environment that it tells of.
        envs: how many sub-environments it tells of; 0 for a single env.
        first_row: number of its first row.
        rows: how many rows it has.
        first_episode: smallest number of an episode in its rows.
        last_episode: largest number of an episode in its rows.
        file: number of its file; None where it is pending, in a copy of the index.
        offset: where its frame begins in the file.
        bytes: size of the frame.
    """

    key: int
    stream: str
    seq: int
    kind: int
    env_index: int
    envs: int
    first_row: int
    rows: int
    first_episode: int
    last_episode: int
    file: int | None
    offset: int
    bytes: int


class Gap(NamedTuple):
    """Rows that are missing.

    Attributes:
        first_row: number of the first one.
        rows: how many.
        reason: ``lost`` (they never came), ``limit``, ``disk_full`` or ``io`` (the daemon was not to, or could not,
            write them), or in words what is wrong with their file.
    """

    first_row: int
    rows: int
    reason: str


class StepTotals(NamedTuple):
    """How many steps of a run are recorded.

    Attributes:
        blocks: blocks of the table of steps.
        rows: rows in these; a row of a vector env counts once for each sub-environment.
        bytes: size of the blocks of all tables on the disk, including what replays need.
        dropped: rows that were not written, by reason.
    """

    blocks: int
    rows: int
    bytes: int
    dropped: Mapping[str, int]


def facts_of(key: int, seq: int, record: StepRecord) -> dict[str, object]:
    """A record's row in the index, except where the record lies.

    Raises:
        MalformedMessage: its bytes are not the rows of its layout.
    """
    return {
        "stream_id": key,
        "seq": seq,
        "kind": record.table,
        "env_index": record.env_index,
        "envs": layout_of(record).envs,
        "first_row": record.first_row,
        "rows": record.count,
        "first_episode": record.first_episode,
        "last_episode": record.last_episode,
    }


def has_rows(database: sqlite3.Connection, facts: Mapping[str, object]) -> bool:
    """Whether the index has a record's rows, or has dropped them: they may be sent again under another number."""
    return database.execute(_HAS, facts).fetchone() is not None


class PendingSteps:
    """Enters records of steps that are in no file yet into a reader's copy of the index, which keeps them whole."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._db = database

    def add(self, key: int, seq: int, record: StepRecord) -> None:
        """Enter one record, in the caller's transaction. MalformedMessage where its bytes are not rows."""
        facts = facts_of(key, seq, record)
        if has_rows(self._db, facts):
            return
        body = pack_record(record)
        self._db.execute(_BODIES)
        self._db.execute(ADD_BLOCK, {**facts, "file": None, "offset": 0, "bytes": len(body)})
        self._db.execute(_ADD_BODY, {"stream_id": key, "seq": seq, "body": body})


def pending_record(database: sqlite3.Connection, place: Place) -> StepRecord | None:
    """The record of a place without a file."""
    row = database.execute(_BODY, {"stream_id": place.key, "seq": place.seq}).fetchone()
    record = unpack_record(row[0]) if row else None
    return record if isinstance(record, StepRecord) else None


def totals(database: sqlite3.Connection) -> StepTotals:
    """Totals of the steps of the streams that an open index shows."""
    blocks, rows, size = database.execute(_TOTALS).fetchone()
    return StepTotals(blocks, rows, size, dict(database.execute(_DROPPED_TOTALS).fetchall()))


def places(
    database: sqlite3.Connection,
    key: int,
    kind: int,
    env_index: int,
    *,
    episode: int | None = None,
    rows: tuple[int, int] | None = None,
) -> Iterator[Place]:
    """The blocks of a sub-environment in the order of their rows: all, those that may have rows of an episode, or those
    that have any of the rows from the first of two numbers on, up to the second.
    """  # noqa: D205 - it is one sentence
    query, values = _query(key, kind, env_index, episode, rows)
    return map(Place._make, database.execute(f"{_PLACES} {query} ORDER BY first_row", values))


def all_places(database: sqlite3.Connection, key: int, kind: int) -> Iterator[Place]:
    """All blocks of a stream's table, of all its sub-environments, in the order of their rows."""
    query = f"{_PLACES} WHERE stream_id = :key AND kind = :kind ORDER BY first_row, env_index"
    return map(Place._make, database.execute(query, {"key": key, "kind": kind}))


def dropped(
    database: sqlite3.Connection,
    key: int,
    kind: int,
    env_index: int,
    *,
    episode: int | None = None,
    rows: tuple[int, int] | None = None,
) -> list[Gap]:
    """Rows that the daemon did not write; ``episode`` and ``rows`` choose among them as in `places`."""
    query, values = _query(key, kind, env_index, episode, rows)
    return [Gap(*row) for row in database.execute(f"{_DROPPED} {query} ORDER BY first_row", values)]


def has_tape(database: sqlite3.Connection) -> bool:
    """Whether episodes of an open index, of the streams that it shows, were recorded so that they can be rendered."""
    return bool(database.execute(_TAPED).fetchone()[0])


def why_no_tape(database: sqlite3.Connection, key: int, env_index: int, episode: int, *, over: bool) -> str | None:
    """Why an episode that has ended cannot be rendered, as far as the index knows; None where it can.

    Of a stream that goes on the last rows are in its tail, where who renders finds them.

    Args:
        database: from `database.open_to_read`.
        key: of its stream.
        env_index: its sub-environment.
        episode: its number there.
        over: whether its stream has ended.
    """
    if next(places(database, key, RESETS, env_index), None) is None:
        return "it was not recorded with source='replay': nothing says how it happens again"
    if gaps := dropped(database, key, STEPS, env_index, episode=episode):
        return f"{sum(gap.rows for gap in gaps)} of its steps were not written ({gaps[0].reason})"
    there = [place for place in places(database, key, STEPS, env_index) if place.last_episode >= episode]
    if there[0].first_episode > episode if there else over:
        return "its steps are not in the run folder: they are lost, or were not recorded"
    return None


def _query(
    key: int, kind: int, env_index: int, episode: int | None, rows: tuple[int, int] | None
) -> tuple[str, dict[str, object]]:
    values: dict[str, object] = {"key": key, "kind": kind, "env_index": env_index}
    if episode is not None:
        return f"{_OF_ENV} {_OF_EPISODE}", {**values, "episode": episode}
    if rows is not None:
        return f"{_OF_ENV} {_OF_ROWS}", {**values, "first_row": rows[0], "behind": rows[1]}
    return _OF_ENV, values


def known_before(database: sqlite3.Connection, place: Place, env_index: int) -> int:
    """The row behind the last one before a block that the index knows, written or dropped; 0 where there is none."""
    return max(database.execute(_BEFORE.format(table), _at(place, env_index)).fetchone()[0] or 0 for table in _BOTH)


def known_behind(database: sqlite3.Connection, place: Place, env_index: int) -> int | None:
    """The first row behind a block that the index knows, written or dropped; None where there is none."""
    found = [database.execute(_BEHIND.format(table), _at(place, env_index)).fetchone()[0] for table in _BOTH]
    return min((row for row in found if row is not None), default=None)


def _at(place: Place, env_index: int) -> dict[str, object]:
    return {"key": place.key, "kind": place.kind, "env_index": env_index, "first_row": place.first_row}
