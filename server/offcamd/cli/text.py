"""Numbers and tables for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


def plain_console() -> Console:
    """A console that prints names as they are: a folder ``runs[bold]`` is no markup."""
    from rich.console import Console  # noqa: PLC0415 - verbs import when they run

    return Console(markup=False, highlight=False, emoji=False)


def printable(text: str) -> str:
    """A name that a client chose, without what a terminal would obey."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


def number(value: float | None) -> str:
    """Four significant digits at least, without a needless exponent; a dash for None."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"


def short_path(path: str, most: int = 30) -> str:
    """A path for a table: its end, which tells one run from another."""
    path = printable(path)
    return path if len(path) <= most else f"…{path[-most + 1 :]}"


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
    """Seconds as the two largest units that fit."""
    if seconds is None:
        return "-"
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
