"""Statistics by which LeRobot normalises: min, max, mean, deviation and quantiles of each feature; pure."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

Numbers = dict[str, "NDArray[Any]"]

QUANTILES: Final = {"q01": 0.01, "q10": 0.1, "q50": 0.5, "q90": 0.9, "q99": 0.99}


def numbers_of(values: NDArray[Any]) -> Numbers:
    """The statistics of a feature's values in one episode; NaN and infinite values are left out.

    Args:
        values: (n, ...) with n >= 1.

    Returns:
        The statistics by name, each of the shape of one value, (1,) for a scalar; ``count``, of shape (1,), is the
        number of rows with a finite number. Where there is none, all are 0.
    """
    values = values.reshape(len(values), *(values.shape[1:] or (1,))).astype(np.float64)
    there = np.isfinite(values)
    values[~there] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # numpy warns where all values are NaN
        found = {
            "min": np.nanmin(values, axis=0),
            "max": np.nanmax(values, axis=0),
            "mean": np.nanmean(values, axis=0),
            "std": np.nanstd(values, axis=0),
            **dict(zip(QUANTILES, np.nanquantile(values, list(QUANTILES.values()), axis=0), strict=True)),
        }
    count = int(there.reshape(len(values), -1).any(axis=1).sum())
    return {name: np.nan_to_num(each) for name, each in found.items()} | {"count": np.array([count])}


def numbers_of_pictures(pictures: NDArray[np.uint8]) -> Numbers:
    """The statistics of pictures, uint8 (n, height, width, 3), by channel: (3, 1, 1), from 0 to 1; ``count`` is n."""
    found = numbers_of(pictures.reshape(-1, 3))
    return {name: each.reshape(3, 1, 1) / 255 for name, each in found.items() if name != "count"} | {
        "count": np.array([len(pictures)])
    }


class Together:
    """The statistics of a feature over all episodes. Quantiles are means of the episodes', as in LeRobot."""

    def __init__(self) -> None:
        self._count = 0
        self._numbers: Numbers = {}

    def add(self, numbers: Numbers) -> None:
        """Add an episode's statistics; those of an episode without finite values count only if no other has any."""
        count = int(numbers["count"][0])
        if not self._count:
            self._numbers, self._count = numbers, count
        elif count:
            self._numbers = self._joined(self._numbers, numbers, count)
            self._count += count

    def numbers(self) -> Numbers:
        """The statistics of all episodes added, in the form of `numbers_of`; at least one must have been added."""
        return {**self._numbers, "count": np.array([self._count])}

    def _joined(self, one: Numbers, other: Numbers, count: int) -> Numbers:
        share = count / (self._count + count)
        means = {name: one[name] + share * (other[name] - one[name]) for name in ("mean", *QUANTILES)}
        apart = share * (1 - share) * (other["mean"] - one["mean"]) ** 2
        spread = (1 - share) * one["std"] ** 2 + share * other["std"] ** 2 + apart
        least, most = np.minimum(one["min"], other["min"]), np.maximum(one["max"], other["max"])
        return {"min": least, "max": most, "std": np.sqrt(spread), **means}
