"""Learning curves for notebooks and terminals: as an SVG in the theme's own colours, and as a line of text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from offcam_runs.notebook import number

if TYPE_CHECKING:
    from offcam_runs.analysis import Smooth
    from offcam_runs.analysis.statistics import Floats

WIDTH, HEIGHT = 640, 220
LEFT, RIGHT, TOP, BOTTOM = 64, 8, 12, 28

POINTS: Final = 400
"""Most points of a line: a drawing has no more pixels across."""

MOST_POINTS: Final = 20_000
"""Most points of all lines together, unless there are very many lines."""

COLOURS: Final = ("#3b82f6", "#f97316", "#10b981", "#d946ef", "#ef4444", "#0ea5e9", "#a3a310", "#8b5cf6")
"""Colours of the lines of several runs, from the first again where there are more: each is seen on white and black."""

BARS: Final = "▁▂▃▄▅▆▇█"


class Line(NamedTuple):
    """A run's curve.

    Attributes:
        name: of the run.
        curve: its episodes, and their moving average.
    """

    name: str
    curve: Smooth


def svg(lines: Sequence[Line], what: str) -> str:
    """A drawing of learning curves; empty where there is nothing to draw.

    A single one has its episodes behind its average, and the colour of the text around it.

    Args:
        lines: one for each run.
        what: name of the quantity that is drawn.
    """
    most = max(50, min(POINTS, MOST_POINTS // max(len(lines), 1)))
    averages = [_thin(line.curve.x, line.curve.average, most) for line in lines]
    raw = [_thin(line.curve.x, line.curve.y, most) for line in lines] if len(lines) == 1 else []
    drawn = [each for each in (*averages, *raw) if each.size]
    if not drawn:
        return ""
    low, high = np.concatenate(drawn).min(0), np.concatenate(drawn).max(0)
    paths = [_path(each, low, high, "currentColor", 'stroke-opacity="0.3"') for each in raw]
    names = []
    for place, (line, points) in enumerate(zip(lines, averages, strict=True)):
        colour = COLOURS[place % len(COLOURS)] if len(lines) > 1 else "currentColor"
        paths.append(_path(points, low, high, colour, 'stroke-width="2"'))
        if len(lines) > 1:
            names.append(f'<span style="color:{colour}">&#9632;</span> {escape(line.name)}')
    inside = "".join((*_axes(low, high, what), *paths))
    legend = f"<div>{' &ensp; '.join(names)}</div>" if names else ""
    head = (
        f'viewBox="0 0 {WIDTH} {HEIGHT}" style="max-width:{WIDTH}px;width:100%" role="img" aria-label="{escape(what)}"'
    )
    return f'<svg {head} font-family="sans-serif" font-size="11" fill="none">{inside}</svg>{legend}'


def sparkline(values: Floats, width: int = 60) -> str:
    """Numbers as a line of bars, from the least to the greatest; a blank where there is none.

    Args:
        values: (n,) numbers; those that fall into one bar are averaged.
        width: most bars.
    """
    parts = [each[np.isfinite(each)] for each in np.array_split(values, min(width, values.size))] if values.size else []
    bars = np.array([each.mean() if each.size else np.nan for each in parts])
    finite = bars[np.isfinite(bars)]
    if not finite.size:
        return ""
    steps = _share(bars, finite.min(), finite.max()) * (len(BARS) - 1)
    return "".join(BARS[int(step + 0.5)] if np.isfinite(step) else " " for step in steps.tolist())


def _thin(x: Floats, y: Floats, most: int) -> Floats:
    """The points that are finite, (n, 2): of more than ``most``, the least and the greatest of each piece."""
    finite = np.isfinite(y) & np.isfinite(x)
    points = np.stack([x[finite], y[finite]], axis=1)
    if len(points) <= most:
        return points
    kept: list[int] = []
    for piece in np.array_split(np.arange(len(points)), most // 2):
        numbers = points[piece, 1]
        kept += sorted({int(piece[numbers.argmin()]), int(piece[numbers.argmax()])})
    return points[kept]


def _path(points: Floats, low: Floats, high: Floats, colour: str, style: str) -> str:
    place = _share(points, low, high)
    x = LEFT + place[:, 0] * (WIDTH - LEFT - RIGHT)
    y = HEIGHT - BOTTOM - place[:, 1] * (HEIGHT - TOP - BOTTOM)
    text = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x.tolist(), y.tolist(), strict=True))
    return f'<polyline points="{text}" stroke="{colour}" {style}/>'


def _share(values: Floats, low: Floats, high: Floats) -> Floats:
    """Where values are between the least and the greatest of them, from 0 to 1; 0 where these are one."""
    with np.errstate(all="ignore"):
        span = high / 2 - low / 2  # halves, as the difference itself may be too large for a float
        return np.where((span > 0) | np.isnan(values), (values / 2 - low / 2) / span, 0.0)


def _axes(low: Floats, high: Floats, what: str) -> Iterator[str]:
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    yield f'<path d="M{LEFT} {TOP}V{bottom}H{right}" stroke="currentColor" stroke-opacity="0.5"/>'
    for x, y, anchor, text in (
        (LEFT - 6, TOP + 8, "end", number(high[1])),
        (LEFT - 6, bottom, "end", number(low[1])),
        (LEFT, bottom + 16, "start", number(low[0])),
        (right, bottom + 16, "end", number(high[0])),
        ((LEFT + right) / 2, bottom + 16, "middle", f"{what} by episode"),
    ):
        yield f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}" fill="currentColor">{escape(text)}</text>'
