"""What every reader of a run folder takes from its index: streams, and which clips there are and what they show.

Plain SQL for an index of `run_format.FORMAT_VERSION`, and what its rows mean. Nothing here opens a database.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final

from offcam_runs.format import ABORTED, RECOVERED, REPLACED, real_from_sql

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class Stream:
    """One environment, or one vector environment, of one client process.

    Attributes:
        stream: its id, 32 hexadecimal digits.
        env_id: environment id, such as ``CartPole-v1``.
        num_envs: sub-environments, 1 for a single one.
        vector: whether it is a vector environment.
        prefix: of its videos' names, empty without video.
        suffix: number in its videos' names, 0 for none.
        host: of the process that recorded it.
        pid: its process id.
        client: what that process says it is.
        started: when it was made, in seconds since the epoch.
        ended: when it was closed or lost, None while it is live.
        state: ``live``, ``closed`` or ``lost``.
    """

    stream: str
    env_id: str
    num_envs: int
    vector: bool
    prefix: str
    suffix: int
    host: str
    pid: int
    client: str
    started: float
    ended: float | None
    state: str


STREAMS: Final = """
SELECT id, stream, env_id, num_envs, vector, prefix, suffix, host, pid, client, started, ended, state
FROM streams ORDER BY id
"""
"""All streams in order of opening: the key by which the other tables name each, and what `stream_of` takes."""


def stream_of(row: Sequence[Any]) -> Stream:
    """A stream from its row of `STREAMS`, without the key."""
    named = dict(zip((field.name for field in fields(Stream)), row, strict=True))
    named.update(vector=bool(named["vector"]), started=real_from_sql(named["started"]))
    return Stream(**named)


# A clip shows exactly one whole episode where its name says that it began with it and it has all its steps.
CLIPS: Final = """
SELECT s.id AS stream_id, s.stream, c.clip, c.name, c.part, c.file, c.state, c.encoded, c.fps, c.width, c.height,
    c.duration, c.episode, c.step, CASE WHEN e.id IS NULL THEN c.return ELSE e.return END AS return, c.steps, c.offered,
    c.received, c.dropped, c.complete, c.file_bytes, c.encode_seconds, c.started, c.ended, c.error,
    c.state IN (?, ?) AND NOT ifnull(c.complete, 0) AND NOT EXISTS (
        SELECT 1 FROM episodes WHERE stream_id = c.stream_id AND episode = c.episode
    ) AS partial, c.rowid AS place
FROM clips AS c JOIN streams AS s ON s.id = c.stream_id
LEFT JOIN episodes AS e ON e.id = (
    SELECT min(id) FROM episodes
    WHERE stream_id = c.stream_id AND episode = c.episode AND length = c.steps AND s.num_envs = 1
        AND c.name LIKE '%-episode-' || c.episode
)
WHERE c.state != ?
"""
"""Clips, to be selected from, but for those whose file was replaced by a later clip's.

Columns as of the table, but for these: ``stream_id`` and ``stream`` are the key of its stream and its id in hex,
``place`` is the order of opening, ``return`` the episode's where the clip shows exactly one whole episode that the
index knows. ``partial`` is whether it was cut off within an episode: it ended, but not as its owner meant it to, and
the index has no end of the episode that it began with."""

CLIPS_VALUES: Final = (ABORTED, RECOVERED, REPLACED)
"""For the question marks of `CLIPS`."""
