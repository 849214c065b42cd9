"""Which episodes' videos are worth keeping: rules that are combined by ``|``, ``&`` and ``~``, and their text.

A rule is made by the names of `offcam.keep`. Its leaves are of two sorts: a `Test` looks at one episode by itself, and
is asked by the client that played it; a `Ranking` or a `ComparisonRule` holds an episode against the run's others, and
is the daemon's to judge (`offcam_runs.keep.judge`). A client sends its rule as text: `pack` and `unpack`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, Final

from offcam_proto.errors import ConfigError, MalformedMessage
from offcam_proto.validation import shown

MOST_KEPT: Final = 1000
"""Most episodes that one ranking keeps."""

MOST_TESTS: Final = 60
"""Most tests of one rule: what they say of an episode is one integer on the wire and in the index."""

MOST_LEAVES: Final = 64
"""Most leaves of one rule, those within ``among`` too."""

MOST_LEVELS: Final = 20
"""Most levels of one rule: each ``|``, ``&``, ``~`` and ``among`` within another is one more."""

MOST_TEXT_BYTES: Final = 200
"""Longest text of a test, in bytes of UTF-8."""

MOST_RULE_BYTES: Final = 4096
"""Longest rule as `pack` writes it, in bytes of UTF-8."""

RANKINGS: Final = ("best", "worst", "spread", "surprising")
COMPARISONS: Final = ("new_best", "percentile")


@dataclass(frozen=True)
class Episode:
    """What a test is asked about: one finished episode.

    Attributes:
        episode: its number, from 0.
        return_: sum of its rewards.
        length: its steps.
        terminated: whether its last step was terminal.
        truncated: whether it was cut off.
        info: the last step's ``info``.
        success: what ``is_success``, else ``success``, in that says; None where there is neither.
    """

    episode: int
    return_: float
    length: int
    terminated: bool
    truncated: bool
    info: dict[str, Any] = field(default_factory=dict)
    success: bool | None = None


# --- rules ------------------------------------------------------------------------------------------------


class Rule:
    """Which episodes are kept: ``a | b``, ``a & b`` and ``~a`` are rules, too. A rule is checked when it is made.

    ``str(rule)`` is the Python expression that makes it.
    """

    def __or__(self, other: Rule) -> Rule:
        return Or((self, required(other)))

    def __ror__(self, other: Rule) -> Rule:
        return Or((required(other), self))

    def __and__(self, other: Rule) -> Rule:
        return And((self, required(other)))

    def __rand__(self, other: Rule) -> Rule:
        return And((required(other), self))

    def __invert__(self) -> Rule:
        return Not(self)

    def __bool__(self) -> bool:
        # `a or b` would quietly be `a`
        raise ConfigError(
            f"{self} is neither true nor false by itself: combine rules by `|`, `&` and `~`, not by words"
        )

    def leaves(self) -> Iterator[Rule]:
        """The rule's leaves, from left to right, without those within ``among``."""
        yield self

    @property
    def ranks(self) -> bool:
        """Whether an episode that is kept may be let go later, for better ones."""
        return any(isinstance(leaf, Ranking) for leaf in self.leaves())

    @property
    def admits_late(self) -> bool:
        """Whether an episode that is not kept may be kept later: where `~` is over a ranking that lets it go.

        Frames are gone by then; only a video that is made of its steps can come that late.
        """
        return any(part.admits_late for part in self.parts())

    def parts(self) -> tuple[Rule, ...]:
        """The rules that this one is made of: those that it combines, or the one in ``among``."""
        return ()


def _cannot_be_asked(_episode: Episode) -> object:
    raise ConfigError("a test that came as text cannot be asked: its client has asked it, and sends what it said")


@dataclass(frozen=True, eq=False)
class Test(Rule):
    """Judges an episode by itself.

    Two tests with the same text are equal, as the text says all that they ask; except `when`, whose text is only a
    name.

    Attributes:
        text: what it is called, as in ``above(200)``: printable, of at most `MOST_TEXT_BYTES`.
        asks: called with an episode; the test holds where what it returns is true.
        bit: its place in `tests_of`, for a test that came by `unpack` and cannot be asked; None for any other.
    """

    text: str
    asks: Callable[[Episode], object] = field(default=_cannot_be_asked, repr=False)
    bit: int | None = None

    def __post_init__(self) -> None:
        fits = type(self.text) is str and self.text.isprintable() and 0 < len(self.text.encode()) <= MOST_TEXT_BYTES
        if not fits:
            raise ConfigError(
                f"a test's text must be printable, of 1 to {MOST_TEXT_BYTES} bytes, got {shown(self.text)}: give the "
                "function a shorter name"
            )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Test):
            return NotImplemented
        same = self.text == other.text and self.bit == other.bit
        return same and (not self.text.startswith("when(") or bool(self.asks == other.asks))

    def __hash__(self) -> int:
        return hash((self.text, self.bit))

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Ranking(Rule):
    """Keeps the ``k`` episodes that are foremost in its order, among those for which another rule holds.

    Attributes:
        kind: one of `RANKINGS`.
        k: 1 to `MOST_KEPT`.
        among: a rule without rankings; None for all episodes.
    """

    kind: str
    k: int
    among: Rule | None = None

    def __post_init__(self) -> None:
        _require_kind(self.kind, RANKINGS)
        if type(self.k) is not int or not 1 <= self.k <= MOST_KEPT:
            raise ConfigError(
                f"{self.kind}(k) keeps 1 to {MOST_KEPT} episodes, got {shown(self.k)}: pass `{self.kind}(3)`, say"
            )
        _require_among(self)

    def parts(self) -> tuple[Rule, ...]:
        """What is ``among``."""
        return () if self.among is None else (self.among,)

    def __str__(self) -> str:
        return f"{self.kind}({', '.join((str(self.k), *_among_text(self)))})"


@dataclass(frozen=True)
class ComparisonRule(Rule):
    """Judges an episode once, by comparing it with those before it for which another rule holds.

    Attributes:
        kind: one of `COMPARISONS`.
        low: lower bound of a percentile, 0 to 100.
        high: its upper bound, above ``low``.
        among: a rule without rankings; None for all episodes.
    """

    kind: str
    low: float = 0.0
    high: float = 0.0
    among: Rule | None = None

    def __post_init__(self) -> None:
        _require_kind(self.kind, COMPARISONS)
        numbers = (self.low, self.high)
        fits = all(type(number) in (int, float) for number in numbers)
        fits = fits and (0 <= self.low < self.high <= 100 if self.kind == "percentile" else numbers == (0, 0))
        if not fits:
            raise ConfigError(
                f"percentile(low, high) takes two numbers from 0 to 100, the lower one first, got {shown(numbers)}: "
                "pass `percentile(90, 100)`, say"
            )
        object.__setattr__(self, "low", float(self.low))
        object.__setattr__(self, "high", float(self.high))
        _require_among(self)

    def parts(self) -> tuple[Rule, ...]:
        """What is ``among``."""
        return () if self.among is None else (self.among,)

    def __str__(self) -> str:
        numbers = (number_text(self.low), number_text(self.high)) if self.kind == "percentile" else ()
        return f"{self.kind}({', '.join((*numbers, *_among_text(self)))})"


@dataclass(frozen=True)
class _Joined(Rule):
    """Combines two rules or more; nested ones of the same kind are flattened: ``a | (b | c)`` is ``a | b | c``."""

    rules: tuple[Rule, ...]

    def __post_init__(self) -> None:
        flat: list[Rule] = []
        for rule in self.rules:
            flat += rule.rules if type(rule) is type(self) and isinstance(rule, _Joined) else (required(rule),)
        if len(flat) < 2:
            raise ConfigError(f"two rules or more are combined, got {len(flat)}: leave `{type(self).__name__}` out")
        object.__setattr__(self, "rules", tuple(flat))
        _require_size(self)

    def leaves(self) -> Iterator[Rule]:
        """The leaves of all its rules."""
        for rule in self.rules:
            yield from rule.leaves()

    def parts(self) -> tuple[Rule, ...]:
        """Its rules."""
        return self.rules


class Or(_Joined):
    """Holds where any of its rules does."""

    def __str__(self) -> str:
        return " | ".join(map(str, self.rules))


class And(_Joined):
    """Holds where all of its rules do."""

    def __str__(self) -> str:
        return " & ".join(f"({rule})" if isinstance(rule, Or) else str(rule) for rule in self.rules)


@dataclass(frozen=True)
class Not(Rule):
    """Holds where its rule does not."""

    of: Rule

    def __post_init__(self) -> None:
        required(self.of)
        _require_size(self)

    @property
    def admits_late(self) -> bool:
        """Whether there is a ranking in the negated rule."""
        return self.of.ranks

    def __invert__(self) -> Rule:
        return self.of

    def leaves(self) -> Iterator[Rule]:
        """The leaves of the negated rule."""
        yield from self.of.leaves()

    def parts(self) -> tuple[Rule, ...]:
        """The negated rule."""
        return (self.of,)

    def __str__(self) -> str:
        return f"~({self.of})" if isinstance(self.of, _Joined) else f"~{self.of}"


def every_leaf(rule: Rule) -> Iterator[Rule]:
    """A rule's leaves from left to right, each after those in its ``among``; one that is used twice comes twice."""
    for part in rule.parts():
        yield from every_leaf(part)
    if isinstance(rule, (Test, Ranking, ComparisonRule)):
        yield rule


def tests_of(rule: Rule) -> list[Test]:
    """A rule's tests, those within ``among`` too, in the order of their bits; each once."""
    return list(dict.fromkeys(leaf for leaf in every_leaf(rule) if isinstance(leaf, Test)))


def number_text(value: float) -> str:
    """A finite number as it is written in a rule's text: exact, and whole ones without a point."""
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(value)


# --- what every rule is checked for -----------------------------------------------------------------------


def required(value: object) -> Rule:
    """The same value, if it is a rule.

    Raises:
        ConfigError: the value is not a rule.
    """
    if isinstance(value, Rule):
        return value
    fix = "call it, as in `failures()`" if callable(value) else "see `offcam.keep` for those there are"
    raise ConfigError(f"rules are combined with rules, got {shown(value)}: {fix}")


def _require_kind(kind: object, kinds: tuple[str, ...]) -> None:
    if kind not in kinds:
        raise ConfigError(f"there is no {shown(kind)} of episodes: say one of {', '.join(kinds)}")


def _require_among(rule: Ranking | ComparisonRule) -> None:
    if rule.among is None:
        return
    if required(rule.among).ranks:
        raise ConfigError(
            f"`among` takes a rule without rankings, got {rule.among}: who is among the foremost changes with every "
            "episode. Say by tests which episodes are meant, or combine the two by `&`."
        )
    _require_size(rule)


def _require_size(rule: Rule) -> None:
    leaves, tests, levels = sum(1 for _ in every_leaf(rule)), len(tests_of(rule)), _levels(rule)
    if leaves > MOST_LEAVES or tests > MOST_TESTS or levels > MOST_LEVELS:
        raise ConfigError(
            f"a rule has at most {MOST_LEAVES} parts, {MOST_TESTS} of them tests, in {MOST_LEVELS} levels, and this "
            f"has {leaves}, {tests} and {levels}: put what it asks of an episode into one function, `when(FUNCTION)`"
        )


def _levels(rule: Rule) -> int:
    return 1 + max(map(_levels, rule.parts()), default=0)


def _among_text(rule: Ranking | ComparisonRule) -> tuple[str, ...]:
    return () if rule.among is None else (f"among={rule.among}",)


# --- as it travels ----------------------------------------------------------------------------------------

_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)


def pack(rule: Rule) -> str:
    """A rule as text that `unpack` reads, at most `MOST_RULE_BYTES` of UTF-8.

    JSON, a list for each rule: ``["test", BIT, TEXT]``; ``["best", K]`` and the other `RANKINGS`;
    ``["percentile", LOW, HIGH]`` and ``["new_best"]``; each of these with the rule that is ``among`` as one more item;
    ``["or", RULE, RULE, ...]``, ``["and", RULE, RULE, ...]`` and ``["not", RULE]``. Bits are numbered from 0 in the
    order in which their tests come first.

    Raises:
        ConfigError: the text is too long.
    """
    bits = {test: bit for bit, test in enumerate(tests_of(rule))}
    text = json.dumps(_packed(rule, bits), separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    if (size := len(text.encode())) > MOST_RULE_BYTES:
        raise ConfigError(
            f"a rule takes at most {MOST_RULE_BYTES} bytes as it is sent, and this takes {size}: give the functions "
            "of `when` shorter names, or put what it asks of an episode into one of them"
        )
    return text


def _packed(rule: Rule, bits: dict[Test, int]) -> list[object]:
    if isinstance(rule, Test):
        return ["test", bits[rule], rule.text]
    parts = [_packed(part, bits) for part in rule.parts()]
    if isinstance(rule, Ranking):
        return [rule.kind, rule.k, *parts]
    if isinstance(rule, ComparisonRule):
        return [rule.kind, *((rule.low, rule.high) if rule.kind == "percentile" else ()), *parts]
    return [type(rule).__name__.lower(), *parts]


def unpack(text: str) -> Rule:
    """A rule that was packed by another process; it can be judged by, but its tests cannot be asked.

    Raises:
        MalformedMessage: `pack` writes no such text, or the rule is beyond its bounds. Nothing else, whatever a peer
            sends.
    """
    try:
        return _made(_parsed(text), [])
    except ConfigError as error:
        raise MalformedMessage(f"this is no rule of what to keep: {error}") from error


def _parsed(text: object) -> object:
    """The JSON of a rule; what is nested too deeply is found before the parser meets it."""
    if type(text) is not str or not text.isprintable() or len(text.encode()) > MOST_RULE_BYTES:
        raise MalformedMessage(f"a rule must be text of at most {MOST_RULE_BYTES} bytes, got {shown(text)}")
    outside = _STRING.sub("", text)
    levels = max(accumulate((letter == "[") - (letter == "]") for letter in outside), default=0)
    if levels > MOST_LEVELS or "{" in outside:
        raise MalformedMessage(f"a rule has at most {MOST_LEVELS} levels of lists, and no objects: {shown(text)}")
    try:
        return json.loads(text)
    except ValueError as error:
        raise MalformedMessage(f"a rule must be JSON, got {shown(text)}: {error}") from error


_NUMBERS: Final = {**dict.fromkeys(RANKINGS, 1), "new_best": 0, "percentile": 2}
"""How many numbers follow the kind of a ranking or a comparison, before the rule in ``among``."""


def _made(value: object, tests: list[Test]) -> Rule:
    """The rule that a list stands for; ``tests`` has the tests found so far, and gets those of this rule."""
    kind, *rest = value if type(value) is list and value else (None,)
    if kind == "test":
        return _made_test(rest, tests)
    if type(kind) is str and (count := _NUMBERS.get(kind, len(rest) + 1)) <= len(rest) <= count + 1:
        among = _made(rest[count], tests) if rest[count:] else None
        if kind in RANKINGS:
            return Ranking(kind, rest[0], among)
        low, high = rest[:2] if count else (0.0, 0.0)
        return ComparisonRule(kind, low, high, among)
    if kind == "not" and len(rest) == 1:
        return Not(_made(rest[0], tests))
    if kind in ("or", "and"):
        parts = tuple(_made(each, tests) for each in rest)
        return Or(parts) if kind == "or" else And(parts)
    raise MalformedMessage(f"there is no such rule as {shown(value)}")


def _made_test(rest: list[Any], tests: list[Test]) -> Test:
    bit, text = rest if len(rest) == 2 else (None, None)
    if type(bit) is not int or not 0 <= bit <= len(tests) or type(text) is not str:
        raise MalformedMessage(f"a test is the next bit, or one before, and a text; got {shown(rest)}")
    if bit == len(tests):
        tests.append(Test(text, bit=bit))
    if tests[bit].text != text:
        raise MalformedMessage(f"test {bit} is {tests[bit].text} and {shown(text)}: each has a bit of its own")
    return tests[bit]
