"""The rules that there are, by name: what `offcam.keep` has, and what a rule's text says."""

from __future__ import annotations

import ast
import math
from collections.abc import Callable
from contextlib import suppress
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from offcam_proto.errors import ConfigError
from offcam_proto.validation import shown
from offcam_runs.keep.rules import MOST_RULE_BYTES, ComparisonRule, Episode, Ranking, Rule, Test, number_text

if TYPE_CHECKING:
    import numpy as np

Whole: TypeAlias = "int | np.integer[Any]"
Number: TypeAlias = "float | np.integer[Any] | np.floating[Any]"

# --- rankings and comparisons -----------------------------------------------------------------------------


def best(k: Whole, *, among: Rule | None = None) -> Rule:
    """The ``k`` episodes with the highest returns so far; of equal ones the earlier. NaN is never among them."""
    return Ranking("best", _whole("best", k), among)


def worst(k: Whole, *, among: Rule | None = None) -> Rule:
    """The ``k`` episodes with the lowest returns so far; of equal ones the earlier. NaN is never among them."""
    return Ranking("worst", _whole("worst", k), among)


def spread(k: Whole, *, among: Rule | None = None) -> Rule:
    """At most ``k`` episodes, and at least half as many, spread evenly over the run; the first episode is one."""
    return Ranking("spread", _whole("spread", k), among)


def surprising(k: Whole, *, among: Rule | None = None) -> Rule:
    """The ``k`` episodes whose return or length was farthest from its moving average, in its standard deviations.

    The averages are of about the last 100 episodes before it; the first 10 episodes of a run are not among them.
    """
    return Ranking("surprising", _whole("surprising", k), among)


def new_best(*, among: Rule | None = None) -> Rule:
    """Each episode whose return is higher than all before it; the first is one."""
    return ComparisonRule("new_best", among=among)


def percentile(low: Number, high: Number, *, among: Rule | None = None) -> Rule:
    """Each episode whose return is, when it ends, between these percentiles of those before it; never the first."""
    return ComparisonRule("percentile", _number("percentile", low), _number("percentile", high), among)


# --- what an episode says by itself -----------------------------------------------------------------------


def failures() -> Rule:
    """Episodes that were no success: by ``is_success``, else ``success``, in the last step's ``info``.

    An episode whose ``info`` has neither is neither a failure nor a success.
    """
    return Test("failures()", lambda episode: episode.success is False)


def successes() -> Rule:
    """Episodes that were a success: see `failures`."""
    return Test("successes()", lambda episode: episode.success is True)


def above(x: Number) -> Rule:
    """Episodes with a return above ``x``."""
    limit = _number("above", x)
    return Test(f"above({number_text(limit)})", lambda episode: episode.return_ > limit)


def below(x: Number) -> Rule:
    """Episodes with a return below ``x``."""
    limit = _number("below", x)
    return Test(f"below({number_text(limit)})", lambda episode: episode.return_ < limit)


def longer_than(n: Number) -> Rule:
    """Episodes of more than ``n`` steps."""
    limit = _number("longer_than", n)
    return Test(f"longer_than({number_text(limit)})", lambda episode: episode.length > limit)


def shorter_than(n: Number) -> Rule:
    """Episodes of fewer than ``n`` steps."""
    limit = _number("shorter_than", n)
    return Test(f"shorter_than({number_text(limit)})", lambda episode: episode.length < limit)


def every(n: Whole) -> Rule:
    """Each ``n``-th episode of an env, beginning with the first."""
    step = _whole("every", n)
    return Test(f"every({step})", lambda episode: episode.episode % step == 0)


def when(function: Callable[[Episode], object]) -> Rule:
    """Episodes for which a function of your own is true; it is called on the env's thread, at the episode's end.

    The function is given an `offcam.keep.Episode`. What it raises becomes a warning, and counts as False.
    """
    if not callable(function):
        raise ConfigError(
            f"when takes a function of an episode, got {shown(function)}: `when(lambda e: e.length > 10)`"
        )
    name = ascii(getattr(function, "__name__", type(function).__name__)).strip("'")
    return Test(f"when({name[:150]})", function)


def _whole(name: str, value: object) -> int:
    if isinstance(value, Integral) and not isinstance(value, bool) and (whole := int(value)) >= 1:
        return whole
    raise ConfigError(f"{name}(n) takes a positive integer, got {shown(value)}: pass `{name}(3)`, say")


def _number(name: str, value: object) -> float:
    with suppress(OverflowError):  # an integer that no float can be
        if isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value):
            return float(value)
    raise ConfigError(f"{name} takes a finite number, got {shown(value)}: pass `{name}(200)`, say")


# --- as text ----------------------------------------------------------------------------------------------

_MADE_BY: Final[dict[str, Callable[..., Rule]]] = {
    function.__name__: function
    for function in (
        *(best, worst, spread, surprising, new_best, percentile),
        *(failures, successes, above, below, longer_than, shorter_than, every),
    )
}


def read(text: str) -> Rule:
    """The rule that a text says, as ``str`` of a rule does: ``failures() | worst(3, among=longer_than(10))``.

    Nothing in the text is run: names, numbers and operators are read. A rule with `when` has no text.

    Raises:
        ConfigError: the text is not a rule.
    """
    try:
        return _rule_of(ast.parse(text.strip()[: MOST_RULE_BYTES + 1], mode="eval").body)
    except (SyntaxError, TypeError, ValueError, RecursionError, MemoryError) as error:
        if isinstance(error, ConfigError):
            raise
        why = f"{error.msg}, at character {error.offset}" if isinstance(error, SyntaxError) else error
        raise ConfigError(
            f"{shown(text)} is no rule ({why}). Write `failures() | worst(3)`, say, of {', '.join(_MADE_BY)}; a "
            "function of your own goes into `offcam.keep.when`, which has no text."
        ) from error


def _rule_of(node: ast.expr) -> Rule:
    match node:
        case ast.BinOp(left=one, op=ast.BitOr(), right=other):
            return _rule_of(one) | _rule_of(other)
        case ast.BinOp(left=one, op=ast.BitAnd(), right=other):
            return _rule_of(one) & _rule_of(other)
        case ast.UnaryOp(op=ast.Invert(), operand=other):
            return ~_rule_of(other)
        case ast.Call(func=ast.Name(id=name)) if name in _MADE_BY:
            among = {str(each.arg): _rule_of(each.value) for each in node.keywords}
            return _MADE_BY[name](*map(ast.literal_eval, node.args), **among)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == when.__name__:
        raise ValueError(f"`{ast.unparse(node)[:80]}` asks a function, which is the training's and not in a text")
    call = f": call it, `{node.id}()`" if isinstance(node, ast.Name) and node.id in _MADE_BY else ""
    raise ValueError(f"`{ast.unparse(node)[:80]}` at character {node.col_offset + 1} is none{call}")
