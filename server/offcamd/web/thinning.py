"""Steps as columns to be drawn: many rows become one point, with the least and greatest of each number; pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from offcam_proto.errors import ActionError
from offcam_runs.steps.layout import DIGEST, RESET
from offcam_runs.steps.values import decode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from offcam_runs.steps.rows import Rows

    Floats = NDArray[np.float64]

REWARD, RETURN, ACTION, TRACE = KINDS = ("reward", "return", "action", "trace")
"""Kinds of columns: as the env gave it, its sum since the episode began, of the action, or of `offcam.trace`."""

MOST_COLUMNS: Final = 40
"""Most columns of a row that are drawn."""

MOST_COMPONENTS: Final = 16
"""Most components of one action that are drawn."""

_OWN = ("episode", "step", "reward", "flags")
_TAPE = ("tape", DIGEST.name)


class TraceColumn(NamedTuple):
    """What a line of a plot shows: its kind, of `KINDS`, its name, and whether its values are whole numbers."""

    kind: str
    name: str
    whole: bool = False


class Points:
    """The rows from ``first`` to before ``behind``, several of them as one point.

    Args:
        first: number of the first row.
        behind: number of the row behind the last.
        most: how many points at most.
    """

    def __init__(self, first: int, behind: int, most: int) -> None:
        self._first = first
        self._behind = behind
        self.bucket = max(1, -(-(behind - first) // most))
        """Rows of one point, some of which may be missing."""
        self.count = -(-(behind - first) // self.bucket)
        """How many points there are."""
        self.found = 0
        """How many rows were there."""
        self.columns: dict[TraceColumn, tuple[Floats, Floats]] = {}
        """(count,) each: the least and the greatest value. NaN if there is none."""
        self.left_out: dict[str, None] = {}
        """The names of columns that are left out."""
        self.facts = {name: np.full(self.count, -1, np.int64) for name in ("episode", "step", "flags")}
        """Episode and step of a point's first row, its rows' flags or-ed; (count,) int64 each, -1 where no row is."""
        self._return = _Return()

    def add(self, rows: Rows, episode: int | None) -> None:
        """Add the next rows, as far as they belong to these points, in the order of their numbers.

        Args:
            rows: of one sub-environment.
            episode: add only rows of this episode.
        """
        numbers = rows.first_row + np.arange(len(rows.rows))
        mask = (numbers >= self._first) & (numbers < self._behind)
        if episode is not None:
            mask &= rows.rows["episode"] == episode
        if not mask.any():
            return
        numbers = numbers[mask]
        self.found += len(numbers)
        place = (numbers - self._first) // self.bucket
        starts = np.flatnonzero(np.diff(place, prepend=-1))
        at = place[starts]
        own = {name: rows.rows[name][mask] for name in _OWN}
        for name in ("episode", "step"):
            fresh = self.facts[name][at] < 0
            self.facts[name][at[fresh]] = own[name][starts][fresh]
        flags = np.bitwise_or.reduceat(own["flags"].astype(np.int64), starts)
        self.facts["flags"][at] = np.where(self.facts["flags"][at] < 0, 0, self.facts["flags"][at]) | flags
        first = [(TraceColumn(REWARD, "reward"), own["reward"])]
        first += [(TraceColumn(RETURN, "return"), self._return.of(numbers, **own))]
        for column, values in (*first, *self._others(rows, mask)):
            if column in self.columns or len(self.columns) < MOST_COLUMNS:
                self._spread(column, np.asarray(values, np.float64), starts, at)
            else:
                self.left_out[column.name] = None

    def _spread(self, column: TraceColumn, values: Floats, starts: NDArray[np.int64], at: NDArray[np.int64]) -> None:
        low, high = self.columns.setdefault(column, (np.full(self.count, np.nan), np.full(self.count, np.nan)))
        low[at] = np.fmin(low[at], np.fmin.reduceat(values, starts))
        high[at] = np.fmax(high[at], np.fmax.reduceat(values, starts))

    def _others(self, rows: Rows, mask: NDArray[np.bool_]) -> Iterator[tuple[TraceColumn, NDArray[Any]]]:
        """The columns of actions and traces; an array has one for each component."""
        assert rows.rows.dtype.names is not None  # noqa: S101 - a layout has columns
        for name in rows.rows.dtype.names:
            if name in _OWN or name in _TAPE:
                continue
            kind = ACTION if name == "action" or name.startswith("action.") else TRACE
            values = rows.column(name)[mask]
            whole = values.dtype.kind in "iub"
            if values.dtype == object:
                values = _numbers(values)
                if np.isnan(values).all():
                    self.left_out[name] = None
                    continue
            if kind == ACTION:  # a reset takes no action
                values = values.astype(np.float64)
                values[(rows.rows["flags"][mask] & RESET) != 0] = np.nan
            if values.ndim == 1:
                yield TraceColumn(kind, name, whole), values
                continue
            shape, parts = values.shape[1:], values.reshape(len(values), -1)
            if parts.shape[1] > MOST_COMPONENTS:
                self.left_out[f"{name}[{MOST_COMPONENTS}…]"] = None
            for part in range(min(parts.shape[1], MOST_COMPONENTS)):
                index = ",".join(str(int(each)) for each in np.unravel_index(part, shape))
                yield TraceColumn(kind, f"{name}[{index}]", whole), parts[:, part]


class _Return:
    """The sum of an episode's rewards so far: NaN if its beginning, or any row since, is missing."""

    def __init__(self) -> None:
        self._sum = np.nan
        self._row = -1  # number of the last row that was summed
        self._episode = -1

    def of(
        self,
        numbers: NDArray[np.int64],
        *,
        episode: NDArray[np.int64],
        step: NDArray[np.int64],
        reward: Floats,
        flags: NDArray[np.uint8],
    ) -> Floats:
        """(n,) the sum up to each of some rows, which follow those of the last call."""
        resets = (flags & RESET) != 0
        rewards = np.where(resets, 0.0, reward)
        other = np.diff(episode, prepend=self._episode) != 0
        breaks = (np.diff(numbers, prepend=self._row) != 1) | other | resets
        starts = np.flatnonzero(breaks)
        found = np.empty(len(numbers))
        with np.errstate(invalid="ignore", over="ignore"):
            for begin, end in zip([0, *starts], [*starts, len(numbers)], strict=True):
                if begin == end:
                    continue
                # A reset is step 0; where the step before it has reset, an episode begins with step 1.
                if breaks[begin]:
                    self._sum = 0.0 if step[begin] <= 1 and (resets[begin] or other[begin]) else np.nan
                found[begin:end] = self._sum + np.cumsum(rewards[begin:end])
                self._sum = found[end - 1]
        self._row, self._episode = int(numbers[-1]), int(episode[-1])
        return found


def _numbers(values: NDArray[Any]) -> Floats:
    """Values of no fixed size as numbers; NaN for those that are not numbers."""
    found = np.full(len(values), np.nan)
    for place, data in enumerate(values):
        try:
            value = decode(data) if data else None
        except ActionError:
            continue
        if isinstance(value, (int, float, np.number)):
            found[place] = float(value)
    return found
