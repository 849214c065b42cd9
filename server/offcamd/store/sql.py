"""The statements by which `offcamd.store.index` writes an index; those for records are `offcam_runs.record_rows`'s."""

from __future__ import annotations

from typing import TYPE_CHECKING

from offcam_runs.schema import SESSION_OF

if TYPE_CHECKING:
    from collections.abc import Iterable

OPEN_STREAM = f"""
INSERT INTO streams
    (stream, env_id, num_envs, vector, prefix, suffix, video, host, pid, client, started, state, training, session,
    steps_limit, replays)
VALUES (:stream, :env_id, :num_envs, :vector, :prefix, :suffix, :video, :host, :pid, :client, :started, :state,
    :training, {SESSION_OF}, :steps_limit, :replays)
ON CONFLICT (stream) DO UPDATE SET
    suffix = excluded.suffix, video = max(video, excluded.video), host = excluded.host, pid = excluded.pid,
    client = excluded.client, state = excluded.state, ended = NULL, steps_limit = excluded.steps_limit
"""  # noqa: S608 - of our own words

# The clip's record came first, from a client that could not open the clip here; now it is recorded after all.
OPEN_CLIP = """
INSERT INTO clips
    (stream_id, clip, name, part, fps, episode, step, started, file, state, envs, tile_rows, tile_cols, rule_id,
    keep_reason)
VALUES (:stream_id, :clip, :name, :part, :fps, :episode, :step, :started, :file, :state, :envs, :rows, :cols, :rule_id,
    :keep_reason)
ON CONFLICT (stream_id, clip) DO UPDATE SET
    file = excluded.file, state = excluded.state, ended = NULL, envs = excluded.envs, tile_rows = excluded.tile_rows,
    tile_cols = excluded.tile_cols, rule_id = excluded.rule_id, keep_reason = excluded.keep_reason
WHERE ended IS NULL
"""

END_CLIP = """
UPDATE clips SET state = :state, file = :file, width = :width, height = :height, file_bytes = :file_bytes,
    duration = :duration, encode_seconds = :encode_seconds, error = :error, ended = :ended
WHERE stream_id = :stream_id AND clip = :clip
"""

REPLACE_CLIPS = """
UPDATE clips SET state = :replaced, file = NULL
WHERE file = :file AND state != :recording AND NOT (stream_id = :stream_id AND clip = :clip)
"""

# An older recording left this file unfinished, and its name is now used again.
OVERWRITE_PART = "UPDATE clips SET state = :replaced, file = NULL WHERE file = :part"

CLIP_OF_FILE = "SELECT 1 FROM clips WHERE file = :name OR (file = :final AND state = :recording) LIMIT 1"

OPEN_CLIPS = """
SELECT stream, clip, file, clips.started FROM clips JOIN streams ON streams.id = stream_id
WHERE clips.state = :recording ORDER BY clips.rowid
"""

CLIP_SO_FAR = """
SELECT state, ended, complete, offered, received, encoded, dropped FROM clips
WHERE stream_id = :stream_id AND clip = :clip
"""
LAST_PART = """
SELECT (SELECT max(clip) FROM clips WHERE stream_id = :stream_id), max(part) FROM clips
WHERE stream_id = :stream_id AND name = :name
"""

NEW_FACT = "INSERT OR IGNORE INTO meta (key, value) VALUES (:key, :value)"
COMMITTED = "UPDATE streams SET last_seq = :last_seq WHERE id = :stream_id"
END_STREAM = "UPDATE streams SET state = :state, ended = :ended WHERE id = :stream_id"
SAID_END = "SELECT ended FROM streams WHERE stream = :stream AND state = :closed"
LIVE_STREAMS = "SELECT stream FROM streams WHERE state = :live ORDER BY id"
# Which suffixes other streams use with a stream's names: those that are open, and those that have videos.
SUFFIXES = """
SELECT suffix FROM streams WHERE prefix = :prefix AND stream != :stream AND (
    state = :live OR EXISTS (SELECT 1 FROM clips WHERE stream_id = streams.id AND file IS NOT NULL)
)
"""
LIVE_SUFFIXES = """
SELECT suffix FROM streams WHERE prefix = :prefix AND stream != :stream AND state = :live AND replays = ''
"""
# A stream's own suffix, or that of the stream that it replays.
SUFFIX = """
SELECT suffix, stream = :replays AS fixed FROM streams WHERE stream IN (:stream, :replays) ORDER BY fixed DESC LIMIT 1
"""
STREAM = "SELECT id, last_seq FROM streams WHERE stream = :stream"

# A stream goes on in an index that may have had it before, such as an older copy.
GO_ON = "UPDATE streams SET last_seq = max(last_seq, :last_seq), state = :live, ended = NULL WHERE stream = :stream"

OF_STREAMS = ("episodes", "clips", "quarantine", "judged", "step_blocks", "dropped_steps")
"""The tables whose rows belong to a stream, by ``stream_id``."""


def rows_of_stream(table: str) -> str:
    """Selects everything that an index has of a stream, in ``streams`` or another table."""
    key = "stream = :stream" if table == "streams" else "stream_id = (SELECT id FROM streams WHERE stream = :stream)"
    return f"SELECT * FROM {table} WHERE {key}"  # noqa: S608 - a table of ours


def inherit(table: str, names: Iterable[str]) -> str:
    """Inserts another index's rows, with these columns, into a table; a clip may have gone on there."""
    own = [name for name in names if name != "id"]
    instead = "REPLACE" if table == "clips" else "IGNORE"
    return f"INSERT OR {instead} INTO {table} ({', '.join(own)}) VALUES (:{', :'.join(own)})"  # noqa: S608 - as above
