"""What a recording into a folder that was recorded into before goes on from."""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING, Literal, NamedTuple, get_args

from offcam.recorder import settings
from offcam_proto.errors import ConfigError, OffcamError
from offcam_runs.discover import is_run
from offcam_runs.format import PART_EXTENSION, VIDEO_EXTENSION

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

IfExists = Literal["new", "resume", "error"]
"""What to do where a folder has a run: begin another session of it, go on with its last one, or raise."""

_STREAMS = "SELECT id, suffix, stream, vector FROM streams WHERE prefix = ? ORDER BY id DESC"
_LAST = "SELECT episode FROM episodes WHERE stream_id = ? ORDER BY episode DESC LIMIT 1"
_EPISODES = """
SELECT env_index, max(episode) FROM episodes WHERE stream_id IN (SELECT value FROM json_each(?)) GROUP BY env_index
"""
_STEPS = (
    "SELECT ifnull(sum(length), 0) FROM episodes WHERE env_index = 0 AND stream_id IN (SELECT value FROM json_each(?))"
)
_CLIPS = """
SELECT ifnull(json_extract(envs, '$[0]'), 0) AS followed, max(episode), max(step + (step > 0) + ifnull(steps, 0))
FROM clips WHERE stream_id IN (SELECT value FROM json_each(?)) GROUP BY followed
"""
_ALIKE = """
SELECT max(NOT mine) AND NOT max(mine AND earlier) FROM (
    SELECT (other.training, other.session) = (own.training, own.session) AS mine, other.id < own.id AS earlier
    FROM streams AS other JOIN streams AS own ON own.stream = ? WHERE other.prefix = own.prefix
)
"""


class Before(NamedTuple):
    """Where the last session of a run has come to, with streams of one name prefix.

    Attributes:
        suffix: number in its videos' names.
        episodes: number of each sub-environment's last episode.
        steps: of the first sub-environment, over all episodes.
    """

    suffix: int = 0
    episodes: dict[int, int] = {}  # noqa: RUF012 - never changed
    steps: int = 0


def before(folder: str, prefix: str, if_exists: IfExists) -> Before | None:
    """What to go on from; None for a session of its own.

    Args:
        folder: the run folder.
        prefix: of the names of the stream's videos.
        if_exists: what to do where it has a run.

    Raises:
        ConfigError: there is a run, and there must be none; or it is another host's.
        RunFolderError: its index cannot be read.
    """
    if if_exists not in get_args(IfExists):
        raise ConfigError(f"if_exists must be 'new', 'resume' or 'error', got {if_exists!r}.")
    if if_exists == "new":
        return None
    if not settings.records_here():
        raise ConfigError(
            f"if_exists={if_exists!r} needs the run folder on this host, to know how far it came, and over tcp:// it "
            "is on the daemon's. Record there, or leave it out: another session is begun, and `--session all` shows "
            "both."
        )
    if not is_run(folder):
        return None
    if if_exists == "error":
        raise ConfigError(
            f"{folder} has a run already. Give another folder, or if_exists='new' for another session of it, or "
            "resume=True to go on with the last one."
        )
    from offcam_runs.database import open_to_read  # noqa: PLC0415 - who does not resume need not load it

    with open_to_read(folder) as database:
        found = _read(database, prefix)
    for env_index, episode in _unfinished(folder, prefix, found.suffix):
        found.episodes[env_index] = max(found.episodes.get(env_index, -1), episode)
    return found


def _unfinished(folder: str, prefix: str, suffix: int) -> Iterator[tuple[int, int]]:
    """Of unfinished videos, which the index of a daemon that was killed need not know: sub-environment and episode."""
    of_stream = f"-s{suffix}" if suffix else ""
    pattern = rf"{re.escape(prefix)}(?:-env-(\d+))?-episode-(\d+){of_stream}(?:-part\d+)?"
    endings = VIDEO_EXTENSION + PART_EXTENSION
    for file in os.listdir(folder):
        if file.endswith(endings) and (match := re.fullmatch(pattern, file.removesuffix(endings), re.ASCII)):
            yield int(match[1] or 0), int(match[2])


def is_another(folder: str, stream: bytes) -> bool:
    """Whether a stream is the first of its training and session in a run that others have recorded with its prefix.

    The envs in a vector env of Stable-Baselines3 have one prefix, too: of each other nobody needs to be told.
    """
    if not settings.records_here():
        return True  # its index is on another host
    from offcam_runs.database import open_to_read  # noqa: PLC0415 - as in `before`

    try:
        with open_to_read(folder, settled=True, session="all") as database:
            return bool(database.execute(_ALIKE, (stream.hex(),)).fetchone()[0])
    except OffcamError:
        return True


def _read(database: sqlite3.Connection, prefix: str) -> Before:
    from offcam_runs.totals import run_totals  # noqa: PLC0415 - as above

    streams = database.execute(_STREAMS, (prefix,)).fetchall()
    suffix = streams[0][1] if streams else 0
    own = [(key, stream, vector) for key, other, stream, vector in streams if other == suffix]
    keys = (json.dumps([key for key, *_ in own]),)
    if any(vector for *_, vector in own):
        episodes = dict(database.execute(_EPISODES, keys))
        (steps,) = database.execute(_STEPS, keys).fetchone()
    else:  # what the index keeps of them: nothing that takes longer for a long run
        numbers = [number for key, *_ in own for (number,) in database.execute(_LAST, (key,))]
        episodes = {0: max(numbers)} if numbers else {}
        of_streams = run_totals(database).streams
        steps = sum(of_streams[stream].steps for _, stream, _ in own if stream in of_streams)
    for followed, last, stepped in database.execute(_CLIPS, keys):
        episodes[followed] = max(episodes.get(followed, -1), last)  # one that was recorded may not have ended
        steps = max(steps, stepped)
    return Before(suffix, episodes, steps)
