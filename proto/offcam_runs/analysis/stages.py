"""A run divided into stages, and which of its videos to show of each."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

Pick = Literal["best", "median", "worst", "last"]

STAGES = 8
"""Parts of a run where nobody says how many."""


class Stage(NamedTuple):
    """One stage of a run. All numbers are places among all of the run's episodes.

    Attributes:
        begin: the first episode of the stage.
        end: the one behind its last.
        best: of its episodes with a video, the one with the highest return, the first of equals; None where no episode
            has a video. NaN and the infinities count as the least.
        median: likewise, the one in the middle by returns, the lower of two.
        worst: likewise, the one with the lowest return.
        last: likewise, the latest.
    """

    begin: int
    end: int
    best: int | None
    median: int | None
    worst: int | None
    last: int | None

    def picked(self, pick: Pick) -> int | None:
        """One of the four by its name."""
        found: int | None = getattr(self, pick)
        return found


def stages(returns: ArrayLike, filmed: ArrayLike, count: int = STAGES) -> list[Stage]:
    """Divide a run into stages of as many episodes each, and choose among the episodes of each that have a video.

    Args:
        returns: (n,) of the run's episodes, in order of arrival.
        filmed: (n,) bool, whether a video shows the episode.
        count: of the stages, at least 1; there are fewer where there are fewer episodes.
    """
    values, there = np.asarray(returns, np.float64), np.flatnonzero(np.asarray(filmed, np.bool_))
    return stages_among(there, values[there], values.size, count)


def stages_among(places: ArrayLike, returns: ArrayLike, episodes: int, count: int = STAGES) -> list[Stage]:
    """As `stages`, of a run of which only the episodes with a video are known.

    Args:
        places: (m,) of the episodes with a video among all of the run, ascending.
        returns: (m,) theirs.
        episodes: how many the run has, with a video and without.
        count: as in `stages`.
    """
    there, values = np.asarray(places, np.int64), np.asarray(returns, np.float64)
    values = np.where(np.isfinite(values), values, -np.inf)
    ends = np.linspace(0, episodes, min(count, episodes) + 1).round().astype(int).tolist()
    found = []
    for begin, end in itertools.pairwise(ends):
        part = slice(*np.searchsorted(there, (begin, end)).tolist())
        own, order = there[part], np.argsort(values[part], kind="stable")
        if not own.size:
            found.append(Stage(begin=begin, end=end, best=None, median=None, worst=None, last=None))
            continue
        best = values[part].argmax()
        chosen = (own[best], own[order[(own.size - 1) // 2]], own[order[0]], own[-1])
        found.append(Stage(begin, end, *map(int, chosen)))
    return found
