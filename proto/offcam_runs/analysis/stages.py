"""A run in parts, and which of its videos tells of each."""

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
    """One part of a run's episodes, and places among all of these with a video; None where none of the part has one.

    Attributes:
        begin: the first episode of the part.
        end: the one behind its last.
        best: the one with the highest return; of equals the first. NaN and the infinities count as the least.
        median: the one in the middle of all by their returns, of two the lower.
        worst: the one with the lowest return.
        last: the latest.
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
    """Divide a run into parts of as many episodes each, and choose of those of each that have a video.

    Args:
        returns: (n,) of its episodes, in order of arrival.
        filmed: (n,) bool, whether a video shows it.
        count: of the parts, at least 1; there are fewer where there are fewer episodes.
    """
    values, there = np.asarray(returns, np.float64), np.flatnonzero(np.asarray(filmed, np.bool_))
    return stages_among(there, values[there], values.size, count)


def stages_among(places: ArrayLike, returns: ArrayLike, episodes: int, count: int = STAGES) -> list[Stage]:
    """The same of a run of which those episodes alone are known that have a video.

    Args:
        places: (m,) of these among all of the run, each larger than the one before.
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
