"""The statements by which `offcamd.store.index` writes an index, and the rows they take and give."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from offcam_proto.records import EpisodeRecord

OPEN_STREAM = """
INSERT INTO streams
    (stream, env_id, num_envs, vector, prefix, suffix, video, host, pid, client, started, state)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (stream) DO UPDATE SET
    suffix = excluded.suffix, video = max(video, excluded.video), host = excluded.host, pid = excluded.pid,
    client = excluded.client, state = excluded.state, ended = NULL
"""

ADD_EPISODE = """
INSERT INTO episodes
    (stream_id, seq, env_index, episode, return, length, duration, started, terminated, truncated, seed)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""

# A clip whose record came first, from a client that could not open it here, is being recorded after all.
OPEN_CLIP = """
INSERT INTO clips (stream_id, clip, name, part, fps, episode, step, started, file, state)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (stream_id, clip) DO UPDATE SET file = excluded.file, state = excluded.state, ended = NULL
WHERE ended IS NULL
"""

# Where no encoder has opened the clip none ever will, so it has ended without a file.
ADD_CLIP_RECORD = """
INSERT INTO clips
    (stream_id, clip, name, part, fps, episode, step, steps, return, complete, started, state)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (stream_id, clip) DO UPDATE SET
    steps = excluded.steps, return = excluded.return, complete = excluded.complete
"""

END_CLIP = """
UPDATE clips SET state = ?, file = ?, width = ?, height = ?, file_bytes = ?, duration = ?,
    encode_seconds = ?, error = ?, ended = ?
WHERE stream_id = ? AND clip = ?
"""

REPLACE_CLIPS = """
UPDATE clips SET state = ?, file = NULL
WHERE file = ? AND state != ? AND NOT (stream_id = ? AND clip = ?)
"""

# What an older recording left unfinished under a name that is now written anew.
OVERWRITE_PART = """
UPDATE clips SET state = ?, file = NULL WHERE file = ?
"""

CLIP_OF_FILE = """
SELECT 1 FROM clips WHERE file = ? OR (file = ? AND state = ?) LIMIT 1
"""

OPEN_CLIPS = """
SELECT stream, clip, file, clips.started FROM clips JOIN streams ON streams.id = stream_id
WHERE clips.state = ? ORDER BY clips.rowid
"""

SET_COUNTS = """
UPDATE clips SET offered = ?, received = ?, encoded = ?, dropped = ? WHERE stream_id = ? AND clip = ?
"""

CLIP_COUNTS = """
SELECT offered, received, encoded, dropped, complete, state FROM clips WHERE stream_id = ? AND clip = ?
"""


def episode_row(key: int, seq: int, record: EpisodeRecord) -> tuple[object, ...]:
    """An episode as `ADD_EPISODE` takes it."""
    return (
        *(key, seq, record.env_index, record.episode, record.return_, record.length, record.duration),
        *(record.started, record.terminated, record.truncated, record.seed),
    )
