"""The rows of one sub-environment, taken out of records, and what they make of an episode; pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from offcam_runs.steps.blocks import layout_of
from offcam_runs.steps.layout import DIGEST, HEAP, TERMINATED, TRUNCATED, Layout
from offcam_runs.steps.values import decode

if TYPE_CHECKING:
    from offcam_proto.records import StepRecord
    from offcam_runs.steps.places import Gap


class Rows(NamedTuple):
    """Consecutive rows of a table, of one sub-environment.

    Attributes:
        first_row: number of the first row.
        rows: (n,) structured, a field for each column; for a column in the heap, the field has each value's length in
            bytes.
        heap: by column, the values that lie in the heap.
    """

    first_row: int
    rows: NDArray[Any]
    heap: dict[str, list[bytes]]

    def column(self, name: str) -> NDArray[Any]:
        """(n, ...) a column's values; those in the heap are ``bytes`` in an array of objects."""
        return _objects(self.heap[name]) if name in self.heap else self.rows[name]


@dataclass(frozen=True, eq=False, repr=False)
class Steps(Mapping[str, NDArray[Any]]):
    """The rows of one episode, or those that a clip's frames show: its columns by name, each (rows, ...).

    Attributes:
        row: (rows,) numbers of the rows in their table, int64.
        columns: by name, in the order of the layout; values that have no fixed size are bytes in an array of objects.
        gaps: rows that should be here and are missing.
        complete: whether no row of the episode is missing, from its reset to its end; of a clip, no row of its frames.
    """

    row: NDArray[np.int64]
    columns: dict[str, NDArray[Any]]
    gaps: tuple[Gap, ...] = ()
    complete: bool = False

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return len(self.row)

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self.columns[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.columns)

    def __len__(self) -> int:
        return len(self.columns)

    def __repr__(self) -> str:
        columns = ", ".join(f"{name} {column.dtype}{list(column.shape[1:]) or ''}" for name, column in self.items())
        return f"<Steps: {self.rows:,} rows{'' if self.complete else ', some are missing'}; {columns}>"


def of_env(record: StepRecord, env_index: int) -> Rows:
    """The rows of one sub-environment in a record.

    Raises:
        MalformedMessage: the record's bytes are not the rows of its layout.
    """
    layout = layout_of(record)
    table = np.frombuffer(record.rows, layout.dtype)
    heap = _heap(record, layout, table, env_index - record.env_index)
    if not layout.envs:
        return Rows(record.first_row, table, heap)
    own = np.empty(len(table), Layout(layout.columns).dtype)
    for column in layout.columns:
        own[column.name] = table[column.name][:, env_index - record.env_index]
    return Rows(record.first_row, own, heap)


def _heap(record: StepRecord, layout: Layout, table: NDArray[Any], place: int) -> dict[str, list[bytes]]:
    """By column, the values in the heap of the sub-environment at a place in the record."""
    names = [name for name, dtype, _ in layout.columns if dtype == HEAP]
    if not names:
        return {}
    lengths = np.stack([table[name].reshape(len(table), -1) for name in names], axis=1).astype(np.int64)
    ends = np.cumsum(lengths).reshape(lengths.shape)[:, :, place].tolist()  # in the order of rows, columns, sub-envs
    sizes = lengths[:, :, place].tolist()
    return {
        name: [record.heap[end[of] - size[of] : end[of]] for end, size in zip(ends, sizes, strict=True)]
        for of, name in enumerate(names)
    }


def chosen(rows: Rows, mask: NDArray[np.bool_]) -> tuple[NDArray[np.int64], dict[str, NDArray[Any]]]:
    """The chosen rows: their numbers and their columns. A tape's rows also get a column ``tape``: their numbers."""
    assert rows.rows.dtype.names is not None  # noqa: S101 - a layout has columns
    numbers = rows.first_row + np.flatnonzero(mask)
    columns = {name: rows.column(name)[mask] for name in rows.rows.dtype.names}
    return numbers, {"tape": numbers, **columns} if DIGEST.name in columns else columns


def joined(
    pieces: Sequence[tuple[NDArray[np.int64], dict[str, NDArray[Any]]]],
) -> tuple[NDArray[np.int64], dict[str, Any]]:
    """Rows of several records one behind the other. A column that some lack is NaN, 0 or empty there."""
    names = dict.fromkeys(name for _, columns in pieces for name in columns)
    numbers = [numbers for numbers, _ in pieces]
    return (
        np.concatenate(numbers) if numbers else np.empty(0, np.int64),
        {name: _joined([(len(own), columns.get(name)) for own, columns in pieces]) for name in names},
    )


def _joined(parts: Sequence[tuple[int, NDArray[Any] | None]]) -> NDArray[Any]:
    kinds = {(part.dtype, part.shape[1:]) for _, part in parts if part is not None}
    if len(kinds) > 1:  # one name for different kinds of values: nothing can hold both
        return _objects([None if part is None else part[at] for count, part in parts for at in range(count)])
    ((dtype, shape),) = kinds
    empty = np.nan if dtype.kind == "f" else b"" if dtype.kind == "O" else 0
    filled = [np.full((count, *shape), empty, dtype) if part is None else part for count, part in parts]
    return np.concatenate(filled)


def _objects(values: Sequence[object]) -> NDArray[Any]:
    found = np.empty(len(values), object)
    for place, value in enumerate(values):  # one by one: given all at once, numpy would look into them
        found[place] = value
    return found


def decoded(steps: Steps) -> Steps:
    """The same steps with actions of no fixed size as they were given to the env, instead of as bytes."""
    found = {name: _decoded(column) if column.dtype == object else column for name, column in steps.columns.items()}
    return replace(steps, columns=found)


def _decoded(column: NDArray[Any]) -> NDArray[Any]:
    return _objects([decode(value) if isinstance(value, bytes) and value else None for value in column])


def ended(columns: Mapping[str, NDArray[Any]]) -> bool:
    """Whether an episode's last row is its end."""
    flags = columns.get("flags")
    return flags is not None and len(flags) > 0 and bool(flags[-1] & (TERMINATED | TRUNCATED))
