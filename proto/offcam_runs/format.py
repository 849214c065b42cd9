"""What a run folder holds: the names of its files, closed sets of words, and numbers as they are written.

The daemon writes by it and every reader reads by it; ``proto/FORMAT.md`` is its specification. The index's tables are
in `offcam_runs.schema`, how frames are accounted for in `offcam_runs.accounts`. Nothing here opens a file or database.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Final

FORMAT_VERSION: Final = 5
"""Version of the run folder's format, kept in the index's ``user_version``."""

APPLICATION_ID: Final = 0x6F66636D
"""The index's ``application_id``, "ofcm": tells offcam's index from any other SQLite file."""

INDEX_NAME: Final = "offcam.sqlite3"
"""File name of the index."""

PAGE_NAME: Final = "offcam-page.json"
"""File by which a folder is known as an exported page of runs, and not a run."""

INDEX_COMPANIONS: Final = ("-wal", "-shm", "-journal")
"""What SQLite may append to the index's name: files that belong to it while it is written."""

LOCK_NAME: Final = "offcam.lock"
"""File on which the folder's writer holds a ``flock``. One that a dead writer left means nothing."""

PENDING_NAME: Final = "offcam.pending"
"""Folder within the run folder that holds the clients' journals, of records that are not in the index yet."""

JOURNAL_EXTENSION: Final = ".rec"
"""Appended to a stream's id in hexadecimal digits: the name of its journal."""

TAIL_EXTENSION: Final = ".tail"
"""Appended to a stream's id in the same way: the name of its tail, of rows of steps that are in no record yet."""

RUN_KEY: Final = "run"
"""Key in ``meta`` of the run's id."""
SYNC_NAME: Final = "offcam.sync"
"""Folder within the run folder that holds how far it was sent to which tracker; see `offcam_runs.sync.state`."""

PINS_NAME: Final = "offcam.pins.json"
"""File of the clips that somebody has pinned; see `offcam_runs.pins`."""

EVICTED_NAME: Final = "offcam.evicted.json"
"""File of the clips whose files are in object storage alone; see `offcam_runs.objects.evicted`."""

TOTALS_KEY: Final = "totals"
"""Followed by a colon and a stream's id: the key in ``meta`` of the totals of its episodes up to one of them."""

VIDEO_EXTENSION: Final = ".mp4"
PART_EXTENSION: Final = ".part"
"""Appended to a video's file name while it is being written."""
UNFINISHED: Final = VIDEO_EXTENSION + PART_EXTENSION

PLAIN_EXTENSION: Final = ".plain"
"""Appended to that name for a copy that is to take its place; one that a crash left is of no use."""

# --- closed sets ------------------------------------------------------------------------------------------

RECORDING: Final = "recording"
FINAL: Final = "final"
RECOVERED: Final = "recovered"
ABORTED: Final = "aborted"
REPLACED: Final = "replaced"
EVICTED: Final = "evicted"
CLIP_STATES: Final = (RECORDING, FINAL, RECOVERED, ABORTED, REPLACED, EVICTED)
"""States of a clip; all but the first mean that it has ended. One that is evicted was let go by its rule."""

HIDDEN_STATES: Final = (REPLACED, EVICTED)
"""States of clips that have no file any more, and that no reader shows."""

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

STEP_DROP_REASONS: Final = ("limit", "disk_full", "io")
"""Every reason for which a daemon does not write rows of steps: the run has as many as it may, and as above."""

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
