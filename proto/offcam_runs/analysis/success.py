"""Success rate by a stated rule."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np

from offcam_proto.errors import ConfigError
from offcam_runs.analysis.statistics import Interval
from offcam_runs.json_text import finite

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

SUCCESS_VALUES = ("is_success", "success")
"""Values by which an env itself says whether an episode was a success."""

_CONDITION = re.compile(
    rf"(?P<negated>not\s+)?(?P<flag>terminated|truncated|{'|'.join(SUCCESS_VALUES)})"
    r"|(?P<number>[^\W\d][\w./:-]*)\s*(?P<relation>>=|<=|>|<)\s*(?P<limit>[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?)"
)
_ALWAYS = ("return", "length", "terminated", "truncated")
_RELATIONS = {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt}


@dataclass(frozen=True, slots=True)
class SuccessRate:
    """How many episodes succeeded.

    Attributes:
        rule: what success was, in words.
        successes: how many episodes meet the rule.
        count: how many episodes there are.
        rate: ``successes / count``, NaN without episodes.
        interval: Wilson's score interval (Wilson, "Probable inference, the law of succession, and statistical
            inference", JASA 22, 1927), which is sound near 0 and 1 too, where a bootstrap has no width.
        confidence: of the interval.
    """

    rule: str
    successes: int
    count: int
    rate: float
    interval: Interval
    confidence: float

    def as_dict(self) -> dict[str, Any]:
        """All of it, ready for JSON: None for what is NaN."""
        found: dict[str, Any] = finite(asdict(self))
        return found


@dataclass(frozen=True, slots=True)
class SuccessRule:
    """When an episode is a success.

    Attributes:
        text: conditions joined by ``and``: ``terminated``, ``truncated``, either with ``not`` before it, and
            ``return``, ``length`` or the name of an episode's value compared by ``>``, ``>=``, ``<`` or ``<=`` with a
            number; ``is_success`` and ``success`` can stand alone. For example ``terminated and return >= 200``. A
            return that is NaN meets no comparison; an episode whose value is not known is not counted at all.

    Raises:
        ConfigError: the text is no such rule.
    """

    text: str

    def __post_init__(self) -> None:
        for condition in self._conditions():
            if _CONDITION.fullmatch(condition) is None:
                raise ConfigError(
                    f"{condition!r} is no condition of success: say `terminated`, `truncated`, `not truncated`, "
                    "`is_success`, `return >= NUMBER` or `length < NUMBER`, joined by `and`, as in "
                    "'terminated and return >= 200'"
                )

    def _conditions(self) -> list[str]:
        return [part.strip() for part in re.split(r"\band\b", self.text)]

    def __call__(self, episodes: Mapping[str, ArrayLike]) -> NDArray[np.bool_]:
        """Which of n episodes succeeded.

        Args:
            episodes: columns ``return``, ``length``, ``terminated`` and ``truncated``, (n,) each; values by name.

        Raises:
            ConfigError: the rule asks for a value that no episode has.
        """
        met = np.ones(np.asarray(episodes["return"]).shape, np.bool_)
        for condition in self._conditions():
            match = _CONDITION.fullmatch(condition)
            assert match is not None  # noqa: S101 - checked when the rule was made
            if flag := match["flag"]:
                met &= np.asarray(_column(episodes, flag), np.bool_) ^ bool(match["negated"])
            else:
                values = np.asarray(_column(episodes, match["number"]), np.float64)
                met &= _RELATIONS[match["relation"]](values, float(match["limit"]))
        return met

    def known(self, episodes: Mapping[str, ArrayLike]) -> NDArray[np.bool_]:
        """Which of n episodes have all values that the rule asks for, (n,); see `__call__`."""
        known = np.ones(np.asarray(episodes["return"]).shape, np.bool_)
        for condition in self._conditions():
            match = _CONDITION.fullmatch(condition)
            assert match is not None  # noqa: S101 - as above
            name = match["flag"] or match["number"]
            if name not in _ALWAYS:
                known &= ~np.isnan(np.asarray(_column(episodes, name), np.float64))
        return known


def _column(episodes: Mapping[str, ArrayLike], name: str) -> ArrayLike:
    if name not in episodes:
        if not np.size(episodes["return"]):
            return np.empty(0)
        others = sorted(set(episodes).difference(_ALWAYS))
        raise ConfigError(
            f"no episode has a value {name!r}: "
            + (f"there are {', '.join(others)}" if others else "record it with `info_keywords`")
        )
    return episodes[name]


def success_rate(episodes: Mapping[str, ArrayLike], rule: SuccessRule, *, confidence: float = 0.95) -> SuccessRate:
    """The share of episodes that succeeded, with Wilson's interval.

    Args:
        episodes: as `SuccessRule` takes them. Those without a value that the rule asks for are left out.
        rule: what success is. There is no default: what a return of one env means says nothing of another's.
        confidence: of the interval, between 0 and 1.
    """
    met = rule(episodes)[rule.known(episodes)]
    successes, count = int(met.sum()), met.size
    if not count:
        return SuccessRate(
            rule=rule.text,
            successes=0,
            count=0,
            rate=math.nan,
            interval=Interval(math.nan, math.nan),
            confidence=confidence,
        )
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    rate = successes / count
    middle = (rate + z * z / (2 * count)) / (1 + z * z / count)
    reach = z / (1 + z * z / count) * math.sqrt(rate * (1 - rate) / count + z * z / (4 * count * count))
    low = 0.0 if successes == 0 else middle - reach  # exactly, not but for rounding
    high = 1.0 if successes == count else middle + reach
    return SuccessRate(
        rule=rule.text, successes=successes, count=count, rate=rate, interval=Interval(low, high), confidence=confidence
    )
