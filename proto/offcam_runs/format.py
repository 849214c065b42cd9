"""What a run folder holds: names, states, drop reasons, accounting, and the index's tables as plain SQL.

The daemon writes by it and every reader reads by it; ``proto/FORMAT.md`` is its specification. Nothing here
opens a file or a database.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from offcam_proto.errors import LimitExceeded, LocalProtocolError, MalformedMessage, RunFormatTooNew

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

FORMAT_VERSION: Final = 2
"""Version of the run folder's format, kept in the index's ``user_version``."""

APPLICATION_ID: Final = 0x6F66636D
"""The index's ``application_id``, "ofcm": tells offcam's index from any other SQLite file."""

INDEX_NAME: Final = "offcam.sqlite3"
"""File name of the index."""

INDEX_COMPANIONS: Final = ("-wal", "-shm", "-journal")
"""What SQLite may append to the index's name: files that belong to it while it is written."""

LOCK_NAME: Final = "offcam.lock"
"""File that whoever writes the folder holds a ``flock`` on. Left by one that died it means nothing."""

PENDING_NAME: Final = "offcam.pending"
"""Folder within the run folder that holds the clients' journals, of records that are not in the index yet."""

JOURNAL_EXTENSION: Final = ".rec"
"""Appended to a stream's id in hexadecimal digits: the name of its journal."""

TOTALS_KEY: Final = "totals"
"""Followed by a colon and a stream's id: the key in ``meta`` of the totals of its episodes up to one of them."""

VIDEO_EXTENSION: Final = ".mp4"
PART_EXTENSION: Final = ".part"
"""Appended to a video's file name while it is being written."""

PLAIN_EXTENSION: Final = ".plain"
"""Appended to that for the copy that takes its place; one that lies about was left by a crash and is of no use."""

# --- closed sets ------------------------------------------------------------------------------------------

RECORDING: Final = "recording"
FINAL: Final = "final"
RECOVERED: Final = "recovered"
ABORTED: Final = "aborted"
REPLACED: Final = "replaced"
CLIP_STATES: Final = (RECORDING, FINAL, RECOVERED, ABORTED, REPLACED)
"""States of a clip; all but the first mean that it has ended."""

LIVE: Final = "live"
CLOSED: Final = "closed"
LOST: Final = "lost"
STREAM_STATES: Final = (LIVE, CLOSED, LOST)
"""States of a stream: sending, ended by its client, ended because its client vanished."""

CLIENT_DROPS: Final = ("no_daemon", "credit", "timeout", "invalid")
"""Why a client never sent a frame: no connection, daemon behind, blocked too long, no picture in it."""

ENCODER_DROPS: Final = ("disk_full", "io", "encoder", "frame", "order", "shutdown")
"""Why a daemon could not encode a frame it received; the reasons of `errors.EncodeError`."""

LOST_DROP: Final = "lost"
"""Sent but never received: the daemon died or the connection broke. Never counted, always derived."""

DROP_REASONS: Final = (*CLIENT_DROPS, *ENCODER_DROPS, LOST_DROP)
"""Every reason for which a frame is not in its video."""

# --- names ------------------------------------------------------------------------------------------------


def video_file(name: str, suffix: int = 0, part: int = 1) -> str:
    """File name of a clip: ``rl-video-episode-0.mp4``, ``rl-video-episode-0-s2-part3.mp4``.

    Args:
        name: video name as the client gave it, at most `limits.MAX_NAME_BYTES` of UTF-8.
        suffix: number of its stream among live ones with the same names, 0 for the first.
        part: 1, or higher for the later parts of one video.

    Returns:
        A name that, with `PART_EXTENSION`, fits NAME_MAX (255 bytes) for every suffix and part of the wire.
    """
    stream = f"-s{suffix}" if suffix else ""
    later = f"-part{part}" if part > 1 else ""
    return f"{name}{stream}{later}{VIDEO_EXTENSION}"


# --- numbers ----------------------------------------------------------------------------------------------


def real_from_sql(value: float | None) -> float:
    """Read a REAL column back: SQLite keeps the infinities but stores NaN as NULL, so NULL is NaN."""
    return math.nan if value is None else float(value)


def json_number(value: float | None) -> float | None:
    """A number as JSON has it: None (null) for NaN and the infinities."""
    return value if value is not None and math.isfinite(value) else None


def values_text(values: Mapping[str, float]) -> str | None:
    """An episode's values as the index has them: a JSON object, NULL for none.

    JSON has no infinities; 9e999 is read as one, by SQLite, too.
    """
    if not values:
        return None
    pairs = (f"{json.dumps(name)}: {_number(value)}" for name, value in values.items() if not math.isnan(value))
    return f"{{{', '.join(pairs)}}}"


def _number(value: float) -> str:
    return repr(value) if math.isfinite(value) else "9e999" if value > 0 else "-9e999"


# --- accounting -------------------------------------------------------------------------------------------

MAX_CLIP_FRAMES: Final = 2**53
"""Most frames a clip can claim: JSON's largest exact integer, far enough from SQLite's for sums."""


@dataclass(frozen=True, slots=True)
class ClientShare:
    """What the client says of a clip's frames (from its `records.ClipRecord`).

    Attributes:
        offered: frames the wrapper captured.
        dropped: frames never sent, by one of `CLIENT_DROPS`.

    Raises:
        MalformedMessage: a reason that is none of a client's.
        LimitExceeded: more frames than `MAX_CLIP_FRAMES`.
    """

    offered: int = 0
    dropped: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        unknown = sorted(set(self.dropped).difference(CLIENT_DROPS))
        if unknown:
            raise MalformedMessage(f"a client drops frames for one of {CLIENT_DROPS}, got {unknown}")
        if max(self.offered, sum(self.dropped.values())) > MAX_CLIP_FRAMES:
            raise LimitExceeded(f"a clip has at most {MAX_CLIP_FRAMES} frames, got {self}")


@dataclass(frozen=True, slots=True)
class EncoderShare:
    """What the daemon says of a clip's frames.

    Attributes:
        encoded: frames in the file.
        dropped: frames received and not encoded, by one of `ENCODER_DROPS`.

    Raises:
        LocalProtocolError: a reason that is none of the encoder's.
    """

    encoded: int = 0
    dropped: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        unknown = sorted(set(self.dropped).difference(ENCODER_DROPS))
        if unknown:
            raise LocalProtocolError(f"the encoder drops frames for one of {ENCODER_DROPS}, got {unknown}")

    @property
    def received(self) -> int:
        """Frames that reached the daemon."""
        return self.encoded + sum(self.dropped.values())


@dataclass(frozen=True, slots=True)
class FrameCount:
    """Where a clip's frames went. For an ended clip ``offered == encoded + sum(dropped.values())``."""

    offered: int
    received: int
    encoded: int
    dropped: dict[str, int]

    @property
    def balanced(self) -> bool:
        """Whether every offered frame is accounted for, exactly once."""
        return self.offered == self.encoded + sum(self.dropped.values())

    def client_share(self) -> ClientShare:
        """The client's half back again."""
        return ClientShare(self.offered, _only(self.dropped, CLIENT_DROPS))

    def encoder_share(self) -> EncoderShare:
        """The daemon's half back again."""
        return EncoderShare(self.encoded, _only(self.dropped, ENCODER_DROPS))


def account(client: ClientShare | None, encoder: EncoderShare | None) -> FrameCount:
    """Put the two halves of a clip's account together; either may still be missing.

    What was sent and not received is ``lost``. Without the client's half (it was killed) the frames that
    were received count as offered: no more is known. Without the daemon's half (it is still encoding) the
    count does not balance yet. A client that says it sent fewer than were received is not believed.
    """
    ours = encoder or EncoderShare()
    theirs = client or ClientShare(ours.received)
    unsent = sum(theirs.dropped.values())
    offered = max(theirs.offered, unsent + ours.received)
    lost = offered - unsent - ours.received if encoder else 0
    counts = {**theirs.dropped, **ours.dropped, LOST_DROP: lost}
    dropped = {reason: counts[reason] for reason in DROP_REASONS if counts.get(reason)}
    return FrameCount(offered, ours.received, ours.encoded, dropped)


def _only(counts: Mapping[str, int], reasons: Iterable[str]) -> dict[str, int]:
    return {reason: counts[reason] for reason in reasons if reason in counts}


# --- tables -----------------------------------------------------------------------------------------------

_TABLES: Final = (
    """
    CREATE TABLE meta (
        key   TEXT PRIMARY KEY,
        value TEXT NOT NULL
    )
    """,
    """
    CREATE TABLE streams (
        id       INTEGER PRIMARY KEY,
        stream   TEXT NOT NULL UNIQUE,
        env_id   TEXT NOT NULL,
        num_envs INTEGER NOT NULL,
        vector   INTEGER NOT NULL,
        prefix   TEXT NOT NULL,
        suffix   INTEGER NOT NULL,
        video    INTEGER NOT NULL,
        host     TEXT NOT NULL,
        pid      INTEGER NOT NULL,
        client   TEXT NOT NULL,
        started  REAL,
        ended    REAL,
        last_seq INTEGER NOT NULL DEFAULT 0,
        state    TEXT NOT NULL
    )
    """,
    # seed has no type (BLOB affinity), so that a seed kept as text is not turned into a number
    """
    CREATE TABLE episodes (
        id         INTEGER PRIMARY KEY,
        stream_id  INTEGER NOT NULL REFERENCES streams (id),
        seq        INTEGER NOT NULL,
        env_index  INTEGER NOT NULL,
        episode    INTEGER NOT NULL,
        return     REAL,
        length     INTEGER NOT NULL,
        duration   REAL,
        started    REAL,
        terminated INTEGER NOT NULL,
        truncated  INTEGER NOT NULL,
        seed       BLOB,
        UNIQUE (stream_id, seq)
    )
    """,
    "CREATE INDEX episodes_by_number ON episodes (stream_id, episode)",
    "CREATE INDEX episodes_by_return ON episodes (return)",
    "CREATE INDEX episodes_by_length ON episodes (length)",
    """
    CREATE TABLE clips (
        stream_id      INTEGER NOT NULL REFERENCES streams (id),
        clip           INTEGER NOT NULL,
        name           TEXT NOT NULL,
        part           INTEGER NOT NULL,
        file           TEXT,
        state          TEXT NOT NULL,
        fps            REAL,
        width          INTEGER,
        height         INTEGER,
        episode        INTEGER NOT NULL,
        step           INTEGER NOT NULL,
        steps          INTEGER,
        return         REAL,
        offered        INTEGER NOT NULL DEFAULT 0,
        received       INTEGER NOT NULL DEFAULT 0,
        encoded        INTEGER NOT NULL DEFAULT 0,
        dropped        TEXT NOT NULL DEFAULT '{}',
        complete       INTEGER,
        file_bytes     INTEGER,
        duration       REAL,
        encode_seconds REAL,
        started        REAL,
        ended          REAL,
        error          TEXT,
        PRIMARY KEY (stream_id, clip)
    )
    """,
    "CREATE INDEX clips_by_file ON clips (file)",
    """
    CREATE TABLE quarantine (
        stream_id INTEGER NOT NULL REFERENCES streams (id),
        seq       INTEGER NOT NULL,
        body      BLOB NOT NULL,
        reason    TEXT NOT NULL,
        PRIMARY KEY (stream_id, seq)
    )
    """,
)

# Streams that overlap in time are one session. One that was never closed counts by its start.
_SESSIONS: Final = (
    "ALTER TABLE streams ADD COLUMN training TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE streams ADD COLUMN session INTEGER NOT NULL DEFAULT 1",
    """
    CREATE TEMP TABLE numbered AS
    WITH apart AS (
        SELECT id, started, started > max(coalesce(ended, started)) OVER (
            ORDER BY started, id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
        ) AS new FROM streams
    )
    SELECT id, 1 + sum(coalesce(new, 0)) OVER (ORDER BY started, id) AS session FROM apart
    """,
    "CREATE UNIQUE INDEX temp.numbered_by_id ON numbered (id)",
    "UPDATE streams SET session = (SELECT session FROM numbered WHERE numbered.id = streams.id)",
    "DROP TABLE temp.numbered",
)

_OPEN: Final = f"((state = '{LIVE}' AND stream NOT IN (SELECT value FROM json_each(:gone))) OR ended > :since)"  # noqa: S608 - of our own words
_USED: Final = "(last_seq > 0 OR EXISTS (SELECT 1 FROM clips WHERE stream_id = streams.id))"

SESSION_OF: Final = f"""
coalesce(
    (SELECT max(session) FROM streams WHERE :resumes),
    (
        SELECT session FROM streams AS own WHERE training = :training AND training != '' AND (
            EXISTS (SELECT 1 FROM streams WHERE session = own.session AND {_OPEN})
            OR NOT EXISTS (SELECT 1 FROM streams WHERE session = own.session AND prefix = :prefix AND {_USED})
        ) ORDER BY session DESC LIMIT 1
    ),
    (SELECT max(session) FROM streams WHERE {_OPEN}),
    (SELECT max(session) + 1 FROM streams),
    1
)
"""  # noqa: S608 - of our own words
"""SQL of the session that a new stream is in.

It is the last one where it resumes that. Else it is that of its training, unless all of that is over and had such a
stream that recorded something, as where a cell of a notebook is run again; else that of what is open; else a new one.
``:gone`` is a JSON list of live streams whose clients are gone, and ``:since`` a time (or NULL) after which one that is
closed was open none the less.
"""


def training_text(training: bytes) -> str:
    """A training's id as the index has it: hexadecimal digits, nothing where it is not known."""
    return training.hex() if any(training) else ""


_UPGRADES: Final[Mapping[int, tuple[str, ...]]] = {
    0: (*_TABLES, f"PRAGMA application_id = {APPLICATION_ID}"),
    1: (
        *_SESSIONS,
        "ALTER TABLE clips ADD COLUMN envs TEXT NOT NULL DEFAULT '[]'",
        "ALTER TABLE episodes ADD COLUMN info TEXT",
    ),
}
"""By version: what turns an index of that version into one of the next. Version 0 is an empty database."""


def upgrade_sql(version: int, folder: str) -> tuple[str, ...]:
    """Statements that bring an index up to `FORMAT_VERSION`, to be run in order in one transaction.

    Args:
        version: the ``user_version`` found in the index, 0 for an empty database.
        folder: the run folder, for the error's message.

    Returns:
        The statements; none where the index is up to date.

    Raises:
        RunFormatTooNew: a newer offcam wrote it.
    """
    if version > FORMAT_VERSION:
        raise RunFormatTooNew(
            f"{folder} has run-folder format {version}, this offcam knows formats up to {FORMAT_VERSION}: "
            "upgrade offcam (pip install -U offcam) to open it"
        )
    if version == FORMAT_VERSION:
        return ()
    steps = [statement for old in range(version, FORMAT_VERSION) for statement in _UPGRADES[old]]
    return (*steps, f"PRAGMA user_version = {FORMAT_VERSION}")
