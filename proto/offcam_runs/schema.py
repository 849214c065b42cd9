"""The index's tables as plain SQL: how they are made, and how those of an older version become those of this one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from offcam_proto.errors import RunFormatTooNew
from offcam_runs import format as fmt

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

# Streams that overlap in time are one session. A stream that was never closed counts by its start alone.
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

# The rules by which videos are kept, and the state of each judge; and the episodes that it has judged, or will judge
# once their videos are whole. A clip that waits for that has its encoder's result in ``waits``, as JSON.
_RULES: Final = (
    """
    CREATE TABLE rules (
        id      INTEGER PRIMARY KEY,
        session INTEGER NOT NULL,
        prefix  TEXT NOT NULL,
        rule    TEXT NOT NULL,
        bytes   INTEGER NOT NULL DEFAULT 0,
        state   TEXT NOT NULL DEFAULT '{}',
        let_go  INTEGER NOT NULL DEFAULT 0,
        UNIQUE (session, prefix, rule)
    )
    """,
    """
    CREATE TABLE judged (
        stream_id INTEGER NOT NULL REFERENCES streams (id),
        name      TEXT NOT NULL,
        return    REAL,
        length    INTEGER NOT NULL,
        tests     INTEGER NOT NULL,
        over      INTEGER NOT NULL,
        rule_id   INTEGER REFERENCES rules (id),
        number    INTEGER,
        reason    TEXT,
        fixed     INTEGER,
        PRIMARY KEY (stream_id, name)
    )
    """,
    "CREATE INDEX judged_by_number ON judged (rule_id, number)",
    "ALTER TABLE clips ADD COLUMN rule_id INTEGER REFERENCES rules (id)",
    "ALTER TABLE clips ADD COLUMN keep_number INTEGER",
    "ALTER TABLE clips ADD COLUMN keep_reason TEXT",
    "ALTER TABLE clips ADD COLUMN waits TEXT",
    "CREATE INDEX clips_by_rule ON clips (rule_id, keep_number) WHERE rule_id IS NOT NULL",
    "CREATE INDEX clips_by_name ON clips (stream_id, name)",
)

# Where the blocks of steps lie, and which rows are in none. From block to block of one table and one group of
# sub-environments, numbers of episodes never decrease: so an episode is found by the last one of each block.
_STEPS: Final = (
    "ALTER TABLE clips ADD COLUMN first_row INTEGER",
    "ALTER TABLE streams ADD COLUMN steps_limit INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE streams ADD COLUMN replays TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE clips ADD COLUMN diverged_at INTEGER",
    "ALTER TABLE clips ADD COLUMN diverged_why TEXT",
    "ALTER TABLE clips ADD COLUMN tile_rows INTEGER",
    "ALTER TABLE clips ADD COLUMN tile_cols INTEGER",
    "ALTER TABLE judged ADD COLUMN video TEXT",
    "ALTER TABLE judged ADD COLUMN made INTEGER NOT NULL DEFAULT 0",
    """
    CREATE INDEX judged_to_render ON judged (stream_id, number)
    WHERE video IS NOT NULL AND reason IS NOT NULL AND made = 0
    """,
    """
    CREATE TABLE step_blocks (
        stream_id     INTEGER NOT NULL REFERENCES streams (id),
        seq           INTEGER NOT NULL,
        kind          INTEGER NOT NULL,
        env_index     INTEGER NOT NULL,
        envs          INTEGER NOT NULL,
        first_row     INTEGER NOT NULL,
        rows          INTEGER NOT NULL,
        first_episode INTEGER NOT NULL,
        last_episode  INTEGER NOT NULL,
        file          INTEGER,
        offset        INTEGER NOT NULL,
        bytes         INTEGER NOT NULL,
        PRIMARY KEY (stream_id, seq)
    )
    """,
    "CREATE UNIQUE INDEX step_blocks_by_row ON step_blocks (stream_id, kind, env_index, first_row)",
    "CREATE INDEX step_blocks_by_episode ON step_blocks (stream_id, kind, last_episode, first_episode)",
    """
    CREATE TABLE dropped_steps (
        stream_id     INTEGER NOT NULL REFERENCES streams (id),
        kind          INTEGER NOT NULL,
        env_index     INTEGER NOT NULL,
        envs          INTEGER NOT NULL,
        first_row     INTEGER NOT NULL,
        rows          INTEGER NOT NULL,
        first_episode INTEGER NOT NULL,
        last_episode  INTEGER NOT NULL,
        reason        TEXT NOT NULL,
        PRIMARY KEY (stream_id, kind, env_index, first_row)
    )
    """,
)

_OPEN: Final = f"((state = '{fmt.LIVE}' AND stream NOT IN (SELECT value FROM json_each(:gone))) OR ended > :since)"  # noqa: S608 - of our own words
_USED: Final = "(last_seq > 0 OR EXISTS (SELECT 1 FROM clips WHERE stream_id = streams.id))"

SESSION_OF: Final = f"""
coalesce(
    (SELECT session FROM streams WHERE stream = :replays),
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
"""SQL of the session that a new stream is in: the first of these that there is.

That of the stream that it replays. The last session, if the stream resumes that. The session of its training, unless
all streams of that are over and one with this prefix has recorded something, as where a cell of a notebook is run
again. The session of what is open. Else a new one.
``:gone`` is a JSON list of live streams whose clients are gone. ``:since`` is a time (or NULL): a stream that was
closed later than that counts as open.
"""


def id_text(given: bytes) -> str:
    """An id as the index has it: hexadecimal digits; empty where the id is not known."""
    return given.hex() if any(given) else ""


_UPGRADES: Final[Mapping[int, tuple[str, ...]]] = {
    0: (*_TABLES, f"PRAGMA application_id = {fmt.APPLICATION_ID}"),
    1: (
        *_SESSIONS,
        "ALTER TABLE clips ADD COLUMN envs TEXT NOT NULL DEFAULT '[]'",
        "ALTER TABLE episodes ADD COLUMN info TEXT",
    ),
    2: _RULES,
    3: _STEPS,
    4: (
        "ALTER TABLE clips ADD COLUMN place TEXT",
        "ALTER TABLE clips ADD COLUMN unended TEXT NOT NULL DEFAULT ''",
    ),
}
"""By version: the statements that turn an index of that version into the next one. Version 0 is an empty database."""


def upgrade_sql(version: int, folder: str) -> tuple[str, ...]:
    """Statements that bring an index up to `fmt.FORMAT_VERSION`, to be run in order in one transaction.

    Args:
        version: the ``user_version`` found in the index, 0 for an empty database.
        folder: the run folder, for the error's message.

    Returns:
        The statements; none where the index is up to date.

    Raises:
        RunFormatTooNew: a newer offcam wrote it.
    """
    if version > fmt.FORMAT_VERSION:
        raise RunFormatTooNew(
            f"{folder} has run-folder format {version}, this offcam knows formats up to {fmt.FORMAT_VERSION}: "
            "upgrade offcam (pip install -U offcam) to open it"
        )
    if version == fmt.FORMAT_VERSION:
        return ()
    steps = [statement for old in range(version, fmt.FORMAT_VERSION) for statement in _UPGRADES[old]]
    return (*steps, f"PRAGMA user_version = {fmt.FORMAT_VERSION}")
