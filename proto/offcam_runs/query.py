"""Which of many runs are meant: ``env:cartpole return>100 live``. Pure; what can be asked for is in `FIELDS`.

All terms of a query must hold. A word, or a text in quotes, must be part of the run's name, its env's id or its folder.
``field:text`` asks that of one field, ``field>number`` compares, and `FLAGS` ask for a state. ``-`` or ``not`` before a
term negates it. Case does not matter.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final

from offcam_proto.errors import QueryError
from offcam_runs.run_state import RUN_STATES

Facts = Mapping[str, str | float | None]
"""What is known of a run, by the names in `FIELDS`; None, or nothing, for a number that is not known."""

TEXTS: Final = ("name", "env", "folder", "state")
NUMBERS: Final = ("return", "best", "length", "episodes", "steps", "clips", "envs", "success", "dropped")
"""What can be asked for: ``return`` and ``length`` are means of the last 100 episodes, ``best`` is the highest return,
``success`` the share of the last 100 episodes that succeeded."""

FIELDS: Final = (*TEXTS, *NUMBERS)
FLAGS: Final = RUN_STATES
SEARCHED: Final = TEXTS[:3]
"""The fields that a word by itself is looked for in."""

_COMPARISONS: Final[dict[str, Callable[[float, float], bool]]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
    "=": operator.eq,
}
_SIGNS: Final = ":<>="
_UNITS: Final = {"k": 1e3, "m": 1e6}
_SHOWN: Final = 40
"""Most characters of a query that an error repeats."""


@dataclass(frozen=True, slots=True)
class Term:
    """One condition of a query.

    Attributes:
        sign: ``:`` for a text that must be part of one of ``fields``, else how the field's number is compared.
        fields: the names of the fields.
        value: the text in lower case, or the number.
        negated: whether the condition must not hold.
    """

    sign: str
    fields: tuple[str, ...]
    value: str | float
    negated: bool = False

    def holds(self, facts: Facts) -> bool:
        """Whether the term holds for a run. A number that is not known compares with none."""
        return self.negated != any(self._holds(facts.get(name)) for name in self.fields)

    def _holds(self, fact: str | float | None) -> bool:
        if isinstance(self.value, str):
            return isinstance(fact, str) and self.value in fact.casefold()
        return isinstance(fact, (int, float)) and _COMPARISONS[self.sign](fact, self.value)


@dataclass(frozen=True, slots=True)
class RunQuery:
    """A query for runs: all its terms must hold; without terms it means every run."""

    terms: tuple[Term, ...] = ()

    def matches(self, facts: Facts) -> bool:
        """Whether the query means a run."""
        return all(term.holds(facts) for term in self.terms)


def parse_query(text: str) -> RunQuery:
    """Parse a query that a user wrote.

    Raises:
        QueryError: it cannot be understood; the message says where, and what could be meant.
    """
    return RunQuery(tuple(_Reader(text).terms()))


class _Reader:
    """Parses a text in one pass, from beginning to end."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def terms(self) -> list[Term]:
        found = []
        while self._skip():
            found.append(self._term())
        return found

    def _skip(self) -> bool:
        """Skip spaces; whether anything follows."""
        while self._next().isspace():
            self._at += 1
        return bool(self._next())

    def _next(self) -> str:
        return self._text[self._at : self._at + 1]

    def _term(self) -> Term:
        negated = False
        while mark := self._negation():
            begin, negated = self._at, not negated
            self._at += len(mark)
            if not self._skip():
                raise self._wrong(begin, f"nothing follows {mark!r}: write what is not to be, as in `-live`")
        begin = self._at
        if self._next() == '"':
            return Term(":", SEARCHED, self._quoted().casefold(), negated)
        word = self._until(_SIGNS)
        if self._next() == ":" or (self._skip() and self._next() in _SIGNS[1:]):
            return self._compared(begin, word, negated=negated)
        if word.casefold() in FLAGS:
            return Term("=", ("state",), word.casefold(), negated)
        return Term(":", SEARCHED, word.casefold(), negated)

    def _negation(self) -> str:
        """The word that negates what follows, empty for none."""
        if self._next() == "-":
            return "-"
        word = self._text[self._at : self._at + 4]
        return word[:3] if word[:3].casefold() == "not" and (len(word) == 3 or word[3].isspace()) else ""

    def _quoted(self) -> str:
        begin = self._at
        end = self._text.find('"', begin + 1)
        if end < 0:
            raise self._wrong(begin, 'this quote is never closed: write another " behind what belongs together')
        self._at = end + 1
        return self._text[begin + 1 : end]

    def _until(self, stops: str) -> str:
        """The text up to a space, a quote, or one of these characters."""
        begin = self._at
        while (character := self._next()) and not character.isspace() and character not in f'"{stops}':
            self._at += 1
        return self._text[begin : self._at]

    def _compared(self, begin: int, word: str, *, negated: bool) -> Term:
        """Parse a field, a sign and a value."""
        name, at = word.casefold(), self._at
        if name not in FIELDS:
            raise self._wrong(begin, _unknown(word))
        sign = self._next()
        self._at += 1
        if sign in "<>" and self._next() == "=":
            sign += self._next()
            self._at += 1
        if (sign == ":") != (name in TEXTS):
            fix = f"look for a text in it, as in `{name}:word`" if name in TEXTS else f"compare it, as in `{name}>100`"
            kind = "text" if name in TEXTS else "number"
            raise self._wrong(at, f"`{name}` is a {kind}, which {sign!r} is not for: {fix}")
        if sign != ":":
            self._skip()
        value_at = self._at
        value = self._quoted() if self._next() == '"' else self._until("")
        if not value:
            example = "a text" if sign == ":" else "a number"
            raise self._wrong(value_at, f"nothing follows `{name}{sign}`: write {example} behind it")
        if sign == ":":
            return Term(sign, (name,), value.casefold(), negated)
        return Term(sign, (name,), self._number(value_at, name, value), negated)

    def _number(self, at: int, name: str, value: str) -> float:
        digits, unit = (value[:-1], _UNITS[value[-1].casefold()]) if value[-1].casefold() in _UNITS else (value, 1.0)
        try:
            number = float(digits) * unit if value.isascii() and "_" not in value else math.nan
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise self._wrong(
                at, f"`{name}` is compared with a number such as 100, -1.5, 1e6 or 10k, got {_cut(value)}"
            )
        return number

    def _wrong(self, at: int, what: str) -> QueryError:
        return QueryError(f"the query {_cut(self._text)} is wrong at column {at + 1}: {what}", column=at + 1)


def _unknown(word: str) -> str:
    if not word:
        return f"a field is missing before this sign: it is one of {', '.join(FIELDS)}"
    close = get_close_matches(word[:_SHOWN].casefold(), FIELDS, n=1)
    if close:
        return f"unknown field {_cut(word)}; did you mean `{close[0]}`?"
    return f"unknown field {_cut(word)}: it is one of {', '.join(FIELDS)}; a text with such a sign stands in quotes"


def _cut(text: str) -> str:
    """A value as an error repeats it, cut short."""
    return repr(text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…")
