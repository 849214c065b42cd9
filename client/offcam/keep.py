"""Which episodes' videos are kept, decided once they are over.

Each function here makes a rule; the argument ``keep`` of `offcam.record` and `offcam.RecordVideo` takes one::

    from offcam import keep

    env = offcam.record(env, "videos", keep=keep.failures() | keep.worst(3, among=keep.longer_than(10)))

Rules are combined by ``|`` (any of them), ``&`` (all of them) and ``~`` (not): ``keep.new_best() & ~keep.successes()``.
``~`` over a ranking (`best`, `worst`, `spread`, `surprising`) needs ``source="replay"``: an episode that falls out of
the ranking is kept from then on, and its frames would be gone by that time. Rankings and comparisons are among all
episodes that the rule judges; with ``among``, among some of these.
"""

from offcam_runs.keep.names import (
    above,
    below,
    best,
    every,
    failures,
    longer_than,
    new_best,
    percentile,
    shorter_than,
    spread,
    successes,
    surprising,
    when,
    worst,
)
from offcam_runs.keep.rules import Episode, Rule

__all__ = [
    "Episode",
    "Rule",
    "above",
    "below",
    "best",
    "every",
    "failures",
    "longer_than",
    "new_best",
    "percentile",
    "shorter_than",
    "spread",
    "successes",
    "surprising",
    "when",
    "worst",
]
