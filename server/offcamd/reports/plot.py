"""Learning curves as figures for papers and slides, drawn by matplotlib without a display."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib import patheffects
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator

from offcam_runs.analysis import Axis, Smooth, Statistic, align, band, default_window
from offcam_runs.discover import valid_text
from offcam_runs.long_run import LongRun

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes

    from offcam_runs.analysis.statistics import Floats
    from offcam_runs.run import Run

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's colours, which colour-blind readers can tell apart (https://jfly.uni-koeln.de/color/), without the
yellow, which is too pale for a line."""

DASHES = ("-", "--", ":", "-.")
"""Dashes by which lines differ once all colours are used."""

FEW, MANY = 40, 2000
"""Up to `FEW` episodes are joined by a line; more than `MANY` are drawn as a bitmap, so that PDF and SVG open fast."""

MOST_DRAWN = 100_000
"""Of a curve with more episodes than this each n-th is drawn: still many times as many as there are pixels."""

RAW_RUNS = 5
"""Most runs whose episodes are drawn one by one by default; those of more would hide the curves."""

STYLE: Any = {  # matplotlib types each of its 300 keys
    "axes.axisbelow": True,
    "axes.edgecolor": "#666666",
    "axes.grid": True,
    "axes.labelsize": 11,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.size": 10,
    "grid.alpha": 0.3,
    "grid.linewidth": 0.6,
    "legend.fontsize": 9.5,
    "legend.frameon": False,
    "pdf.fonttype": 42,  # TrueType, so that text stays text, as publishers want it
    "savefig.dpi": 160,
    "svg.fonttype": "none",
    "svg.hashsalt": "offcam",  # fixed, so that the same figure is the same file
}
GREY = "#555555"
HALO = [patheffects.withStroke(linewidth=3.2, foreground="white", alpha=0.8)]
"""A white outline, which sets a line off from the points under it."""
STEPS = (1, 2, 5, 10)
"""Ticks are at multiples of these, times a power of ten."""
METADATA: dict[str, dict[str, str | None]] = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}, ".png": {}}
"""Metadata of figures by the file's ending: without dates, so that the same figure is the same file."""

STATISTICS: dict[Statistic, str] = {"iqm": "interquartile mean", "mean": "mean", "median": "median"}


@dataclass(frozen=True, slots=True)
class FigureLine:
    """One curve of a figure.

    Attributes:
        label: its name in the legend.
        runs: one run, or the seeds over which the curve shows a statistic; each with at least one episode.
    """

    label: str
    runs: tuple[Run | LongRun, ...]


@dataclass(frozen=True, slots=True)
class FigureStyle:
    """How to draw a figure.

    Attributes:
        axis: what the horizontal axis is.
        window: episodes of the moving average; by default from the shortest run, see `default_window`.
        statistic: over several seeds.
        confidence: of the band around it.
        raw: whether to draw single episodes; by default if there are no groups and at most `RAW_RUNS` runs.
        title: above the figure; by default the env's name.
        value: a value of the episodes to draw in place of their lengths.
    """

    axis: Axis = "episode"
    window: int | None = None
    statistic: Statistic = "iqm"
    confidence: float = 0.95
    raw: bool | None = None
    title: str | None = None
    value: str | None = None


@dataclass(slots=True)
class _Panel:
    """The axes of one quantity, and what is needed to draw all lines on them in the same way."""

    axes: Axes
    quantity: str
    look: FigureStyle
    window: int
    unit: float
    raw: bool
    drawn: list[Floats] = field(default_factory=list)

    def draw(self, line: FigureLine, colour: str, dash: str, *, alone: bool) -> None:
        """Draw a line: single episodes, and the moving average of a run or the statistic over seeds."""
        curves = [self._curve(run) for run in line.runs]
        for item in curves:
            if self.raw or item.x.size < self.window:
                self._draw_raw(item, colour, "single episodes" if alone else "")
        if len(curves) > 1:
            self._draw_group(curves, _plain(line.label), colour, dash)
            return
        averages = curves[0].average if self.window > 1 else np.full(curves[0].x.size, np.nan)
        label = f"moving average of {self.window:,} episodes" if alone else _plain(line.label)
        hidden = alone and self.window == 1  # invisible, but drawn for its entry in the legend
        label = "" if hidden else label
        drawn = _thinned(curves[0].x, averages)
        self.axes.plot(*drawn, dash, color=colour, lw=1.8, label=label, zorder=3, path_effects=HALO)

    def fit(self) -> str:
        """Keep values out of all proportion from setting the axis; returns a note that says so."""
        given = np.concatenate(self.drawn)
        values = given[np.isfinite(given)]
        name = self.quantity
        notes = [f"{count(given.size - values.size, name)} not finite"] if values.size < given.size else []
        if values.size:
            low, high = np.percentile(values, (1, 99))
            reach = max(float(high - low), 1e-9 * max(abs(low), abs(high), 1.0))
            beyond = int(((values < low - 100 * reach) | (values > high + 100 * reach)).sum())
            if beyond:
                self.axes.set_ylim(low - 0.1 * reach, high + 0.1 * reach)
                notes.append(f"{count(beyond, f'extreme {name}')} beyond the axis")
        return "; ".join(notes)

    def _curve(self, run: Run | LongRun) -> Smooth:
        found = run.smooth(self.quantity, self.look.axis, self.window)
        y, average = (
            np.clip(values, -1e100, 1e100) for values in (found.y, found.average)
        )  # matplotlib overflows on larger values
        self.drawn.append(y)
        return Smooth(found.x / self.unit, y, average)

    def _draw_raw(self, item: Smooth, colour: str, label: str) -> None:
        n = item.x.size
        style = "o-" if n <= FEW else "o"
        size, alpha = (4.0, 0.7) if n <= FEW else (2.6 if n < MANY else 2.0, min(0.35, 0.35 * (1000 / n) ** 0.5))
        self.axes.plot(
            *(*_thinned(item.x, item.y), style),
            color=colour,
            alpha=alpha,
            lw=0.7,
            markersize=size,
            markeredgewidth=0,
            label=label,
            rasterized=n > MANY,
            zorder=1.5,
        )

    def _draw_group(self, curves: list[Smooth], label: str, colour: str, dash: str) -> None:
        """Draw the statistic over seeds with its interval, and each seed's moving average as a thin line."""
        for item in curves:
            drawn = _thinned(item.x, item.average)
            self.axes.plot(*drawn, color=colour, lw=0.6, alpha=0.4, zorder=2)
        aligned = align(curves)
        found = band(aligned.values, self.look.statistic, confidence=self.look.confidence)
        self.axes.fill_between(aligned.x, found.low, found.high, color=colour, alpha=0.2, linewidth=0, zorder=1.8)
        self.axes.plot(
            aligned.x, found.center, dash, color=colour, lw=2, label=f"{label} ({len(curves)} seeds)", zorder=3
        )


def draw(lines: Sequence[FigureLine], look: FigureStyle, file: Path) -> None:
    """Draw learning curves, returns above lengths or a value, into a file.

    Args:
        lines: the curves; without any the figure says that there is nothing yet.
        look: how to draw them.
        file: where to write it; the ending says the format: ``.png``, ``.svg`` or ``.pdf``.

    Raises:
        ConfigError: no episode of a run has the value that ``look`` names.
        OSError: the file cannot be written.
    """
    runs = [run for line in lines for run in line.runs]
    window = look.window or default_window(min((run.count for run in runs), default=1))
    raw = look.raw if look.raw is not None else window == 1 or len(lines) == len(runs) <= RAW_RUNS
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(8.5, 5.6), layout="constrained")
        upper, lower = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": (3, 1)})
        unit, x_name = _x_axis(runs, look.axis)
        panels = [
            _Panel(axes=upper, quantity="return", look=look, window=window, unit=unit, raw=raw),
            _Panel(axes=lower, quantity=look.value or "length", look=look, window=window, unit=unit, raw=raw),
        ]
        for number, line in enumerate(lines):
            dash = DASHES[number // len(PALETTE) % len(DASHES)]
            for panel in panels:
                panel.draw(line, PALETTE[number % len(PALETTE)], dash, alone=len(runs) == 1)
        notes = [_method(lines, look, window), *(panel.fit() for panel in panels if lines)]
        envs = ", ".join(dict.fromkeys(env for run in runs for env in run.env_ids))
        _label_axes(upper, lower, x_name, look.value)
        _head(figure, upper, look.title or envs or "offcam", "; ".join(filter(None, notes)))
        if not runs:
            upper.text(0.5, 0.5, "no finished episodes yet", transform=upper.transAxes, ha="center", color=GREY)
        figure.savefig(file, metadata=METADATA[file.suffix.lower()])


def _x_axis(runs: Sequence[Run | LongRun], axis: Axis) -> tuple[float, str]:
    """How many episodes, steps or seconds one unit of the horizontal axis is, and the axis' label."""
    if axis != "time":
        return 1.0, {"episode": "Episode", "step": "Environment steps"}[axis]
    longest = max((x[-1] for x in (run.smooth("length", axis, 1).x for run in runs) if x.size), default=0.0)
    for unit, name in ((3600.0, "h"), (60.0, "min")):
        if longest >= 2 * unit:
            return unit, f"Time since the run began ({name})"
    return 1.0, "Time since the run began (s)"


def _method(lines: Sequence[FigureLine], look: FigureStyle, window: int) -> str:
    """A note on what is drawn and how it was computed, where the legend does not say so."""
    runs = [run for line in lines for run in line.runs]
    every = max((run.every if isinstance(run, LongRun) else _every(run.count) for run in runs), default=1)
    thinned = [f"1 in {every:,} drawn"] if every > 1 else []
    if len(runs) == 1:
        return "; ".join([f"{lines[0].label}, {count(runs[0].count, 'episode')}", *thinned])
    notes = [*([f"moving average of {window:,} episodes"] if window > 1 else []), *thinned]
    if any(len(line.runs) > 1 for line in lines):
        notes.append(f"{STATISTICS[look.statistic]} over seeds, {100 * look.confidence:g} % bootstrap interval")
    return "; ".join(notes)


def _label_axes(upper: Axes, lower: Axes, x_name: str, value: str | None) -> None:
    upper.set_ylabel("Return")
    lower.set_ylabel("Length (steps)" if value is None else _plain(value))
    lower.set_xlabel(x_name)
    lower.margins(x=0.015)
    left, right = lower.get_xlim()
    if right - left < 1 and x_name == "Episode":
        lower.set_xlim(-1, 1)  # a single episode
    if right > 9999:
        lower.xaxis.set_major_formatter(EngFormatter(sep=""))
    lower.xaxis.set_major_locator(MaxNLocator(nbins=9, steps=STEPS, integer=x_name == "Episode"))
    lower.yaxis.set_major_locator(MaxNLocator(nbins=4, steps=STEPS, integer=value is None, min_n_ticks=1))


def _head(figure: Figure, upper: Axes, title: str, notes: str) -> None:
    """Draw the title, below it the notes, and at the bottom the legend."""
    upper.set_title(_plain(title), loc="left", fontsize=13, fontweight="bold", pad=24)
    upper.annotate(
        _plain(notes), (0, 1), (0, 8), "axes fraction", "offset points", fontsize=9, color=GREY, annotation_clip=False
    )
    handles, names = upper.get_legend_handles_labels()
    if handles:
        legend = figure.legend(handles, names, loc="outside lower center", ncols=min(5, len(handles)))
        for handle in legend.legend_handles:
            if handle is not None:
                handle.set_alpha(0.9)


def _every(episodes: int) -> int:
    """One in how many episodes is drawn."""
    return max(1, -(-episodes // MOST_DRAWN))


def _thinned(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    every = _every(x.size)
    return x[::every], y[::every]


def count(number: int, thing: str) -> str:
    """``1 episode``, ``2,000 episodes``."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def _plain(name: str) -> str:
    """A name as plain text: matplotlib reads dollars as mathematics, and hides labels that begin with an underscore."""
    return ("./" if name.startswith("_") else "") + valid_text(name).replace("$", r"\$")
