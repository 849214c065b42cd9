"""Segments of a run's index, as they lie in object storage: small indexes that never change, written and put together.

A tail has the episodes and places of steps behind those of the tails before it. A head has the rest, as it was at one
moment, and says which tails there are. A head and its tails together are the index of that moment.
"""

from __future__ import annotations

import gzip
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from itertools import groupby
from typing import TYPE_CHECKING, Final, NamedTuple

from offcam_proto.errors import RunFolderError
from offcam_proto.limits import MIB
from offcam_runs import format as fmt
from offcam_runs.database import connect, format_version, upgrade

if TYPE_CHECKING:
    from pathlib import Path

MOST_EPISODES: Final = 50_000
"""Most episodes in a tail."""

MOST_STEPS: Final = 32 * MIB
"""Most bytes of steps that a tail tells of, unless one block is larger."""

MOST_SMALL_TAILS: Final = 32
"""Most small tails in a row: more are put together into one."""

SMALL_TAIL: Final = MIB
"""Bytes of a packed tail below which it is small."""

HEAD_KEY: Final = "head"
"""Key in ``meta``, of the copy of an index, of the head that it is of."""

_GROWING: Final = ("episodes", "step_blocks")
"""Tables to which rows are added, and nothing else is done. The others are in the head."""

_TAIL: Final = (*_GROWING, "parts")

_HEAD: Final = ("meta", "streams", "clips", "rules", "judged", "dropped_steps", "quarantine")
_OWN: Final = (
    "CREATE TABLE IF NOT EXISTS tails (number INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE)",
    """
    CREATE TABLE IF NOT EXISTS videos (
        stream TEXT NOT NULL, clip INTEGER NOT NULL, file TEXT NOT NULL, key TEXT NOT NULL, PRIMARY KEY (stream, clip)
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS parts (
        key TEXT PRIMARY KEY, stream TEXT NOT NULL, file INTEGER NOT NULL, offset INTEGER NOT NULL,
        bytes INTEGER NOT NULL
    )
    """,
)
"""Tables of a segment that an index has not: the keys of the tails, in order; of files of clips; of pieces of steps
files, which are in the tails."""

_ADD_TAIL: Final = "INSERT INTO tails (number, key) VALUES (:number, :key)"
_ADD_VIDEO: Final = "INSERT INTO videos (stream, clip, file, key) VALUES (:stream, :clip, :file, :key)"
_ADD_PART: Final = """
INSERT INTO parts (key, stream, file, offset, bytes) VALUES (:key, :stream, :file, :offset, :bytes)
"""
_SET_HEAD: Final = "INSERT OR REPLACE INTO meta (key, value) VALUES (:key, :value)"
_BLOCKS: Final = """
SELECT step_blocks.rowid, stream, file, offset, bytes FROM step_blocks JOIN streams ON streams.id = stream_id
WHERE step_blocks.rowid > :after AND file IS NOT NULL ORDER BY step_blocks.rowid
"""
_CLIPS: Final = f"""
SELECT stream, clip, file, file_bytes, clips.state IN {(fmt.FINAL, fmt.RECOVERED)}
FROM clips JOIN streams ON streams.id = stream_id
WHERE file IS NOT NULL AND clips.state NOT IN {(fmt.RECORDING, *fmt.HIDDEN_STATES)} ORDER BY clips.rowid
"""  # noqa: S608 - of our own words


# a file is written no more once there is a newer one of its stream, or the stream has ended
_WRITTEN: Final = """
SELECT stream, file, max(offset + bytes) FROM step_blocks AS own JOIN streams ON streams.id = stream_id
WHERE file IS NOT NULL GROUP BY stream_id, file
HAVING max(own.rowid) <= :last AND (
    streams.state != :live OR file < (SELECT max(file) FROM step_blocks AS each WHERE each.stream_id = own.stream_id)
)
ORDER BY max(own.rowid)
"""


class StepsPart(NamedTuple):
    """Some bytes of a steps file.

    Attributes:
        stream: id of the file's stream.
        file: its number in the stream.
        offset: where they begin.
        bytes: how many they are.
    """

    stream: str
    file: int
    offset: int
    bytes: int


class EndedVideo(NamedTuple):
    """The file of a clip that has ended.

    Attributes:
        stream: id of the clip's stream.
        clip: its number in the stream.
        file: name of the file.
        bytes: its size, as the index has it; None where it is not known.
        settled: whether it is whole, and no clip's any more that was cut off and may still go on.
    """

    stream: str
    clip: int
    file: str
    bytes: int | None
    settled: bool


class WrittenSteps(NamedTuple):
    """A file of steps to which nothing is added any more, unless its stream is opened again.

    Attributes:
        stream: id of its stream.
        file: its number in the stream.
        end: its size, by the index.
    """

    stream: str
    file: int
    end: int


class Reach(NamedTuple):
    """Up to where an index is in segments.

    Attributes:
        last_id: ``episodes.id``.
        last_block: row id in ``step_blocks``.
    """

    last_id: int
    last_block: int


# --- what is to be written ----------------------------------------------------------------------------------


def run_of(index: sqlite3.Connection) -> str:
    """What tells a run from any other: its id, and when its index was made."""
    found = dict(index.execute("SELECT key, value FROM meta WHERE key IN (:run, 'created')", {"run": fmt.RUN_KEY}))
    return " ".join(str(found.get(key, "-")) for key in (fmt.RUN_KEY, "created"))


def next_tail(index: sqlite3.Connection, after: Reach) -> tuple[Reach, list[StepsPart]]:
    """How far the next tail reaches, and the bytes of steps that it tells of."""
    bound = {"after": after.last_id, "most": MOST_EPISODES}
    query = "SELECT max(id) FROM (SELECT id FROM episodes WHERE id > :after ORDER BY id LIMIT :most)"
    last_id = index.execute(query, bound).fetchone()[0] or after.last_id
    last_block, size, spans = after.last_block, 0, dict[tuple[str, int], tuple[int, int]]()
    for row, stream, file, offset, length in index.execute(_BLOCKS, {"after": after.last_block}):
        if size and size + length > MOST_STEPS:
            break
        begin, end = spans.get((stream, file), (offset, offset))
        spans[stream, file] = min(begin, offset), max(end, offset + length)
        last_block, size = row, size + length
    parts = [StepsPart(*of, begin, end - begin) for of, (begin, end) in spans.items()]
    return Reach(int(last_id), int(last_block)), parts


def written_steps(index: sqlite3.Connection, last_block: int) -> list[WrittenSteps]:
    """The files of steps that are written no more and whose blocks are all in tails, by when they were written.

    Args:
        index: the run's.
        last_block: up to which row id of ``step_blocks`` blocks are in tails.
    """
    return [WrittenSteps(*row) for row in index.execute(_WRITTEN, {"last": last_block, "live": fmt.LIVE})]


def to_merge(tails: Sequence[str], sizes: Mapping[str, int]) -> tuple[int, int] | None:
    """Which tails are to become one: the place of the first, and the one behind the last; None where none are.

    Args:
        tails: keys of all tails, in order.
        sizes: by key, bytes of those that are in the storage.
    """
    small = [sizes.get(key, SMALL_TAIL) < SMALL_TAIL for key in tails]
    stretches = [
        [place for place, _ in group] for is_small, group in groupby(enumerate(small), lambda at: at[1]) if is_small
    ]
    longest = max(stretches, key=len, default=[])
    return (longest[0], longest[-1] + 1) if len(longest) > MOST_SMALL_TAILS else None


def ended_videos(index: sqlite3.Connection) -> list[EndedVideo]:
    """The files of all clips that have ended and that readers show, in order of opening."""
    return [
        EndedVideo(stream=stream, clip=clip, file=file, bytes=size, settled=bool(settled))
        for stream, clip, file, size, settled in index.execute(_CLIPS)
    ]


def write_tail(
    index: sqlite3.Connection, file: Path, after: Reach, reach: Reach, parts: Sequence[tuple[str, StepsPart]]
) -> None:
    """Write a tail.

    Args:
        index: the run's.
        file: of the segment, which is not there yet.
        after: behind which its rows are.
        reach: up to which they are.
        parts: the bytes of steps that it tells of, each with its key.
    """
    with _segment(file) as tail:
        _copy(index, tail, "episodes", "id > :after AND id <= :last", {"after": after.last_id, "last": reach.last_id})
        blocks = {"after": after.last_block, "last": reach.last_block}
        _copy(index, tail, "step_blocks", "rowid > :after AND rowid <= :last", blocks)
        tail.executemany(_ADD_PART, [{"key": key, **part._asdict()} for key, part in parts])


def merge_tails(tails: Sequence[Path], file: Path, folder: Path) -> None:
    """Write the tail that has the rows of several.

    Args:
        tails: their files, in order.
        file: of the new one, which is not there yet.
        folder: of the run, for errors.

    Raises:
        RunFormatTooNew: a newer offcam wrote one.
    """
    with _segment(file) as merged:
        for each in tails:
            with _segment_to_read(each, folder) as tail:
                _copy_tail(tail, merged)


def write_head(index: sqlite3.Connection, file: Path, *, whole: bool) -> None:
    """Write a head, without what `finish_head` puts into it.

    Args:
        index: the run's.
        file: of the segment, which is not there yet.
        whole: whether the tails have all; if not, totals of episodes are left out, which may count more of them.
    """
    with _segment(file) as head:
        for table in _HEAD:
            condition = "TRUE" if table != "clips" else f"state != '{fmt.RECORDING}'"
            if table == "meta" and not whole:
                condition = f"key NOT LIKE '{fmt.TOTALS_KEY}:%'"
            _copy(index, head, table, condition, {})


def finish_head(
    file: Path, tails: Sequence[str], videos: Sequence[tuple[str, EndedVideo]], later: Iterable[EndedVideo]
) -> None:
    """Complete a head.

    Args:
        file: what `write_head` wrote.
        tails: the keys of all tails, in order.
        videos: the files of clips that are there, each with its key.
        later: those that are not there yet: their clips are in a later head.
    """
    with closing(connect(file, "rw", unlocked=True)) as head:
        head.execute("BEGIN")
        gone = "DELETE FROM clips WHERE clip = :clip AND stream_id = (SELECT id FROM streams WHERE stream = :stream)"
        head.executemany(gone, [{"stream": each.stream, "clip": each.clip} for each in later])
        head.executemany(_ADD_TAIL, [{"number": number, "key": key} for number, key in enumerate(tails)])
        head.executemany(_ADD_VIDEO, [{"key": key, **each._asdict()} for key, each in videos])
        head.execute("COMMIT")


def packed(file: Path) -> bytes:
    """A segment as it lies in object storage."""
    return gzip.compress(file.read_bytes(), compresslevel=6, mtime=0)


def unpack(data: bytes, file: Path, where: str) -> None:
    """Write a segment into a file.

    Raises:
        RunFolderError: it is damaged, or is none. ``where`` is for the message.
    """
    try:
        file.write_bytes(gzip.decompress(data))
    except (OSError, EOFError) as error:
        raise RunFolderError(f"{where} is damaged ({error})") from error


# --- what was written ---------------------------------------------------------------------------------------


class Head(NamedTuple):
    """What a head says of what is in object storage.

    Attributes:
        run: as of `run_of`.
        key: in the copy of an index, the key of the head that it is of; empty in a head.
        tails: keys of the tails, in order.
        videos: by stream and number of the clip, the file's name and its key.
    """

    run: str = ""
    key: str = ""
    tails: tuple[str, ...] = ()
    videos: dict[tuple[str, int], tuple[str, str]] = {}  # noqa: RUF012 - nobody changes it


def read_head(file: Path) -> Head:
    """What a head says, or the copy of an index."""
    with closing(connect(file, "ro", unlocked=False)) as head:
        key = head.execute("SELECT max(value) FROM meta WHERE key = :key", {"key": HEAD_KEY}).fetchone()[0] or ""
        tails = tuple(key for (key,) in head.execute("SELECT key FROM tails ORDER BY number"))
        rows = head.execute("SELECT stream, clip, file, key FROM videos")
        return Head(run_of(head), key, tails, {(stream, clip): (name, key) for stream, clip, name, key in rows})


def parts_of(file: Path, stream: str, number: int) -> list[tuple[str, int, int]]:
    """By the copy of an index: key, offset and size of the pieces of a steps file, in order of their offsets."""
    query = "SELECT key, offset, bytes FROM parts WHERE stream = :stream AND file = :file ORDER BY offset, bytes"
    with closing(connect(file, "ro", unlocked=False)) as index:
        return list(index.execute(query, {"stream": stream, "file": number}))


def all_parts(tail: Path) -> list[tuple[str, StepsPart]]:
    """The bytes of steps that a tail tells of, each with its key."""
    with closing(connect(tail, "ro", unlocked=False)) as index:
        rows = index.execute("SELECT key, stream, file, offset, bytes FROM parts ORDER BY stream, file, offset, bytes")
        return [(key, StepsPart(*part)) for key, *part in rows]


def put_together(index: Path, head: Path, name: str, tails: Sequence[Path], *, anew: bool = False) -> None:
    """Bring an index to where a head is, in one transaction.

    Args:
        index: of the run's copy; made where it is not there.
        head: the head's file, which is upgraded if it is of an older version, as those of the tails are.
        name: the head's key.
        tails: files of the tails that the index has not yet, in order.
        anew: whether these are all of them, as others took the place of those that it has.

    Raises:
        RunFormatTooNew: a newer offcam wrote it.
    """
    folder = index.parent
    with closing(sqlite3.connect(index, isolation_level=None)) as whole:
        whole.execute("BEGIN IMMEDIATE")
        upgrade(whole, format_version(whole, folder), folder)
        _add_own(whole)
        if anew:
            for table in _TAIL:
                whole.execute(f"DELETE FROM {table}")  # noqa: S608 - of our own words
        for file in tails:
            with _segment_to_read(file, folder) as tail:
                _copy_tail(tail, whole)
        with _segment_to_read(head, folder) as found:
            for table in (*_HEAD, "tails", "videos"):
                whole.execute(f"DELETE FROM {table}")  # noqa: S608 - of our own words
                _copy(found, whole, table, "TRUE", {})
        whole.execute(_SET_HEAD, {"key": HEAD_KEY, "value": name})
        whole.execute("COMMIT")


@contextmanager
def _segment(file: Path) -> Iterator[sqlite3.Connection]:
    """A new segment to write, without rows."""
    with closing(sqlite3.connect(file, isolation_level=None)) as segment:
        segment.execute("PRAGMA page_size = 1024")  # most have few rows in each of their tables
        segment.execute("PRAGMA synchronous = OFF")
        segment.execute("BEGIN")
        upgrade(segment, 0, file)
        _add_own(segment)
        yield segment
        segment.execute("COMMIT")


@contextmanager
def _segment_to_read(file: Path, folder: Path) -> Iterator[sqlite3.Connection]:
    """A segment, upgraded to this version."""
    with closing(connect(file, "rw", unlocked=True)) as segment:
        segment.execute("BEGIN")
        upgrade(segment, format_version(segment, folder), folder)
        yield segment


def _add_own(database: sqlite3.Connection) -> None:
    for statement in _OWN:
        database.execute(statement)


def _copy_tail(tail: sqlite3.Connection, target: sqlite3.Connection) -> None:
    for table in _TAIL:
        _copy(tail, target, table, "TRUE", {})


def _copy(
    source: sqlite3.Connection, target: sqlite3.Connection, table: str, condition: str, values: dict[str, int]
) -> None:
    """Copy rows of a table that both have, in their order; a row that is there already is replaced."""
    rows = source.execute(f"SELECT * FROM {table} WHERE {condition} ORDER BY rowid", values)  # noqa: S608 - of our own words
    names = [column[0] for column in rows.description]
    places = ", ".join(f":{name}" for name in names)
    named = (dict(zip(names, row, strict=True)) for row in rows)
    target.executemany(f"INSERT OR REPLACE INTO {table} ({', '.join(names)}) VALUES ({places})", named)  # noqa: S608 - as above
