"""HTML for notebooks: tables, and videos with a caption. All text in it is escaped. Tables for terminals, too."""

from __future__ import annotations

import base64
import math
import os
from collections.abc import Iterable, Iterator, Sequence
from html import escape

INLINE_BYTES = 8 * 2**20
"""Largest file that is put into the notebook itself; of a larger one the path is shown."""


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table."""
    head = "".join(f"<th>{escape(text)}</th>" for text in heads)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def text_table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """The lines of a table, its columns one below the other."""
    lines = [heads, *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        yield "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()


def captioned_video(path: str | None, title: str, numbers: Sequence[str], most_bytes: int | None = None) -> str:
    """A video, or why there is none, with a title and numbers under it.

    Args:
        path: of its file; None where there is none.
        title: for people.
        numbers: likewise.
        most_bytes: of a larger file the path is shown; by default `INLINE_BYTES`.
    """
    caption = f"<b>{escape(title)}</b>: {escape(', '.join(numbers))}"
    video = _video(path, INLINE_BYTES if most_bytes is None else most_bytes)
    return f'<div style="max-width:640px">{video}<div>{caption}</div></div>'


def number(value: float) -> str:
    """Four significant digits, or all digits of a whole number that has more."""
    return f"{value:.4g}" if math.isfinite(value) and abs(value) < 1e4 else f"{value:,.0f}"


def _video(path: str | None, most_bytes: int) -> str:
    try:
        if path is None:
            return "<div>(no video)</div>"
        if os.path.getsize(path) > most_bytes:
            return f"<div>The video is too large for a notebook: <code>{escape(path)}</code></div>"
        with open(path, "rb") as file:
            data = base64.b64encode(file.read()).decode()
    except OSError as error:
        return f"<div>(no video: {escape(str(error))})</div>"
    return f'<video controls loop style="max-width:100%" src="data:video/mp4;base64,{data}"></video>'
