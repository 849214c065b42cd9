"""How records become rows: in the index, and in the copy of it that a reader puts pending records into."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from offcam_proto.codec import unpack_record
from offcam_proto.errors import RemoteProtocolError
from offcam_proto.records import ClipRecord, EpisodeColumns, EpisodeRecord, KeepRecord, StepRecord, count_records
from offcam_runs import format as fmt
from offcam_runs.accounts import ClientShare, EncoderShare, FrameCount, account
from offcam_runs.steps.blocks import layout_of
from offcam_runs.steps.layout import STEPS

if TYPE_CHECKING:
    import sqlite3


_ADD_EPISODE = """
INSERT INTO episodes
    (stream_id, seq, env_index, episode, return, length, duration, started, terminated, truncated, seed, info)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""

# A clip that no encoder has opened by now will never be opened, so it has ended without a file.
_ADD_CLIP_RECORD = """
INSERT INTO clips
    (stream_id, clip, name, part, fps, episode, step, steps, return, complete, started, state, first_row, diverged_at,
    diverged_why, unended)
VALUES
    (:stream_id, :clip, :name, :part, :fps, :episode, :step, :steps, :return_, :complete, :started, :state, :first_row,
    :diverged_at, :diverged_why, :unended)
ON CONFLICT (stream_id, clip) DO UPDATE SET
    steps = excluded.steps, return = excluded.return, complete = excluded.complete, first_row = excluded.first_row,
    diverged_at = excluded.diverged_at, diverged_why = excluded.diverged_why, unended = excluded.unended
"""

# The parts of one video are numbered in sequence, and what its end shows holds for all of them.
_ALL_DIVERGED = """
UPDATE clips SET diverged_at = :diverged_at, diverged_why = :diverged_why
WHERE stream_id = :stream_id AND name = :name AND clip < :clip AND clip > :clip - :part
"""

_SET_COUNTS = """
UPDATE clips SET offered = :offered, received = :received, encoded = :encoded, dropped = :dropped
WHERE stream_id = :stream_id AND clip = :clip
"""

# A clip that waits for a rule's verdict is encoded, though its state does not say so yet.
_CLIP_COUNTS = """
SELECT offered, received, encoded, dropped, complete, state != 'recording' OR waits IS NOT NULL FROM clips
WHERE stream_id = :stream_id AND clip = :clip
"""

# A verdict that is there already stays.
_ADD_JUDGED = """
INSERT INTO judged (stream_id, name, return, length, tests, over, video)
VALUES (:stream_id, :name, :return_, :length, :tests, :over, :video)
ON CONFLICT (stream_id, name) DO UPDATE SET
    return = excluded.return, length = excluded.length, tests = excluded.tests, over = excluded.over,
    video = excluded.video
WHERE number IS NULL
"""

_QUARANTINE = "INSERT INTO quarantine (stream_id, seq, body, reason) VALUES (:stream_id, :seq, :body, :reason)"


@dataclass(slots=True)
class NewRecords:
    """What `add_records` has added.

    Attributes:
        episodes: how many.
        clips: the records of clips, in order.
        quarantined: how many records are set aside because they could not be understood.
        lost: for each of the clips, the frames that its client sent and no daemon received, as far as is known; for a
            clip that had a record before, only the difference, which may be negative.
        dropped_steps: rows of the table of steps that were not written, by reason; those of sub-environments each
            counted.
        to_judge: stream key and record of each video that can be judged now, if its clips are whole.
    """

    episodes: int = 0
    clips: list[ClipRecord] = field(default_factory=list)
    quarantined: int = 0
    lost: list[int] = field(default_factory=list)
    dropped_steps: Counter[str] = field(default_factory=Counter)
    to_judge: list[tuple[int, KeepRecord]] = field(default_factory=list)


class Fields(dict[str, object]):
    """Named parameters of a statement: those that are given, and for all other names the fields of a record."""

    def __init__(self, record: object, **given: object) -> None:
        super().__init__(given)
        self._record = record

    def __missing__(self, name: str) -> object:
        return getattr(self._record, name)


AddSteps = Callable[[int, int, StepRecord], "str | None"]
"""Stores a record of steps so that its rows are found; takes the key of its stream and its number. Returns why the
record was dropped, None where it was not. Raises MalformedMessage where it is not a record of steps."""


def add_records(
    database: sqlite3.Connection, records: Iterable[tuple[int, int, bytes]], add_steps: AddSteps
) -> NewRecords:
    """Add records that the index does not have; one that cannot be understood goes to the quarantine table.

    The transaction is the caller's, and so are the streams' ``last_seq``.

    Args:
        database: an index of this version, open to be written.
        records: in order, of each body the key of its stream in ``streams``, the number of its first record, and the
            body.
        add_steps: stores the records of steps.
    """
    new = NewRecords()
    rows: list[tuple[object, ...]] = []
    for key, seq, body in records:
        _add_one(database, key, seq, body, new, rows, add_steps)
    database.executemany(_ADD_EPISODE, rows)
    new.episodes = len(rows)
    return new


def _add_one(
    database: sqlite3.Connection,
    key: int,
    seq: int,
    body: bytes,
    new: NewRecords,
    rows: list[tuple[object, ...]],
    add_steps: AddSteps,
) -> None:
    """Add one record, or many as columns; rows of episodes are put into ``rows``, to be inserted together."""
    try:
        record = unpack_record(body)
        if isinstance(record, EpisodeRecord):
            rows.append(_episode_row(key, seq, record))
        elif isinstance(record, EpisodeColumns):
            of_each = enumerate(record.rows(), seq)
            rows += [(key, number, *row, fmt.values_text(values)) for number, (*row, values) in of_each]
        elif isinstance(record, KeepRecord):
            database.execute(_ADD_JUDGED, Fields(record, stream_id=key, video=record.video or None))
            new.to_judge.append((key, record))
        elif isinstance(record, StepRecord):
            reason = add_steps(key, seq, record)
            if reason is not None and record.table == STEPS:
                new.dropped_steps[reason] += record.count * max(layout_of(record).envs, 1)
        else:
            new.lost.append(_add_clip_record(database, key, record))
            new.clips.append(record)
    except RemoteProtocolError as error:
        quarantine(database, key, seq, body, str(error))
        new.quarantined += count_records(body)


def quarantine(database: sqlite3.Connection, key: int, seq: int, body: bytes, reason: str) -> None:
    """Set a record aside, unread."""
    database.execute(_QUARANTINE, {"stream_id": key, "seq": seq, "body": body, "reason": reason})


def settle_clip(
    database: sqlite3.Connection,
    key: int,
    clip: int,
    client: ClientShare | None = None,
    encoder: EncoderShare | None = None,
) -> FrameCount:
    """Merge a clip's account from the half given and the half that its row may hold."""
    where = {"stream_id": key, "clip": clip}
    offered, received, encoded, dropped, complete, over = database.execute(_CLIP_COUNTS, where).fetchone()
    known = FrameCount(offered, received, encoded, json.loads(dropped))
    if client is None and complete is not None:
        client = known.client_share()
    if encoder is None and over:
        encoder = known.encoder_share()
    count = account(client, encoder)
    database.execute(_SET_COUNTS, Fields(count, dropped=json.dumps(count.dropped), **where))
    return count


def known_lost(database: sqlite3.Connection, key: int, clip: int) -> int | None:
    """Frames of a clip that are known to be lost; None where there is no such clip."""
    row = database.execute(_CLIP_COUNTS, {"stream_id": key, "clip": clip}).fetchone()
    return json.loads(row[3]).get(fmt.LOST_DROP, 0) if row else None


def _add_clip_record(database: sqlite3.Connection, key: int, record: ClipRecord) -> int:
    """Add a clip's account, or replace an earlier one. Returns how many more frames are known to be lost."""
    share = ClientShare(record.offered, record.dropped)
    before = known_lost(database, key, record.clip) or 0
    step, why = record.diverged or (None, None)
    row = Fields(record, stream_id=key, state=fmt.ABORTED, diverged_at=step, diverged_why=why)
    database.execute(_ADD_CLIP_RECORD, row)
    if record.diverged:
        database.execute(_ALL_DIVERGED, row)
    lost: int = settle_clip(database, key, record.clip, client=share).dropped.get(fmt.LOST_DROP, 0)
    return lost - before


def _episode_row(key: int, seq: int, record: EpisodeRecord) -> tuple[object, ...]:
    """An episode as `_ADD_EPISODE` takes it: by place, as that is what there is most of."""
    return (
        *(key, seq, record.env_index, record.episode, record.return_, record.length, record.duration),
        *(record.started, record.terminated, record.truncated, record.seed, fmt.values_text(record.info)),
    )
