"""Numbers, tables and JSON, as the verbs print them."""

from __future__ import annotations

import inspect
import os
import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import typer

if TYPE_CHECKING:
    from rich.console import Console

LEAST_NAME = 12
"""Fewest characters that a folder or file is shortened to: longer rows are then broken by the terminal."""

_GAP = "  "


def unwrapped(docstring: str) -> str:
    """A docstring whose paragraphs are one line each, for whoever breaks them anew."""
    return "\n\n".join(" ".join(part.split()) for part in inspect.cleandoc(docstring).split("\n\n"))


def say_json(value: object, *, indent: int | None = 2) -> None:
    """Print JSON for programs on stdout, and flush it."""
    from offcam_runs.json_text import dumps

    typer.echo(dumps(value, indent=indent))


def say(text: str, facts: object, *, as_json: bool, err: bool = False) -> None:
    """Print ``facts`` as JSON with ``as_json``, else ``text`` for people, on stderr with ``err``."""
    if as_json:
        say_json(facts)
    else:
        typer.echo(text, err=err)


def plain_console() -> Console:
    """A console that prints names as they are (``runs[bold]`` is not markup), and off a terminal in any width."""
    from rich.console import Console

    console = Console(markup=False, highlight=False, emoji=False)
    if not console.is_terminal:
        console.width = 10_000
    return console


def styled(text: str, *, bold: bool = False, colour: str | None = None) -> str:
    """Text with a style on a terminal, unless the user wants none (https://no-color.org)."""
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" or not sys.stdout.isatty()
    return text if plain else typer.style(text, bold=bold or None, fg=colour)


def terminal_width() -> int | None:
    """Columns of the terminal; None off a terminal, where lines are not cut."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


# --- tables -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TextColumn:
    """A column of a table.

    Attributes:
        heading: its name.
        kind: ``number`` is right-aligned; ``name``, of a folder or a file, is shortened where it does not fit.
    """

    heading: str
    kind: Literal["text", "number", "name"] = "text"


def numbers(*headings: str) -> list[TextColumn]:
    """Columns of numbers with these headings."""
    return [TextColumn(heading, "number") for heading in headings]


def print_table(columns: Sequence[TextColumn], rows: Iterable[Sequence[str]], *, headings: bool = True) -> None:
    """Print a table. On a terminal, names that do not fit are cut at their beginning; elsewhere nothing is cut."""
    head, *lines = table(columns, rows, terminal_width())
    for line in [styled(head, bold=True), *lines] if headings else lines:
        typer.echo(line)


def table(columns: Sequence[TextColumn], rows: Iterable[Sequence[str]], width: int | None) -> list[str]:
    """The lines of a table, the headings first; at most ``width`` columns wide if names can be cut so far."""
    cells = [[column.heading for column in columns], *([printable(cell) for cell in row] for row in rows)]
    widths = [max(map(cell_width, column)) for column in zip(*cells, strict=True)]
    names = [place for place, column in enumerate(columns) if column.kind == "name"]
    if width is not None:
        for place in names:
            over = sum(widths) + len(_GAP) * (len(widths) - 1) - width
            widths[place] = min(widths[place], max(LEAST_NAME, len(columns[place].heading), widths[place] - over))
    lines = []
    for row in cells:
        parts = []
        for column, cell, most in zip(columns, row, widths, strict=True):
            text = shortened(cell, most) if column.kind == "name" else cell
            room = " " * (most - cell_width(text))
            parts.append(room + text if column.kind == "number" else text + room)
        lines.append(_GAP.join(parts).rstrip())
    return lines


def print_facts(facts: Iterable[tuple[str, str]]) -> None:
    """Print facts about one thing: a name and its value on each line, long values below each other."""
    facts = list(facts)
    indent = max(len(name) for name, _ in facts) + len(_GAP)
    width = terminal_width()
    for name, value in facts:
        text = printable(value)
        if width is not None:
            room = max(width - indent, LEAST_NAME)
            text = f"\n{' ' * indent}".join(textwrap.wrap(text, room, break_on_hyphens=False, break_long_words=False))
        typer.echo(f"{styled(name, bold=True)}{' ' * (indent - len(name))}{text}")


def cell_width(text: str) -> int:
    """How many columns a text takes on a terminal: a Chinese character takes two."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def shortened(text: str, most: int) -> str:
    """The end of a path or name, which tells one run from another, in at most so many columns."""
    if cell_width(text) <= most:
        return text
    while cell_width(text) > most - 1:
        text = text[1:]
    return f"…{text}"


def printable(text: str) -> str:
    """A name that a client chose, without control characters that a terminal would obey."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


# --- numbers ----------------------------------------------------------------------------------------------


def number(value: float | None) -> str:
    """A number with at least four significant digits, without a needless exponent; a dash for None."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"


def size(nbytes: int | None) -> str:
    """Bytes in binary units."""
    if nbytes is None:
        return "-"
    value = float(nbytes)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.4g} {unit}"
        value /= 1024
    return f"{value:.4g} TiB"


def span(seconds: float | None) -> str:
    """Seconds as the two largest units that fit; below a tenth, milliseconds."""
    if seconds is None:
        return "-"
    if 0 < seconds < 0.1:
        return f"{seconds * 1000:.3g} ms"
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def counted(count: int, thing: str) -> str:
    """``1 episode``, ``2,000 episodes``."""
    return f"{count:,} {thing}{'' if count == 1 else 's'}"
