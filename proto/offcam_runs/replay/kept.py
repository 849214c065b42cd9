"""Videos that a rule keeps and that are still to be rendered, read from a run's index."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from offcam_runs.replay.requests import Request

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

_WAITING: Final = """
SELECT judged.name, judged.video, rule, bytes FROM judged JOIN streams ON streams.id = judged.stream_id
JOIN rules ON rules.id = rule_id
WHERE streams.stream = :stream AND judged.video IS NOT NULL AND reason IS NOT NULL AND made = 0 ORDER BY number
"""

_MADE: Final = """
SELECT clips.file FROM judged JOIN streams AS origin ON origin.id = judged.stream_id
JOIN clips ON (clips.rule_id, clips.keep_number) = (judged.rule_id, judged.number)
WHERE origin.stream = :stream AND judged.name = :name AND made = 1 AND clips.state = 'final' AND clips.part = 1
"""


def waiting(database: sqlite3.Connection, folder: str, stream: str) -> Iterator[Request]:
    """Requests for the videos of one stream that its rule keeps by now, in the order of their episodes.

    Args:
        database: the index, open to be read.
        folder: of the run; an absolute path.
        stream: id of the stream, 32 hexadecimal digits.

    Raises:
        MalformedMessage: what the index says of a video cannot be understood.
    """
    for name, text, rule, keep_bytes in database.execute(_WAITING, {"stream": stream}):
        about = {"folder": folder, "stream": stream, "name": name, "arguments": {}, "keep": rule}
        yield Request.of(text, {**about, "keep_bytes": keep_bytes})


def made(database: sqlite3.Connection, request: Request) -> str | None:
    """The file name of such a video; None where it is not rendered yet, or was let go."""
    row = database.execute(_MADE, {"stream": request.stream, "name": request.name}).fetchone()
    return None if row is None else row[0]
