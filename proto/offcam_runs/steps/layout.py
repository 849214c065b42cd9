"""What the rows of a table of steps look like: their columns, in order, and how many bytes each has.

A table is a stream's: `STEPS` has a row for each step and each reset that its wrapper saw. What reached the env's base
is its tape, whose rows are those of `STEPS` that have the column `DIGEST`, and from the number on with which it begins,
if it does, those of `TAPE`; `RESETS` has one for each reset of these. A row has the same size as any other of its
layout. What has no fixed size, as text, lies in the record's heap, one value behind the other in the order of rows and
columns, and the row has its length.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from offcam_proto import validation as check
from offcam_proto.errors import MalformedMessage

if TYPE_CHECKING:
    import numpy as np

STEPS: Final = 0
TAPE: Final = 1
RESETS: Final = 2
TABLES: Final = (STEPS, TAPE, RESETS)
"""Which table a record's rows are of."""

TERMINATED: Final = 1
TRUNCATED: Final = 2
RESET: Final = 4
"""Bits of the column ``flags``. A row with `RESET` is that of a reset: it has an observation and no action."""

HEAP: Final = "bytes"
"""The dtype of a column whose values have no fixed size. In the row stands the length of each, as uint32."""

MAX_ROW_BYTES: Final = 32 * 1024
"""Largest row of a layout, without what is in the heap. A vector env's is that of as many sub-environments as fit."""

MAX_COLUMNS: Final = 256

_DTYPE = re.compile(r"\|[bu]1|\|i1|<[iu][248]|<f[248]")


class Column(NamedTuple):
    """A column of a table of steps.

    Attributes:
        name: of the column, no two have the same.
        dtype: numpy's, little-endian (``<f8``, ``|u1``), or `HEAP`.
        shape: of one value of one sub-environment; of a column in the heap it is empty.
    """

    name: str
    dtype: str
    shape: tuple[int, ...] = ()


FIRST_COLUMNS: Final = (
    Column("episode", "<i8"),
    Column("step", "<i4"),
    Column("reward", "<f8"),
    Column("flags", "|u1"),
)
"""What a row of `STEPS` begins with; the action's columns follow, and the agent's numbers."""

DIGEST: Final = Column("digest", "<u4")
"""The column of a row of a tape that it is checked by."""


@dataclass(frozen=True)
class Layout:
    """The columns of a row.

    Attributes:
        columns: in the order in which they lie in a row, without gaps.
        envs: of how many sub-environments a row tells: each value has them as its first dimension. 0 for a single env,
            whose values have none.

    Raises:
        MalformedMessage: there is no such layout.
    """

    columns: tuple[Column, ...]
    envs: int = 0

    def __post_init__(self) -> None:
        names = [column.name for column in self.columns]
        if not 1 <= len(names) <= MAX_COLUMNS or len(set(names)) < len(names):
            raise MalformedMessage(f"a row has 1 to {MAX_COLUMNS} columns of different names, got {check.shown(names)}")
        for name, dtype, shape in self.columns:
            check.text("a column's name", name)
            if dtype != HEAP and not _DTYPE.fullmatch(dtype):
                raise MalformedMessage(f"column {check.shown(name)} has an unknown dtype: {check.shown(dtype)}")
            if dtype == HEAP and shape:
                raise MalformedMessage(f"column {check.shown(name)} is in the heap and has a shape: {shape}")
        if self.row_bytes > MAX_ROW_BYTES:
            raise MalformedMessage(f"a row is at most {MAX_ROW_BYTES} bytes, got {self.row_bytes}")

    @property
    def row_bytes(self) -> int:
        """Bytes of a row, without what is in the heap."""
        sizes = (4 if dtype == HEAP else int(dtype[2:]) * math.prod(shape) for _, dtype, shape in self.columns)
        return sum(sizes) * (self.envs or 1)

    @cached_property
    def dtype(self) -> np.dtype[Any]:
        """A row as numpy has it."""
        import numpy as np  # noqa: PLC0415 - a daemon takes records before it has loaded that

        lead = (self.envs,) if self.envs else ()
        kinds = [(name, "<u4" if dtype == HEAP else dtype, (*lead, *shape)) for name, dtype, shape in self.columns]
        return np.dtype(kinds)

    @cached_property
    def text(self) -> str:
        """The layout as the wire and the disk have it: JSON."""
        return json.dumps([self.envs, [[name, dtype, *shape] for name, dtype, shape in self.columns]])

    @staticmethod
    @lru_cache(maxsize=256)
    def parse(text: str) -> Layout:
        """The layout that a text is of.

        Raises:
            MalformedMessage: it is none.
        """
        try:
            envs, columns = json.loads(text)
            found = tuple(Column(name, dtype, tuple(shape)) for name, dtype, *shape in columns)
        except (ValueError, TypeError, RecursionError) as error:
            raise MalformedMessage(f"not the layout of a table of steps: {check.shown(text)}") from error
        check.uint("sub-environments of a row", envs)
        for column in found:
            if type(column.name) is not str or type(column.dtype) is not str:
                raise MalformedMessage(f"not a column: {check.shown(column)}")
            for size in column.shape:
                check.uint(f"a side of column {check.shown(column.name)}", size)
        return Layout(found, envs)
