"""Query values: parsed within bounds, with an error that says what would be accepted."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from starlette.datastructures import QueryParams

Text = TypeVar("Text", bound=str)

MOST_TEXT = 200
"""Most characters of a text that is searched for."""

MOST_DIGITS = 25
_HEX = re.compile(r"[0-9a-f]{1,64}")
_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}


class BadQuery(Exception):
    """A query value that is not accepted; the message says which would be."""


class Query:
    """The query values of one request. Its methods raise BadQuery for a value that is not allowed."""

    def __init__(self, values: QueryParams) -> None:
        self._values = values

    def text(self, name: str) -> str:
        """A value as given; empty if it is not."""
        given = self._values.getlist(name)
        if len(given) > 1:
            raise BadQuery(f"{name} is given {len(given)} times: give it once")
        value = given[0] if given else ""
        if len(value) > MOST_TEXT or "\0" in value:
            raise BadQuery(f"{name} is a text of at most {MOST_TEXT} characters without NUL, got {len(value)}")
        return value

    def choice(self, name: str, choices: Sequence[Text]) -> Text:
        """A value that is one of ``choices``, the first of them where none is given."""
        value = self.text(name) or choices[0]
        for choice in choices:
            if value == choice:
                return choice
        raise BadQuery(f"{name} is one of {', '.join(choices)}, got {value!r}")

    def integer(self, name: str, default: int | None, low: int, high: int) -> int | None:
        """A whole number from ``low`` to ``high``, ``default`` where none is given."""
        value = self.text(name)
        if not value:
            return default
        try:
            number = int(value) if value.isascii() and len(value) <= MOST_DIGITS else None
        except ValueError:
            number = None
        if number is None or not low <= number <= high:
            raise BadQuery(f"{name} is a whole number from {low} to {high}, got {value!r}")
        return number

    def whole(self, name: str, default: int, low: int, high: int) -> int:
        """A whole number within bounds, with a default."""
        value = self.integer(name, default, low, high)
        return default if value is None else value

    def number(self, name: str) -> float | None:
        """A finite number, None where none is given."""
        value = self.text(name)
        if not value:
            return None
        try:
            number = float(value) if value.isascii() else math.nan
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise BadQuery(f"{name} is a finite number such as 1.5, got {value!r}")
        return number

    def boolean(self, name: str) -> bool | None:
        """True or False, None where neither is given."""
        value = self.text(name)
        if not value:
            return None
        if value.lower() not in _BOOLEANS:
            raise BadQuery(f"{name} is true or false, got {value!r}")
        return _BOOLEANS[value.lower()]

    def hexadecimal(self, name: str) -> str:
        """An id, or its beginning; empty if it is not given."""
        value = self.text(name)
        if value and not _HEX.fullmatch(value):
            raise BadQuery(f"{name} is an id in hexadecimal, got {value!r}")
        return value

    def texts(self, name: str, most: int, longest: int) -> Sequence[str]:
        """All values of a name that may be given up to ``most`` times, each of at most ``longest`` characters."""
        given = self._values.getlist(name)
        if len(given) > most or any(len(value) > longest or "\0" in value for value in given):
            raise BadQuery(f"{name} is given at most {most} times, up to {longest} characters each, got {len(given)}")
        return given

    def list(self, name: str, most: int) -> list[str]:
        """The 1 to ``most`` words of a value that has commas between them."""
        given = self._values.getlist(name)
        words = [word for value in given for word in value.split(",") if word]
        if not words or len(words) > most:
            raise BadQuery(f"{name} is a list of 1 to {most} values with commas between, got {len(words)}")
        return words
