"""Groups of runs compared, as by `offcam compare`: within bounds, and kept until a run has grown."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from offcam_proto.errors import ConfigError
from offcam_runs.comparing import compare_runs
from offcam_runs.run import SCORE_EPISODES, run_of
from offcamd.web.lru import LruCache
from offcamd.web.params import BadQuery
from offcamd.web.reading import AskedRun, NotHere, asked_for, reading
from offcamd.web.renders import TooMany

if TYPE_CHECKING:
    from pathlib import Path

    from offcam_runs.run import Run
    from offcam_runs.sessions import Session
    from offcamd.web.params import Query
    from offcamd.web.source import RunSource

FEWEST_GROUPS: Final = 2
MOST_GROUPS: Final = 8
MOST_RUNS: Final = 64
"""Most runs, of all groups together."""

MOST_LAST: Final = 100_000

MOST_EPISODES: Final = 2_000_000
"""Most episodes, of all runs together: they are all in memory while the numbers are computed."""

_MOST_WAITING: Final = 4
_MOST_KEPT: Final = 32


class _Revision(NamedTuple):
    """Identifies the state of a run: if it changes, so do the numbers."""

    folder: Path
    session: Session
    streams: int
    episodes: int
    newest: int


class Statistics:
    """The latest comparisons and their results. Thread-safe; one thread computes at a time."""

    def __init__(self) -> None:
        self._kept: LruCache[object, dict[str, Any]] = LruCache(_MOST_KEPT)
        self._computing = threading.Lock()
        self._waiting = threading.BoundedSemaphore(_MOST_WAITING)

    def compare(self, source: RunSource, query: Query) -> dict[str, Any]:
        """The statistics of groups of runs, see ``GET /api/statistics``.

        Raises:
            BadQuery: there are too few groups, too many runs, or too many episodes.
            NotHere: there is no such run, or the runs cannot be compared.
            RunFolderError: a run cannot be read.
            TooMany: too many other comparisons wait already.
        """
        groups = _groups(source, query)
        threshold, last = query.number("threshold"), query.whole("last", SCORE_EPISODES, 1, MOST_LAST)
        seen = {label: tuple(map(_revision, runs)) for label, runs in groups.items()}
        total = sum(run.episodes for runs in seen.values() for run in runs)
        if total > MOST_EPISODES:
            raise BadQuery(
                f"these runs have {total:,} episodes, more than the {MOST_EPISODES:,} that are compared here: "
                "`offcam compare` takes them"
            )
        if not self._waiting.acquire(blocking=False):
            raise TooMany(f"{_MOST_WAITING} comparisons are being computed already: ask again in a moment")
        try:
            with self._computing:
                key = (tuple(seen.items()), threshold, last)
                return self._kept.get(key, lambda: _computed(groups, threshold, last))
        finally:
            self._waiting.release()


def _groups(source: RunSource, query: Query) -> dict[str, list[AskedRun]]:
    """The runs of each group by its name."""
    given = query.texts("group", MOST_GROUPS, MOST_RUNS * 32)
    found: dict[str, list[AskedRun]] = {}
    for text in given:
        label, _, ids = text.rpartition(":")
        named = dict.fromkeys(filter(None, ids.split(",")))
        if not label or label in found or not named:
            raise BadQuery(f"group is NAME:ID,ID,... with another name each, got {text[:80]!r}")
        found[label] = [asked_for(source, run) for run in named]
    if len(found) < FEWEST_GROUPS:
        raise BadQuery(f"group is given {FEWEST_GROUPS} to {MOST_GROUPS} times, got {len(found)}")
    if (count := sum(map(len, found.values()))) > MOST_RUNS:
        raise BadQuery(f"all groups together have at most {MOST_RUNS} runs, got {count}: `offcam compare` takes more")
    return found


def _revision(asked: AskedRun) -> _Revision:
    with reading(asked.folder, asked.session) as database:
        (streams,) = database.execute("SELECT count(*) FROM streams").fetchone()
        episodes, newest = database.execute("SELECT count(*), ifnull(max(id), 0) FROM episodes").fetchone()
    return _Revision(folder=asked.folder, session=asked.session, streams=streams, episodes=episodes, newest=newest)


def _computed(groups: dict[str, list[AskedRun]], threshold: float | None, last: int) -> dict[str, Any]:
    runs: dict[str, list[Run]] = {}
    for label, members in groups.items():
        runs[label] = []
        for asked in members:
            with reading(asked.folder, asked.session) as database:
                runs[label].append(run_of(database, asked.folder))
    try:
        found = compare_runs(runs, threshold=threshold, episodes=last).as_dict()
    except ConfigError as error:  # a run has no score yet, or the groups have no env in common
        raise NotHere(str(error)) from error
    return {"score": f"mean return of the last {last} episodes", **found}
