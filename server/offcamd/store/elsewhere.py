"""Writes into an index the clips whose files are elsewhere: on the hosts that push their runs here."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from offcam_proto.errors import ConfigError
from offcam_proto.pushing import ClipsGone
from offcam_runs import format as fmt
from offcam_runs.objects.layout import ObjectPlace, is_url
from offcam_runs.record_rows import Fields
from offcamd.store import sql

if TYPE_CHECKING:
    import sqlite3

    from offcam_proto.pushing import ClipElsewhere

_KEY: Final = "SELECT id FROM streams WHERE stream = :stream"

_COLUMNS: Final = (
    *("stream_id", "clip", "name", "part", "file", "state", "fps", "width", "height", "episode", "step", "steps"),
    *("return", "offered", "received", "encoded", "dropped", "complete", "file_bytes", "duration", "started", "ended"),
    *("envs", "keep_reason", "diverged_at", "diverged_why", "place"),
)

_PUT: Final = f"""
INSERT INTO clips ({", ".join(_COLUMNS)}) VALUES (:{", :".join(_COLUMNS)})
ON CONFLICT (stream_id, clip) DO UPDATE SET {", ".join(f"{each} = excluded.{each}" for each in _COLUMNS[2:])}
WHERE place IS NOT NULL
"""  # noqa: S608 - of our own words


_REMOVE: Final = """
DELETE FROM clips WHERE stream_id = :stream_id AND clip BETWEEN :first AND :last AND place IS NOT NULL
"""


def admitted(place: str, host: str, videos: ObjectPlace | None) -> str:
    """The place of a clip as it is stored: a URL only where readers here may fetch from it.

    Args:
        place: as its host says.
        host: that host's name.
        videos: what the URL may begin with; None for none.
    """
    if not is_url(place):
        return place
    if videos is not None:
        with suppress(ConfigError):
            found = ObjectPlace.parse(place)
            if f"{found.url}/".startswith(f"{videos.url}/"):
                return found.url
    return f"{host}:{place}"


class ClipsElsewhere:
    """Writes such clips. Thread and transactions are those of the `RunIndex` that it belongs to.

    Args:
        database: the index.
    """

    def __init__(self, database: sqlite3.Connection) -> None:
        self._db = database

    def apply(self, stream: bytes, message: ClipElsewhere | ClipsGone) -> None:
        """Note what a host has told of the clips of a stream that is open, in place of what was said of them before."""
        (key,) = self._db.execute(_KEY, {"stream": stream.hex()}).fetchone()
        if isinstance(message, ClipsGone):
            stretches = zip(message.clips[::2], message.clips[1::2], strict=True)
            self._db.executemany(_REMOVE, [{"stream_id": key, "first": a, "last": b} for a, b in stretches])
        else:
            self._put(key, message)

    def _put(self, key: int, message: ClipElsewhere) -> None:
        diverged_at, diverged_why = message.diverged or (None, None)
        own = {
            "stream_id": key,
            "dropped": json.dumps(message.dropped),
            "envs": json.dumps(message.envs),
            "return": message.rewards,
            "complete": None if message.steps is None else message.complete,
            "keep_reason": message.reason or None,
            "diverged_at": diverged_at,
            "diverged_why": diverged_why,
        }
        self._db.execute(_PUT, Fields(message, **own))
        # as on its host, where a later clip has this name
        states = {"replaced": fmt.REPLACED, "recording": fmt.RECORDING}
        self._db.execute(sql.REPLACE_CLIPS, {"file": message.file, "stream_id": key, "clip": message.clip, **states})
