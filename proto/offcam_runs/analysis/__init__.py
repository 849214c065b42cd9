"""Statistics of episodes as the field reports them: pure functions of numpy arrays, without I/O.

What is computed, and by whose definition, is said at each function. Values that are not finite are left out of
every statistic and counted, as in the daemon's own aggregates.

Numpy is all that it needs. Interquartile mean and bootstrap are checked in the tests against `scipy.stats` and
against rliable, the reference implementation of Agarwal et al., "Deep Reinforcement Learning at the Edge of the
Statistical Precipice", NeurIPS 2021.
"""

from offcam_runs.analysis.comparison import (
    Compared,
    Comparison,
    Estimate,
    Group,
    Improvement,
    compare,
    optimality_gap,
    performance_profile,
    probability_of_improvement,
    progress,
)
from offcam_runs.analysis.curves import (
    Aligned,
    Axis,
    Band,
    Curve,
    Smooth,
    align,
    band,
    curve,
    default_window,
    moving_average,
    smooth,
)
from offcam_runs.analysis.stages import STAGES, Pick, Stage, stages, stages_among
from offcam_runs.analysis.statistics import (
    Interval,
    Statistic,
    Summary,
    bootstrap_interval,
    center,
    interquartile_mean,
    summary,
)
from offcam_runs.analysis.steps import PerStep, per_step
from offcam_runs.analysis.success import SuccessRate, SuccessRule, success_rate

__all__ = [
    "STAGES",
    "Aligned",
    "Axis",
    "Band",
    "Compared",
    "Comparison",
    "Curve",
    "Estimate",
    "Group",
    "Improvement",
    "Interval",
    "PerStep",
    "Pick",
    "Smooth",
    "Stage",
    "Statistic",
    "SuccessRate",
    "SuccessRule",
    "Summary",
    "align",
    "band",
    "bootstrap_interval",
    "center",
    "compare",
    "curve",
    "default_window",
    "interquartile_mean",
    "moving_average",
    "optimality_gap",
    "per_step",
    "performance_profile",
    "probability_of_improvement",
    "progress",
    "smooth",
    "stages",
    "stages_among",
    "success_rate",
    "summary",
]
