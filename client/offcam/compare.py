"""``offcam.compare``: which of several algorithms is better, and how sure that is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from offcam_runs.analysis import Comparison
    from offcam_runs.run import Run, Runs


def compare(
    groups: Mapping[str, Run | Runs],
    *,
    threshold: float | None = None,
    episodes: int = 100,
    scales: Mapping[str, tuple[float, float]] | None = None,
    confidence: float = 0.95,
    seed: int = 0,
) -> Comparison:
    """Compare groups of runs, such as the seeds of two algorithms, by the methods of Agarwal et al., NeurIPS 2021.

    Interquartile mean, optimality gap, performance profile, sample efficiency and probability of improvement, each with
    its stratified bootstrap interval; what `offcam compare` prints. A run's score is the mean return of its last
    episodes. Runs are compared env by env: runs of an env that not all groups have are left out.

    Args:
        groups: by a group's name what `offcam.load` returned: one run, or several.
        threshold: the score that is enough, for the optimality gap; without it there is no gap.
        episodes: how many at the end of a run make its score.
        scales: by env the returns that count as 0 and as 1, where there are several envs. By default returns are taken
            as they are.
        confidence: confidence level of all intervals, between 0 and 1.
        seed: seed of the resampling; the same seed gives the same intervals.

    Returns:
        The statistics of each group, and the probability of improvement of each pair; its ``warnings`` say what was
        left out.

    Raises:
        ConfigError: there are fewer than two groups, one has no run with a score, they have no env in common, or a
            scale does not go from one number to another.
    """
    from offcam_runs.comparing import compare_runs  # noqa: PLC0415 - a training that only records need not load it

    return compare_runs(groups, threshold=threshold, episodes=episodes, scales=scales, confidence=confidence, seed=seed)
