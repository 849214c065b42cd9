"""Groups of recorded runs, such as the seeds of two algorithms, made ready to be compared."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from offcam_proto.errors import ConfigError
from offcam_runs.analysis import Comparison, Group, compare, progress
from offcam_runs.run import SCORE_EPISODES, Run, Runs

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from offcam_runs.analysis.statistics import Floats

FRACTIONS = (0.1, 0.25, 0.5, 0.75, 1.0)
"""Fractions of the steps at which scores are compared by default."""

Scales = Mapping[str, tuple[float, float]]
"""For each env the returns that count as 0 and as 1."""


@dataclass(frozen=True, slots=True)
class _Scored:
    run: Run
    task: str
    score: float


def compare_runs(
    groups: Mapping[str, Run | Sequence[Run]],
    *,
    threshold: float | None = None,
    fractions: Sequence[float] = FRACTIONS,
    episodes: int = SCORE_EPISODES,
    scales: Scales | None = None,
    confidence: float = 0.95,
    seed: int = 0,
) -> Comparison:
    """Compare groups of runs, as `offcam compare` does.

    A run's score is the mean return of its last episodes, as in `Runs.scores`. Runs are compared env by env: what is of
    an env that not all groups have is left out, as is a run without a score.

    Args:
        groups: by name the runs of each, such as what `offcam.load` returns.
        threshold: the score that is enough, for the optimality gap; with ``scales`` one of those, often 1.
        fractions: of the steps, for sample efficiency: 1 are the steps that all runs of an env have.
        episodes: at the end of a run, behind its score.
        scales: by env the returns that count as 0 and as 1, as of a random agent and of a person. By default returns
            are taken as they are, which means little over several envs.
        confidence: of all intervals, between 0 and 1.
        seed: of the resampling; the same gives the same intervals.

    Raises:
        ConfigError: there are fewer than two groups, one has no run with a score, or they have no env in common; or
            a scale is none.
    """
    if len(groups) < 2:
        raise ConfigError(f"a comparison is of at least two groups of runs, got {len(groups)}")
    scales = {} if scales is None else scales
    _check(scales)
    given = {label: [runs] if isinstance(runs, Run) else list(runs) for label, runs in groups.items()}
    scored = {label: _scored(runs, episodes) for label, runs in given.items()}
    tasks = _common(scored)
    every = [each for runs in scored.values() for each in runs if each.task in tasks]
    last = {task: min(_steps(each.run) for each in every if each.task == task) for task in tasks}

    def group(label: str, runs: list[_Scored]) -> Group:
        found = sorted((each for each in runs if each.task in tasks), key=lambda each: each.task)
        rows = [
            [*progress(each.run.curve("return", "step"), np.array(fractions) * last[each.task], episodes), each.score]
            for each in found
        ]
        scaled = np.array([_scaled(row, scales.get(each.task)) for row, each in zip(rows, found, strict=True)])
        return Group(label, tuple(each.task for each in found), scaled[:, -1], scaled[:, :-1])

    each = [group(label, runs) for label, runs in scored.items()]
    found = compare(each, fractions, threshold=threshold, confidence=confidence, seed=seed)
    return replace(found, warnings=(*found.warnings, *_left_out(given, every), *_unscaled(tasks, scales)))


def _check(scales: Scales) -> None:
    for env, (low, high) in scales.items():
        if not (math.isfinite(low) and math.isfinite(high) and low != high):
            raise ConfigError(
                f"the scale of {env} is two different finite numbers, the returns that count as 0 and as 1, got {low} "
                f"and {high}"
            )


def _common(scored: Mapping[str, Sequence[_Scored]]) -> set[str]:
    """The envs of which each group has a run. ConfigError where there is none."""
    for label, runs in scored.items():
        if not runs:
            raise ConfigError(f"no run of {label} has an episode with a finite return: come back when one has ended")
    envs = {label: {each.task for each in runs} for label, runs in scored.items()}
    tasks = set.intersection(*envs.values())
    if not tasks:
        of = "; ".join(f"{label} is of {', '.join(sorted(names))}" for label, names in envs.items())
        raise ConfigError(f"these groups have no env in common, so nothing can be compared: {of}")
    return tasks


def _left_out(given: Mapping[str, Sequence[Run]], taken: Sequence[_Scored]) -> Iterator[str]:
    there = {id(each.run) for each in taken}
    for run in (run for runs in given.values() for run in runs if id(run) not in there):
        why = (
            "not every group has a run of its env"
            if np.isfinite(run.episodes.return_).any()
            else "it has no return yet"
        )
        yield f"{run.folder} is left out: {why}"


def _unscaled(tasks: set[str], scales: Scales) -> Iterator[str]:
    if idle := sorted(set(scales) - tasks):
        yield f"a scale is given of {', '.join(idle)}, which is not compared: there are {', '.join(sorted(tasks))}"
    missing = sorted(tasks - set(scales))
    if len(tasks) > 1 and missing:
        yield f"returns of {', '.join(missing)} are taken as they are beside those of other envs: give each a scale"


def _scored(runs: Sequence[Run], episodes: int) -> list[_Scored]:
    """The runs that have a score."""
    scores = Runs(tuple(runs)).scores(episodes).tolist()
    pairs = zip(runs, scores, strict=True)
    return [_Scored(run, ", ".join(run.env_ids), score) for run, score in pairs if math.isfinite(score)]


def _steps(run: Run) -> int:
    return int(run.episodes.length.sum())


def _scaled(values: ArrayLike, scale: tuple[float, float] | None) -> Floats:
    low, high = scale or (0.0, 1.0)
    scaled: Floats = (np.asarray(values, np.float64) - low) / (high - low)
    return scaled
