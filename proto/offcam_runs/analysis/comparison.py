"""Which of several algorithms is better, and how sure that is: groups of runs by the methods of the field.

All are those of Agarwal et al., "Deep Reinforcement Learning at the Edge of the Statistical Precipice", NeurIPS 2021,
which its library rliable computes. A group is an algorithm's runs; a run has one score; a task is an env. With tasks of
as many runs each, the numbers are rliable's.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from offcam_runs.analysis.curves import Band, Curve, band
from offcam_runs.analysis.statistics import RESAMPLES, Floats, members, quantile, resample
from offcam_runs.json_text import finite

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

FEW_RUNS = 5
"""With fewer runs than this the percentile bootstrap is too narrow, and one run more may turn everything."""

PROFILE_POINTS = 101
"""Scores at which a performance profile is computed."""


class Estimate(NamedTuple):
    """A statistic and its confidence interval; the ends are NaN where there is none."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Group:
    """The runs of one algorithm.

    Attributes:
        label: its name.
        tasks: of each of its n runs, the env.
        scores: (n,) of each run, finite.
        progress: (n, fractions) the score of each run at each of these fractions of the steps; NaN where it had none
            yet.
    """

    label: str
    tasks: tuple[str, ...]
    scores: Floats
    progress: Floats


@dataclass(frozen=True, slots=True)
class Compared:
    """What there is to say about one group by itself.

    Attributes:
        label: its name.
        runs: how many it has.
        iqm: interquartile mean of the scores of its runs.
        gap: see `optimality_gap`; None without a threshold.
        profile: see `performance_profile`, at each of `Comparison.thresholds`.
        efficiency: the interquartile mean of the scores that its runs had at each of `Comparison.fractions`.
    """

    label: str
    runs: int
    iqm: Estimate
    gap: Estimate | None
    profile: Band
    efficiency: Band


class Improvement(NamedTuple):
    """How probable it is that a run of one group is better than one of another, see `probability_of_improvement`."""

    better: str
    than: str
    probability: Estimate


@dataclass(frozen=True, slots=True)
class Comparison:
    """Several groups, compared.

    Attributes:
        groups: each by itself, in the order given.
        pairs: each group with each of the later ones.
        tasks: the envs, each once.
        threshold: the score that is enough, for the optimality gap; None where none was given.
        thresholds: (points,) scores, of the profiles.
        fractions: (fractions,) of the steps, of the efficiency.
        confidence: of all intervals.
        warnings: what whoever reads it should know, a sentence each.
    """

    groups: tuple[Compared, ...]
    pairs: tuple[Improvement, ...]
    tasks: tuple[str, ...]
    threshold: float | None
    thresholds: Floats
    fractions: tuple[float, ...]
    confidence: float
    warnings: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """All of it, ready for JSON: None for what is NaN."""
        found = asdict(self)
        for group in found["groups"]:
            for name in ("iqm", "gap"):
                group[name] = group[name] and group[name]._asdict()
        found["pairs"] = [{**pair._asdict(), "probability": pair.probability._asdict()} for pair in self.pairs]
        plain: dict[str, Any] = finite(_listed(found))
        return plain


def compare(
    groups: Sequence[Group],
    fractions: Sequence[float],
    *,
    threshold: float | None = None,
    confidence: float = 0.95,
    seed: int = 0,
) -> Comparison:
    """Compare groups by every method of this module.

    Args:
        groups: at least one, each with at least one run of each task.
        fractions: of the steps, those of each group's ``progress``.
        threshold: the score that is enough, for the optimality gap.
        confidence: of all intervals, between 0 and 1.
        seed: of the resampling; the same gives the same intervals.
    """
    every = np.concatenate([group.scores for group in groups])
    thresholds = np.linspace(every.min(), every.max(), PROFILE_POINTS)

    def estimated(values: Floats, group: Group, statistic: Any = "mean") -> Band:  # noqa: ANN401 - passed on
        return band(
            values, statistic, confidence=confidence, resamples=RESAMPLES, seed=seed, strata=np.array(group.tasks)
        )

    def compared(group: Group) -> Compared:
        gap = None if threshold is None else _first(estimated(_short(group.scores, threshold)[:, None], group))
        return Compared(
            label=group.label,
            runs=group.scores.size,
            iqm=_first(estimated(group.scores[:, None], group, "iqm")),
            gap=gap,
            profile=estimated(_above(group.scores, thresholds), group),
            efficiency=estimated(group.progress, group, "iqm"),
        )

    return Comparison(
        groups=tuple(map(compared, groups)),
        pairs=tuple(
            Improvement(one.label, other.label, improvement(one, other, confidence=confidence, seed=seed))
            for place, one in enumerate(groups)
            for other in groups[place + 1 :]
        ),
        tasks=tuple(dict.fromkeys(task for group in groups for task in group.tasks)),
        threshold=threshold,
        thresholds=thresholds,
        fractions=tuple(fractions),
        confidence=confidence,
        warnings=tuple(_warnings(groups)),
    )


def _warnings(groups: Sequence[Group]) -> Iterator[str]:
    few = [f"{group.label} has {group.scores.size}" for group in groups if group.scores.size < FEW_RUNS]
    if few:
        yield f"{', '.join(few)} of the {FEW_RUNS} runs that an interval should be of: with fewer it is too narrow"


def optimality_gap(scores: ArrayLike, threshold: float) -> float:
    """By how much runs miss a score that is enough, on average; a run above it counts as one that reached it.

    ``mean(max(threshold - score, 0))`` (Agarwal et al., 2021, section 4.3). It is 0 where all runs reach it: less is
    better.

    Args:
        scores: (n,) of runs, at least one.
        threshold: the score that is enough, such as what the env's authors call solved.
    """
    return float(_short(np.asarray(scores, np.float64), threshold).mean())


def performance_profile(scores: ArrayLike, thresholds: ArrayLike) -> Floats:
    """The share of runs with a score above each of some thresholds: the run-score distribution.

    ``mean(score > threshold)`` (Agarwal et al., 2021, section 4.2; by the idea of Dolan and More, "Benchmarking
    optimization software with performance profiles", Mathematical Programming 91, 2002). A profile that is nowhere
    below another's is stochastically dominant.

    Args:
        scores: (n,) of runs, at least one.
        thresholds: (points,)

    Returns:
        (points,), each from 0 to 1.
    """
    profile: Floats = _above(np.asarray(scores, np.float64), np.asarray(thresholds, np.float64)).mean(axis=0)
    return profile


def probability_of_improvement(
    one: ArrayLike, other: ArrayLike, tasks: tuple[ArrayLike, ArrayLike] | None = None
) -> float:
    """How probable it is that a run of one group has a higher score than a run of another on the same task.

    On a task ``mean over all pairs (x, y) of 1 if x > y, 1/2 if x = y, else 0``, over tasks their mean (Agarwal et al.,
    2021, section 4.3): the Mann-Whitney U statistic over the number of pairs (Mann and Whitney, "On a test of whether
    one of two random variables is stochastically larger than the other", Annals of Mathematical Statistics 18, 1947).

    Args:
        one: (n,) scores of the one group's runs.
        other: (m,) scores of the other group's runs.
        tasks: the task of each run of the one group, (n,), and of the other, (m,); by default all are of one task.
    """
    shares = _shares(np.asarray(one, np.float64), np.asarray(other, np.float64), tasks)
    return float(np.mean([pairs.mean() for _, _, pairs in shares]))


def improvement(one: Group, other: Group, *, confidence: float = 0.95, seed: int = 0) -> Estimate:
    """`probability_of_improvement` with its stratified bootstrap interval.

    The runs of either group on each task are resampled among themselves. NaN at both ends where a group has a single
    run on each task: of one value there is no interval.

    Args:
        one: the group that may be better.
        other: the group that it is compared with. Both have a run of each task.
        confidence: between 0 and 1.
        seed: of the drawing; the same gives the same interval.
    """
    value = probability_of_improvement(one.scores, other.scores, (one.tasks, other.tasks))
    if any(max(rows.size for rows in members(group.tasks)) < 2 for group in (one, other)):
        return Estimate(value, math.nan, math.nan)
    shares = _shares(one.scores, other.scores, (one.tasks, other.tasks))
    begin = one.scores.size  # the other group's rows follow those of this one
    strata = [*members(one.tasks), *(rows + begin for rows in members(other.tasks))]
    estimates: list[Floats] = []
    weights: list[Floats] = []
    for counts, weight in resample(strata, RESAMPLES, seed):
        each = [
            ((counts[:, rows] @ pairs) * counts[:, begin + others]).sum(axis=1) / pairs.size
            for rows, others, pairs in shares
        ]
        estimates.append(np.mean(each, axis=0)[:, None])
        weights.append(weight)
    found, weighed, tail = np.concatenate(estimates), np.concatenate(weights), (1 - confidence) / 2
    return Estimate(value, float(quantile(found, weighed, tail)[0]), float(quantile(found, weighed, 1 - tail)[0]))


def progress(curve: Curve, steps: ArrayLike, episodes: int) -> Floats:
    """A run's score after each of some numbers of steps: the mean of the last ``episodes`` that had ended by then.

    At the run's end it is the score itself. Interquartile means of it over runs are what rliable's
    ``plot_sample_efficiency_curve`` shows (Agarwal et al., 2021).

    Args:
        curve: of returns by steps.
        steps: (points,) steps done.
        episodes: how many are averaged at most; returns that are not finite are left out.

    Returns:
        (points,), NaN where no episode had ended.
    """
    ends = np.searchsorted(curve.x, np.asarray(steps, np.float64), side="right")
    means = []
    for end in ends:
        values = curve.y[max(0, end - episodes) : end]
        there = values[np.isfinite(values)]
        means.append(there.mean() if there.size else math.nan)
    return np.array(means, np.float64)


def _short(scores: Floats, threshold: float) -> Floats:
    short: Floats = np.maximum(threshold - scores, 0.0)
    return short


def _above(scores: Floats, thresholds: Floats) -> Floats:
    return (scores[:, None] > thresholds).astype(np.float64)


def _shares(
    one: Floats, other: Floats, tasks: tuple[ArrayLike, ArrayLike] | None
) -> list[tuple[NDArray[np.intp], NDArray[np.intp], Floats]]:
    """For each task the indices of its runs in either group, and what each pair counts, (runs of one, of the other)."""
    of_one, of_other = tasks or (np.zeros(one.size), np.zeros(other.size))
    found = []
    for rows, others in zip(members(of_one), members(of_other), strict=True):
        x, y = one[rows, None], other[others]
        found.append((rows, others, (x > y) + 0.5 * (x == y)))
    return found


def _first(found: Band) -> Estimate:
    return Estimate(float(found.center[0]), float(found.low[0]), float(found.high[0]))


def _listed(value: Any) -> Any:  # noqa: ANN401 - whatever a comparison is made of
    """The same value with lists in place of arrays."""
    if isinstance(value, dict):
        return {name: _listed(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_listed(each) for each in value]
    return value.tolist() if isinstance(value, np.ndarray) else value
