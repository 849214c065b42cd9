"""The steps of one env's stream: each row is written at once, and full buffers are sealed into records."""

from __future__ import annotations

import os
import struct
import weakref
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from offcam.recorder import readings
from offcam_proto.errors import ConfigError, OffcamError
from offcam_runs.steps import tail
from offcam_runs.steps.layout import HEAP, TERMINATED, TRUNCATED, Column, Layout

if TYPE_CHECKING:
    from offcam.recorder.tail import Section, Tail
    from offcam_proto.records import StepRecord

_CODES = {"|b1": "?", "|u1": "B", "|i1": "b", "<f2": "e"}
_CODES |= {"<i2": "h", "<i4": "i", "<i8": "q", "<u2": "H", "<u4": "I", "<u8": "Q", "<f4": "f", "<f8": "d"}

_logs: weakref.WeakSet[StepLog] = weakref.WeakSet()


class StepLog:
    """A stream's rows of steps that are not in a record yet. For whoever steps the env.

    Rows are numbered within their stream: a new stream, as in a forked child, begins again at 0.

    Args:
        keep: takes a record, and returns once it is in the stream's journal.
        attach: returns the tail of the current stream.
    """

    def __init__(self, keep: Callable[[StepRecord], None], attach: Callable[[], Tail]) -> None:
        self._keep = keep
        self._attach = attach
        self._buffers: list[StepBuffer] = []

    def buffer(
        self, table: int, columns: Sequence[Column], *, env_index: int = 0, envs: int = 0, first_row: int = 0
    ) -> StepBuffer:
        """A buffer for the rows of a table, one for each group of neighbouring sub-environments.

        Args:
            table: of `offcam_runs.steps.layout.TABLES`.
            columns: of a row; one is ``episode``, int64, by which rows are found.
            env_index: the first sub-environment.
            envs: how many sub-environments; 0 for a single env, or for one of many by itself.
            first_row: number of the first row.

        Raises:
            ConfigError: a row is too large.
        """
        made = StepBuffer(self._keep, self._attach, table, checked(columns, envs), env_index, first_row)
        self._buffers.append(made)
        _logs.add(self)  # here and not in the constructor, which is not called for a copy
        return made

    @property
    def busy(self) -> bool:
        """Whether a row is being written, for a signal's handler, which may interrupt that."""
        return any(buffer.busy for buffer in self._buffers)

    def seal(self) -> None:
        """Seal all rows into records, except those of a table that is being written to. Never raises."""
        for buffer in self._buffers:
            buffer.seal()

    def __getstate__(self) -> dict[str, Any]:
        """A copy of an env begins without rows."""
        return {**self.__dict__, "_buffers": []}

    def rest(self) -> None:
        """Release the tail until the next row, once what was in it is sealed."""
        for buffer in self._buffers:
            buffer.detach()

    def forget(self) -> None:
        """The stream is replaced: rows are numbered from 0, and unsealed rows stay with the old stream."""
        for buffer in self._buffers:
            buffer.detach(anew=True)


class StepBuffer:
    """Rows of a table of steps, of one env or one group of sub-environments; see `StepLog.buffer`.

    A signal handler of the user's may interrupt this anywhere, and flush. While a row is being written, or rows become
    a record, the handler finds the buffer `busy` and leaves it alone: its rows are safe in the tail.

    Attributes:
        layout: layout of the rows from now on.
        busy: whether a row or a record is being written.
    """

    def __init__(
        self,
        keep: Callable[[StepRecord], None],
        attach: Callable[[], Tail],
        table: int,
        layout: Layout,
        env_index: int,
        first_row: int = 0,
    ) -> None:
        self._keep = keep
        self._attach = attach
        self._table = table
        self._env_index = env_index
        self._first = first_row  # number of the first row in the section
        self._count = self._room = 0  # rows in the section, and how many it has room for
        self._end = 0  # offset in the section of the next row
        self._section: Section | None = None
        self.busy = False
        self._lay_out(layout)

    def add(self, *values: Any) -> int:  # noqa: ANN401 - as the columns are
        """Write a row without values in the heap; for others see `add_with_heap`.

        Args:
            values: one for each column, in order: a number; for a column with a shape, or of several sub-environments,
                its bytes, little-endian.

        Returns:
            The row's number.

        Raises:
            struct.error, OverflowError: a value does not fit its column. Nothing is written.
        """
        self.busy = True
        try:
            if self._count >= self._room:
                self._make_room()
            section, end, count = self._section, self._end, self._count
            self._pack(section.view, end, *values)  # type: ignore[union-attr]  # there is room
            section.counts[0] = self._count = count + 1  # type: ignore[union-attr]
            self._end = end + self._size
            return self._first + count
        finally:
            self.busy = False

    def add_with_heap(self, values: Sequence[Any], heap: bytes) -> int:
        """Write a row that has values without a fixed size.

        Args:
            values: as of `add`; for a column in the heap the value's length in bytes, or for several sub-environments
                their lengths as the bytes of uint32.
            heap: those values, one behind the other, in the order of the columns.

        Returns:
            The row's number.

        Raises:
            struct.error, OverflowError: a value does not fit its column, or the row its record. Nothing is written.
        """
        size = self._size + len(heap)
        if size > tail.ROOM_BYTES:
            raise OverflowError(f"a row with what is in the heap is at most {tail.ROOM_BYTES} bytes, got {size}")
        self.busy = True
        try:
            if self._section is None or self._count >= self._room or self._end + size > self._start + tail.ROOM_BYTES:
                self._make_room()
            section, end, count = self._section, self._end, self._count
            assert section is not None  # noqa: S101 - there is room
            self._pack(section.view, end, *values)
            section.view[end + self._size : end + size] = heap
            section.counts[0] = self._count = count + 1
            self._end = end + size
            return self._first + count
        finally:
            self.busy = False

    def change(self, columns: Sequence[Column]) -> None:
        """Give rows other columns from now on.

        Raises:
            ConfigError: a row would be too large. The columns stay as they were.
        """
        layout = checked(columns, self.layout.envs)
        self.busy = True
        try:
            self._seal()
            self._lay_out(layout)
            if self._section is not None:
                self._open()
        finally:
            self.busy = False

    def seal(self) -> None:
        """Seal the rows into a record; does nothing while something is being written. Never raises."""
        if self.busy:
            return
        self.busy = True
        try:
            self._seal()
        finally:
            self.busy = False

    def _seal(self) -> None:
        section, count = self._section, self._count
        if section is None or not count:
            return
        record = tail.record_of(section.view)
        if record is not None:
            section.sealed = True
            self._keep(record)
        if self._section is section:  # else it went on in another stream meanwhile
            section.clear()
            self._first += count
            self._count = 0
            self._open()

    def detach(self, *, anew: bool = False) -> None:
        """The section is gone. With ``anew`` rows are numbered from 0 again."""
        self._section = None
        self._first = 0 if anew else self._first + self._count
        self._count = self._room = 0

    def _lay_out(self, layout: Layout) -> None:
        self.layout = layout
        self._size = layout.row_bytes
        self._start = tail.rows_at(layout)
        self._pack = struct.Struct(_codes(layout)).pack_into
        self._most = tail.ROOM_BYTES // self._size

    def _make_room(self) -> None:
        self._seal()
        if self._section is None:
            found = self._attach()  # may find that the stream was replaced
            self._section = found.section()
            self._open()

    def _open(self) -> None:
        """Prepare an empty section for rows of this layout, beginning with the next number."""
        section = self._section
        assert section is not None  # noqa: S101 - called where there is one
        begin = tail.begun(self._table, self._env_index, self._first, self.layout)
        section.view[: len(begin)] = begin
        self._end, self._room = self._start, self._most


def flags_of(terminated: object, truncated: object) -> int:
    """The flags of a step's row; a flag that cannot be read counts as not set."""
    return TERMINATED * bool(readings.flag(terminated)) + TRUNCATED * bool(readings.flag(truncated))


def checked(columns: Sequence[Column], envs: int) -> Layout:
    """The layout of some columns.

    Raises:
        ConfigError: no layout can have them.
    """
    try:
        layout = Layout(tuple(columns), envs)
    except OffcamError as error:
        raise ConfigError(f"steps cannot be recorded: {error}. Pass `steps=False`.") from error
    if len(layout.text.encode()) > tail.MAX_LAYOUT_BYTES:
        raise ConfigError(
            f"steps cannot be recorded: the names of their {len(columns)} columns take more than "
            f"{tail.MAX_LAYOUT_BYTES} bytes. Pass `steps=False`, or give the action space shorter keys."
        )
    return layout


def _codes(layout: Layout) -> str:
    """A row's format for `struct`: single numbers as such, several numbers as bytes."""
    codes = ["<"]
    for _, dtype, shape in layout.columns:
        plain = "<u4" if dtype == HEAP else dtype
        if shape or layout.envs:
            count = layout.envs or 1
            for side in shape:
                count *= side
            codes.append(f"{count * int(plain[2:])}s")
        else:
            codes.append(_CODES[plain])
    return "".join(codes)


def _after_fork() -> None:
    for log in list(_logs):
        log.forget()


os.register_at_fork(after_in_child=_after_fork)
