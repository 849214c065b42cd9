"""What the rows of a table of steps look like: their columns, in order, and how many bytes each has.

A table belongs to a stream. `STEPS` has a row for each step and each reset that the stream's wrapper saw. What reached
the env's base is the stream's tape: the rows of `STEPS` that have the column `DIGEST`, and those of `TAPE`, if there
are any, from their first number on; `RESETS` has a row for each reset among these. All rows of a layout have the same
size. A value without a fixed size, such as text, lies in the record's heap, where such values follow each other in the
order of rows and columns; its row has its length.
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
"""The dtype of a column whose values have no fixed size. The row has the length of each in bytes, as uint32."""

MAX_ROW_BYTES: Final = 32 * 1024
"""Largest row of a layout in bytes, without the heap. A vector env's row tells of as many sub-environments as fit."""

MAX_COLUMNS: Final = 256

_DTYPE = re.compile(r"\|[bu]1|\|i1|<[iu][248]|<f[248]")


class Column(NamedTuple):
    """A column of a table of steps.

    Attributes:
        name: of the column; no two columns of a layout have the same.
        dtype: numpy's, little-endian (``<f8``, ``|u1``), or `HEAP`.
        shape: of one value of one sub-environment; empty for a column in the heap.
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
"""What each row of `STEPS` begins with; the columns of the action follow, and those of `offcam.trace`."""

DIGEST: Final = Column("digest", "<u4")
"""The column of a tape's row with a digest of what the env gave, by which a replay is checked."""


@dataclass(frozen=True)
class Layout:
    """The columns of a row.

    Attributes:
        columns: in the order in which they lie in a row, without gaps.
        envs: how many sub-environments a row tells of, which are the first dimension of each value; 0 for a single env,
            whose values have no such dimension.

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
        """Bytes of a row, without the heap."""
        sizes = (4 if dtype == HEAP else int(dtype[2:]) * math.prod(shape) for _, dtype, shape in self.columns)
        return sum(sizes) * (self.envs or 1)

    @cached_property
    def dtype(self) -> np.dtype[Any]:
        """A row as a numpy dtype."""
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
        """Parse the text of a layout.

        Raises:
            MalformedMessage: the text is not a layout.
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
