"""How far the last session of a run has come, with streams of one name prefix: where resuming goes on."""

from __future__ import annotations

import json
import os
import re
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from offcam_runs.database import open_to_read
from offcam_runs.discover import is_run
from offcam_runs.format import UNFINISHED
from offcam_runs.totals import RunTotals

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

_STREAMS = "SELECT id, suffix, stream, vector FROM streams WHERE prefix = :prefix ORDER BY id DESC"
_LAST = "SELECT episode FROM episodes WHERE stream_id = :stream_id ORDER BY episode DESC LIMIT 1"
_OF_EACH = """
SELECT env_index, max(episode), sum(length) FROM episodes
WHERE stream_id IN (SELECT value FROM json_each(:streams)) GROUP BY env_index
"""
# Steps of episodes that the kept totals do not have yet. The plus keeps SQLite from reading all of a stream's episodes.
_LATER_STEPS = """
SELECT ifnull(sum(length), 0) FROM episodes
WHERE id > :last AND +stream_id IN (SELECT value FROM json_each(:streams))
"""
_CLIPS = """
SELECT ifnull(json_extract(envs, '$[0]'), 0) AS followed, max(episode), max(step + (step > 0) + ifnull(steps, 0))
FROM clips WHERE stream_id IN (SELECT value FROM json_each(:streams)) GROUP BY followed
"""


class Before(NamedTuple):
    """Where the last session of a run has come to, with streams of one name prefix.

    Attributes:
        suffix: number in the names of its videos.
        episodes: by sub-environment, the number of its last episode.
        steps: taken by the first sub-environment, over all episodes.
    """

    suffix: int = 0
    episodes: dict[int, int] = {}  # noqa: RUF012 - never changed
    steps: int = 0


def run_before(folder: str, prefix: str) -> Before | None:
    """How far a run has come; None where the folder has no run. Nothing in the folder is changed.

    For streams of single envs the cost does not depend on the length of the run, as the index keeps their totals.
    Episodes of vector envs are read once, in SQLite: half a second of CPU for a million.

    Args:
        folder: the run folder.
        prefix: of the names of the streams' videos; empty for streams without.

    Raises:
        RunFolderError: its index cannot be read.
    """
    if not is_run(folder):
        return None
    with open_to_read(folder) as database:
        found = _read(database, prefix)
    for env_index, episode in _unfinished(folder, prefix, found.suffix):
        found.episodes[env_index] = max(found.episodes.get(env_index, -1), episode)
    return found


def _unfinished(folder: str, prefix: str, suffix: int) -> Iterator[tuple[int, int]]:
    """Sub-environment and episode of unfinished videos, which the index of a killed daemon need not know."""
    of_stream = f"-s{suffix}" if suffix else ""
    pattern = rf"{re.escape(prefix)}(?:-env-(\d+))?-episode-(\d+){of_stream}(?:-part\d+)?"
    files: list[str] = []
    with suppress(FileNotFoundError):  # the folder may not exist: all of the run may lie in journals elsewhere
        files = os.listdir(folder)
    for file in files:
        if file.endswith(UNFINISHED) and (match := re.fullmatch(pattern, file.removesuffix(UNFINISHED), re.ASCII)):
            yield int(match[1] or 0), int(match[2])


def _read(database: sqlite3.Connection, prefix: str) -> Before:
    streams = database.execute(_STREAMS, {"prefix": prefix}).fetchall()
    suffix = streams[0][1] if streams else 0
    own = [(key, stream, vector) for key, other, stream, vector in streams if other == suffix]
    keys = {"streams": json.dumps([key for key, *_ in own])}
    if any(vector for *_, vector in own):
        rows = database.execute(_OF_EACH, keys).fetchall()
        episodes = {env_index: last for env_index, last, _ in rows}
        steps = sum(length for env_index, _, length in rows if env_index == 0)
    else:  # the kept totals: nothing that takes longer for a long run
        last = [number for key, *_ in own for (number,) in database.execute(_LAST, {"stream_id": key})]
        episodes = {0: max(last)} if last else {}
        totals = RunTotals.kept(database)
        steps = sum(totals.streams[stream].steps for _, stream, _ in own if stream in totals.streams)
        steps += database.execute(_LATER_STEPS, {"last": totals.last, **keys}).fetchone()[0]
    for followed, number, stepped in database.execute(_CLIPS, keys):
        episodes[followed] = max(episodes.get(followed, -1), number)  # an episode that was recorded may not have ended
        steps = max(steps, stepped)
    return Before(suffix, episodes, steps)
