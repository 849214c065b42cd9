"""Part of a table of episodes in one of the orders of `ORDERS`, without sorting the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from offcam_runs.episodes import EpisodeTable

_LEAST: Final = np.iinfo(np.int64).min
_MOST: Final = np.iinfo(np.int64).max


def part_of(
    episodes: EpisodeTable, sort: str, among: NDArray[np.bool_], *, descending: bool, offset: int, limit: int
) -> NDArray[np.intp]:
    """The places of some consecutive episodes, (n,) with n at most ``limit``, in an order.

    Args:
        episodes: the table, in order of arrival.
        sort: the order, a key of `ORDERS`.
        among: those that are in the order at all, (len(episodes),).
        descending: whether the order is the other way round.
        offset: how many to pass over.
        limit: most to find.
    """
    places = np.flatnonzero(among)
    begin, end = min(offset, places.size), min(offset + limit, places.size)
    if descending:
        begin, end = places.size - end, places.size - begin
    found = places[_least(_keys(episodes, sort)[places], begin, end)]
    return found[::-1] if descending else found


def _keys(episodes: EpisodeTable, sort: str) -> NDArray[np.int64]:
    """Whole numbers in the order of what the episodes are sorted by, (n,)."""
    if sort == "arrival":
        return episodes.number
    if sort == "episode":
        found = np.empty(len(episodes), np.int64)
        found[np.lexsort((episodes.episode, episodes.stream))] = np.arange(len(episodes))
        return found
    values: NDArray[Any] = episodes.column(sort)
    if values.dtype == np.int64:
        return values
    bits = (values + 0.0).view(np.int64)  # IEEE 754: in order but for the sign; -0.0 is 0.0 then
    return np.where(np.isnan(values), _LEAST, np.where(bits < 0, bits ^ _MOST, bits))


def _least(keys: NDArray[np.int64], begin: int, end: int) -> NDArray[np.intp]:
    """The places from ``begin`` to before ``end`` of the ascending order; of equal keys the first comes first."""
    if begin == end:
        return np.empty(0, np.intp)
    low, high = np.partition(keys, (begin, end - 1))[[begin, end - 1]]
    near = np.flatnonzero((keys >= low) & (keys <= high))
    near = near[np.argsort(keys[near], kind="stable")]
    first = begin - np.count_nonzero(keys < low)
    return near[first : first + end - begin]
