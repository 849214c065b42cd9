"""What ``offcam top`` shows: the daemon's statistics, fitted to a terminal's lines and columns."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from offcamd.cli.status import behind, memory_of
from offcamd.cli.text import cell_width, counted, number, printable, shortened, size, span

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import RenderableType

RATE_SECONDS = 10.0
"""Steps per second are averaged over so many seconds, as far as there were answers."""

FIXED_LINES = 6
"""Lines that are not rows: three about the daemon, a blank one, the table's heading, and the last line."""


@dataclass(frozen=True, slots=True)
class _Row:
    """A stream, and the statistics of its episodes."""

    stream: dict[str, Any]
    episodes: dict[str, Any]
    rate: float | None


@dataclass(frozen=True, slots=True)
class _Column:
    """A column, and its rank: those with the highest rank are left out first."""

    heading: str
    rank: int
    width: int
    value: Callable[[_Row], Any]
    shown: Callable[[Any], str] = printable

    def cell(self, row: _Row) -> str:
        """The text of the column's cell."""
        return self.shown(self.value(row))


_COLUMNS = (
    _Column("env", 0, 12, lambda row: _env(row.stream)),
    _Column("run", 3, 10, lambda row: PurePosixPath(row.stream["folder"]).name),
    _Column(heading="pid", rank=7, width=7, value=lambda row: row.stream["pid"], shown=lambda pid: str(pid or "-")),
    _Column(
        heading="episodes", rank=5, width=8, value=lambda row: row.episodes.get("episodes", 0), shown="{:,}".format
    ),
    _Column(heading="steps/s", rank=1, width=7, value=lambda row: row.rate, shown=number),
    _Column(
        heading="return", rank=1, width=8, value=lambda row: row.episodes.get("return", {}).get("last"), shown=number
    ),
    _Column(
        heading="last 100",
        rank=4,
        width=8,
        value=lambda row: row.episodes.get("return", {}).get("last100_mean"),
        shown=number,
    ),
    _Column(heading="lag", rank=2, width=8, value=lambda row: row.stream["encode_lag_seconds"], shown=span),
    _Column(heading="queue", rank=6, width=9, value=lambda row: row.stream["queue_bytes"], shown=size),
    _Column(
        heading="dropped",
        rank=2,
        width=7,
        value=lambda row: sum(row.stream["frames"]["dropped"].values()),
        shown="{:,}".format,
    ),
    _Column("state", 4, 9, lambda row: _state(row.stream)),
)
_TEXTS = ("env", "run", "state")

SORTS = tuple(column.heading for column in _COLUMNS)
"""Columns that streams can be sorted by."""


class View:
    """The daemon as of its last answer, and how fast it went since the first.

    Args:
        sort: one of `SORTS`: numbers are sorted descending, texts by the alphabet. Empty for the latest stream first.
    """

    def __init__(self, sort: str = "") -> None:
        self._sort = sort
        self._reversed = False
        self._stats: dict[str, Any] | None = None
        self._problem: str | None = None
        self._steps: dict[str, deque[tuple[float, int]]] = {}

    def take(self, stats: dict[str, Any], now: float) -> None:
        """Take in the daemon's answer, and when it came (``time.monotonic()``)."""
        if self._stats is None or self._stats["pid"] != stats["pid"]:
            self._steps.clear()
        self._stats, self._problem = stats, None
        seen = {}
        for stream, episodes in _streams(stats):
            steps = self._steps.get(stream["stream"], deque())
            steps.append((now, episodes.get("steps", 0)))
            while len(steps) > 2 and now - steps[1][0] > RATE_SECONDS:
                steps.popleft()
            seen[stream["stream"]] = steps
        self._steps = seen

    def miss(self, problem: str) -> None:
        """Note that there was no answer."""
        self._stats, self._problem = None, problem

    def sort_next(self) -> None:
        """Sort by the next column; after the last one, by the latest stream again."""
        self._sort = dict(zip(("", *SORTS), (*SORTS, ""), strict=True))[self._sort]

    def turn_round(self) -> None:
        """Reverse the order."""
        self._reversed = not self._reversed

    def show(self, width: int, height: int | None) -> RenderableType:
        """As many lines as fit a terminal of this size; all of them if ``height`` is None."""
        last = [Text("q leaves", style="dim", no_wrap=True)] if height else []
        if self._stats is None:
            silent = Text("No daemon answers. It is shown here as soon as one does.", style="bold")
            return Group(silent, Text(""), Text(self._problem or ""), Text(""), *last)
        stats = self._stats
        rows = self._rows(stats)
        room = len(rows) if height is None else max(height - FIXED_LINES, 1)
        parts: list[RenderableType] = [*_daemon(stats), Text("")]
        if rows:
            parts.append(_table(rows[:room], width, self._sort))
        else:
            parts.append(Text("Nobody records. Wrap an env: env = offcam.record(env, FOLDER)", style="dim"))
        if last and len(rows) > room:
            last[0].append(f"; not shown: {len(rows) - room}")
        if last and rows:
            last[0].append("; s sorts by the next column, r turns round")
        return Group(*parts, *last)

    def _rows(self, stats: dict[str, Any]) -> list[_Row]:
        latest_first = reversed(_streams(stats))
        rows = [_Row(stream, episodes, self._rate(stream, episodes)) for stream, episodes in latest_first]
        for column in _COLUMNS:
            if column.heading == self._sort:
                rows.sort(key=lambda row: _rank(column.value(row)))
        return rows[::-1] if self._reversed else rows

    def _rate(self, stream: dict[str, Any], episodes: dict[str, Any]) -> float | None:
        """Steps per second of the episodes that ended meanwhile; before any did, of the stream's episodes so far."""
        steps = self._steps[stream["stream"]]
        (began, first), (now, last) = steps[0], steps[-1]
        if last > first:
            return (last - first) / (now - began)
        rate: float | None = episodes.get("steps_per_second")
        return rate


def _rank(value: Any) -> tuple[bool, Any]:  # noqa: ANN401 - a text or a number
    """A key that sorts numbers descending, texts by the alphabet, and unknown values last."""
    unknown = value is None or value != value  # noqa: PLR0124 - NaN is none that can be compared
    return unknown, 0 if unknown else value if isinstance(value, str) else -value


def _streams(stats: dict[str, Any]) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Each open stream, with its statistics in its run."""
    runs = {run["folder"]: run["streams"] for run in stats["runs"]}
    return [(stream, runs.get(stream["folder"], {}).get(stream["stream"], {})) for stream in stats["stream_list"]]


def _daemon(stats: dict[str, Any]) -> list[Text]:
    """Three lines on the daemon itself, which are cut where they do not fit."""
    frames = stats["frames"]
    dropped = {reason: count for reason, count in frames["dropped"].items() if count}
    lost = ", ".join(f"{count:,} {reason}" for reason, count in dropped.items())
    many = f"{counted(stats['clients'], 'client')}, {counted(stats['streams'], 'stream')}"
    who = f"offcam {stats['version']}, pid {stats['pid']}, up {span(stats['uptime_seconds'])}: {many}"
    queue = f"queue {size(stats['queue_bytes'])} of {size(stats['queue_limit_bytes'])}"
    spool = f"; on disk {size(stats['spool_bytes'])}" if stats["spool_bytes"] else ""
    done = f"frames {frames['encoded']:,} encoded, {sum(dropped.values()):,} dropped"
    lines = (
        (who, "bold"),
        (f"memory {memory_of(stats)}; {queue}, {behind(stats)}{spool}", ""),
        (
            f"{done}{f' ({lost})' if lost else ''}; {stats['episodes']:,} episodes since it started",
            "yellow" if dropped else "",
        ),
    )
    return [Text(line, style=style, no_wrap=True, overflow="ellipsis") for line, style in lines]


def _table(rows: list[_Row], width: int, sort: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    columns = _fitting(rows, width, sort)
    cells = [[column.cell(row) for column in columns] for row in rows]
    _shorten_runs(columns, cells, width)
    for column in columns:
        text = column.heading in _TEXTS
        style = "bold reverse" if column.heading == sort else "bold"
        heading = Text(column.heading, style=style)
        table.add_column(heading, justify="left" if text else "right", no_wrap=True, overflow="ellipsis")
    for row, line in zip(rows, cells, strict=True):
        dropped = any(row.stream["frames"]["dropped"].values())
        table.add_row(*map(Text, line), style="yellow" if dropped else None)
    return table


def _shorten_runs(columns: list[_Column], cells: list[list[str]], width: int) -> None:
    """Shorten the runs' names at their beginning if there is no room: their ends tell them apart."""
    widths = [
        max(len(column.heading), *map(cell_width, each))
        for column, each in zip(columns, zip(*cells, strict=True), strict=True)
    ]
    over = sum(widths) + len(widths) - 1 - width
    for place, column in enumerate(columns):
        if column.heading == "run" and over > 0:
            for line in cells:
                line[place] = shortened(line[place], max(column.width, widths[place] - over))


def _fitting(rows: list[_Row], width: int, sort: str) -> list[_Column]:
    """The columns that fit, of which the least important are left out first; names may be cut, numbers not.

    The column that rows are sorted by always stays.
    """
    columns = list(_COLUMNS)
    widths = {
        column: column.width
        if column.heading in _TEXTS
        else max(len(column.heading), *(len(column.cell(row)) for row in rows))
        for column in columns
    }
    while len(columns) > 1 and sum(widths[column] + 1 for column in columns) > width + 1:
        columns.remove(max(columns, key=lambda column: (column.heading != sort) * column.rank))
    return columns


def _env(stream: dict[str, Any]) -> str:
    return printable(stream["env_id"]) + (f" x{stream['num_envs']}" if stream["num_envs"] > 1 else "")


def _state(stream: dict[str, Any]) -> str:
    if stream["saturated"]:
        return "too slow"
    return "recording" if stream["recording"] else "idle"
