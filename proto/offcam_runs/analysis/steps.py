"""Reward and time of a step, over all steps of some episodes."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from offcam_runs.format import json_number

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


@dataclass(frozen=True, slots=True)
class PerStep:
    """Means over steps, not over episodes: a long episode counts for more.

    Attributes:
        reward: mean reward of a step, of the episodes whose return is finite. All three are NaN without a step.
        seconds: mean time of a step, of the episodes whose duration is known; it includes what the agent does between
            steps.
        steps_per_second: the inverse of ``seconds``: the speed of one environment, not of all that ran side by side.
    """

    reward: float
    seconds: float
    steps_per_second: float

    def as_dict(self) -> dict[str, float | None]:
        """All of it, ready for JSON: None for what is NaN or infinite."""
        return {name: json_number(value) for name, value in asdict(self).items()}


def per_step(returns: ArrayLike, lengths: ArrayLike, durations: ArrayLike) -> PerStep:
    """Spread episodes' returns and durations over their steps.

    Args:
        returns: (n,) of episodes; those that are not finite are left out, with their steps.
        lengths: (n,) in steps.
        durations: (n,) in seconds; those that are not finite are left out, with their steps.
    """
    steps = np.asarray(lengths, np.float64)
    rewards, rewarded = _sums(np.asarray(returns, np.float64), steps)
    seconds, timed = _sums(np.asarray(durations, np.float64), steps)
    return PerStep(_ratio(rewards, rewarded), _ratio(seconds, timed), _ratio(timed, seconds))


def _sums(
    values: np.ndarray[Any, np.dtype[np.float64]], steps: np.ndarray[Any, np.dtype[np.float64]]
) -> tuple[float, float]:
    """The sum of the finite values, and the sum of the steps of these."""
    there = np.isfinite(values)
    with np.errstate(over="ignore"):
        return float(values[there].sum()), float(steps[there].sum())


def _ratio(value: float, by: float) -> float:
    return value / by if by else math.nan
