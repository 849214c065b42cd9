"""Which episodes the clips of a long run show: read for the clips alone, not with all others."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from offcam_runs.blocks import ENDED
from offcam_runs.clip_episodes import ClipEpisodes
from offcam_runs.episodes import read_episodes

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Mapping, Sequence

    from offcam_runs.clip_episodes import ClipSpan
    from offcam_runs.streams import Stream

MOST_BESIDE: Final = 5_000
"""Most episodes of other sub-environments that a clip is said to show beside those it counts: the first ones."""

_COUNTED = """
SELECT id, episode, length, {0} FROM main.episodes
WHERE stream_id = :key AND env_index = :env AND episode >= :episode ORDER BY episode
"""
_STEPS = """
SELECT ifnull(sum(length), 0) FROM main.episodes
WHERE stream_id = :key AND env_index = :env AND episode >= :first AND episode < :episode
"""
_ENDED_AT = f"SELECT {ENDED} FROM main.episodes WHERE id = :id"  # noqa: S608 - of our own words
_BESIDE = f"""
SELECT id FROM main.episodes WHERE id BETWEEN :low AND :high AND stream_id = :key AND env_index != :env
    AND {ENDED} > :began AND {ENDED} <= :ended
    AND (:envs = '[]' OR env_index IN (SELECT value FROM json_each(:envs)))
ORDER BY id LIMIT :most
"""  # noqa: S608 - of our own words


class LongClips:
    """Reads the episodes that clips show, and keeps its counts for the next time. Not thread-safe."""

    def __init__(self) -> None:
        self._before: dict[str, float] = {}
        self._counted: dict[tuple[str, int], tuple[int, float]] = {}

    def read(
        self, database: sqlite3.Connection, streams: Mapping[int, Stream], spans: Sequence[ClipSpan]
    ) -> ClipEpisodes:
        """The episodes that these clips show.

        Args:
            database: the index, in a read transaction.
            streams: all streams in the index, or those of a session; see `read_streams`.
            spans: of the clips.
        """
        keys, ids = list(streams), set[int]()
        for span in sorted(spans, key=lambda each: (each.stream, each.counted, each.episode)):
            key = keys[span.stream]
            ids.update(self._ids(database, key, streams[key], span))
        asked = {"ids": json.dumps(sorted(ids))}
        episodes = read_episodes(database, streams, "id IN (SELECT value FROM json_each(:ids))", asked)
        return ClipEpisodes(episodes, list(spans), dict(self._before))

    def _ids(self, database: sqlite3.Connection, key: int, stream: Stream, span: ClipSpan) -> Iterator[int]:
        asked: dict[str, object] = {"key": key, "env": span.counted, "episode": span.episode}
        begin, steps, last, ended = 0.0, 0, 0, None
        for last, episode, length, ended in database.execute(_COUNTED.format(ENDED), asked):  # noqa: B007 - the last one's
            if not steps:
                if episode != span.episode:
                    return  # it never ended
                if span.begins_within:
                    begin = min(max(span.step - self._steps_before(database, asked, span), 0.0), length - 1)
            yield last
            steps += length
            if steps >= begin + span.steps:
                break
        if last and ended is not None and stream.vector and len(span.envs) != 1:
            reach = 4 * stream.num_envs + 1000  # episodes that ended at the same time lie at most so far apart
            asked |= {"began": span.started, "ended": ended, "envs": json.dumps(span.envs), "most": MOST_BESIDE}
            asked |= {"low": _arrived(database, span.started, last) - reach, "high": last + reach}
            yield from (each for (each,) in database.execute(_BESIDE, asked))

    def _steps_before(self, database: sqlite3.Connection, asked: Mapping[str, object], span: ClipSpan) -> float:
        if span.key not in self._before:
            chain = span.stream_id, span.counted
            first, steps = self._counted.get(chain, (0, 0.0))
            if first > span.episode:
                first, steps = 0, 0.0
            (more,) = database.execute(_STEPS, {**asked, "first": first}).fetchone()
            self._before[span.key] = steps + more
            self._counted[chain] = span.episode, steps + more
        return self._before[span.key]


def _arrived(database: sqlite3.Connection, when: float, last: int) -> int:
    """About the first episode up to ``last`` that ended at ``when`` or later; they arrive in about that order."""
    low, high = 0, last
    while low < high:
        middle = (low + high) // 2
        row = database.execute(_ENDED_AT, {"id": middle}).fetchone()
        if row is None or row[0] is None or row[0] < when:
            low = middle + 1
        else:
            high = middle
    return low
