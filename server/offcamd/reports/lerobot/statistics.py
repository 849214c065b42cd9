"""What LeRobot normalises by: least, most, mean, deviation and quantiles of each feature; pure."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

Numbers = dict[str, "NDArray[Any]"]

QUANTILES: Final = {"q01": 0.01, "q10": 0.1, "q50": 0.5, "q90": 0.9, "q99": 0.99}


def numbers_of(values: NDArray[Any]) -> Numbers:
    """The numbers of the values of a feature in an episode; those that are NaN count for nothing.

    Args:
        values: (n, ...), at least one.

    Returns:
        By name, each of the shape of one value, which has a dimension at least; ``count`` is (1,).
    """
    values = values.reshape(len(values), *(values.shape[1:] or (1,))).astype(np.float64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # where all of them are NaN
        found = {
            "min": np.nanmin(values, axis=0),
            "max": np.nanmax(values, axis=0),
            "mean": np.nanmean(values, axis=0),
            "std": np.nanstd(values, axis=0),
            **dict(zip(QUANTILES, np.nanquantile(values, list(QUANTILES.values()), axis=0), strict=True)),
        }
    return {name: np.nan_to_num(each) for name, each in found.items()} | {"count": np.array([len(values)])}


def numbers_of_pictures(pictures: NDArray[np.uint8]) -> Numbers:
    """The numbers of pictures (n, height, width, 3), by channel (3, 1, 1) and between 0 and 1; ``count`` is of them."""
    found = numbers_of(pictures.reshape(-1, 3))
    return {name: each.reshape(3, 1, 1) / 255 for name, each in found.items() if name != "count"} | {
        "count": np.array([len(pictures)])
    }


class Together:
    """The numbers of a feature in all episodes, of those of each. Quantiles are their means, as LeRobot has them."""

    def __init__(self) -> None:
        self._count = 0
        self._least: NDArray[Any] | None = None
        self._most: NDArray[Any] | None = None
        self._sums: Numbers = {}

    def add(self, numbers: Numbers) -> None:
        """Take an episode's into account."""
        count = int(numbers["count"][0])
        mean = numbers["mean"]
        sums = {"mean": mean, "square": numbers["std"] ** 2 + mean**2, **{name: numbers[name] for name in QUANTILES}}
        self._sums = {name: self._sums.get(name, 0.0) + count * each for name, each in sums.items()}
        self._least = numbers["min"] if self._least is None else np.minimum(self._least, numbers["min"])
        self._most = numbers["max"] if self._most is None else np.maximum(self._most, numbers["max"])
        self._count += count

    def numbers(self) -> Numbers:
        """As of `numbers_of`, of all that were added, which is one at least."""
        assert self._least is not None  # noqa: S101 - as the docstring says
        assert self._most is not None  # noqa: S101 - likewise
        means = {name: each / self._count for name, each in self._sums.items()}
        deviation = np.sqrt(np.maximum(means.pop("square") - means["mean"] ** 2, 0.0))
        return {"min": self._least, "max": self._most, "std": deviation, **means, "count": np.array([self._count])}
