"""The tail of a stream: the rows of its steps that are in no record yet, in a file beside its journal.

The client maps the file and writes each row into it, so that rows outlive the client. ``proto/FORMAT.md`` specifies the
file. It has a head, and behind that sections, one for each table and group of sub-environments. A section has a head of
its own, the layout of its rows, and the rows, each with its values of no fixed size behind it. How many rows there are
is written once a row is whole, so that a kill leaves whole rows.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from offcam_proto.errors import MalformedMessage
from offcam_proto.limits import MAX_TEXT_BYTES
from offcam_proto.records import StepRecord
from offcam_runs import journal
from offcam_runs.steps.layout import HEAP, Layout

if TYPE_CHECKING:
    from offcam_proto.messages import Buffer, Hello, OpenStream

MAGIC: Final = b"OFFCAMT1"
"""What a tail begins with."""

LAST_SEQ: Final = struct.Struct("<Q")
"""What follows: the number of the stream's last record, as of the last time that rows became a record."""

HEAD_BYTES: Final = 32 * 1024
"""Offset of the first section. Between that number and it lie the frames with which the journal begins, too."""

SECTION_BYTES: Final = 64 * 1024
"""Size of a section in bytes."""

ROOM_BYTES: Final = 48 * 1024
"""Most bytes of a section's rows with the values behind each: one record can hold them all, and the layout."""

MAX_BYTES: Final = 64 * 1024 * 1024
"""Largest size of a tail in bytes: a reader reads no more."""

MAX_LAYOUT_BYTES: Final = MAX_TEXT_BYTES
"""Longest text of a layout, in bytes: as long as any text in a record may be. A section has room for it."""

_SECTION = struct.Struct("<QQQQQ")  # rows, number of the first one, table, sub-environment, bytes of the layout's text
_LAYOUT = 64
_ALIGNMENT = 8
_LENGTH = struct.Struct("<I")


def head(info: OpenStream, client: Hello) -> bytes:
    """What a tail begins with, up to its first section."""
    frames = journal.head(info, client)[len(journal.MAGIC) :]
    return (MAGIC + LAST_SEQ.pack(0) + frames).ljust(HEAD_BYTES, b"\0")


def begun(table: int, env_index: int, first_row: int, layout: Layout) -> bytes:
    """What a section without rows begins with, up to where its first row is to be."""
    text = layout.text.encode()
    return (_SECTION.pack(0, first_row, table, env_index, len(text)).ljust(_LAYOUT, b"\0") + text).ljust(
        rows_at(layout), b"\0"
    )


def rows_at(layout: Layout) -> int:
    """Where in a section its first row lies."""
    return -(-(_LAYOUT + len(layout.text.encode())) // _ALIGNMENT) * _ALIGNMENT


def record_of(section: Buffer) -> StepRecord | None:
    """The record that the rows of a section make; None where there are none.

    Raises:
        MalformedMessage: the rows are not whole, or there is no such layout.
    """
    view = memoryview(section)
    if len(view) < _LAYOUT:
        raise MalformedMessage(f"a section of a tail has {len(view)} bytes alone")
    count, first_row, table, env_index, length = _SECTION.unpack_from(view)
    if not count:
        return None
    try:
        layout = Layout.parse(bytes(view[_LAYOUT : _LAYOUT + length]).decode())
    except UnicodeDecodeError as error:
        raise MalformedMessage("the layout in a tail is no text") from error
    rows, heap = _split(layout, view[rows_at(layout) :], count)
    first_episode, last_episode = _episodes(layout, rows)
    return StepRecord(
        table=table,
        env_index=env_index,
        first_row=first_row,
        count=count,
        first_episode=first_episode,
        last_episode=last_episode,
        layout=layout.text,
        rows=rows,
        heap=heap,
    )


def last_seq(data: Buffer) -> int:
    """The number of the stream's last record, as far as a tail knows it.

    Raises:
        MalformedMessage: the data is not a tail.
    """
    view = memoryview(data)
    if bytes(view[: len(MAGIC)]) != MAGIC or len(view) < HEAD_BYTES:
        raise MalformedMessage("it begins with other bytes than a tail")
    return int(LAST_SEQ.unpack_from(view, len(MAGIC))[0])


def sections(data: Buffer) -> Iterator[memoryview]:
    """The sections of a tail."""
    view = memoryview(data)
    for at in range(HEAD_BYTES, len(view), SECTION_BYTES):
        yield view[at : at + SECTION_BYTES]


def live_sections(descriptor: int) -> Iterator[bytes]:
    """The sections of a tail that its client may be writing, each with the rows that were whole when it was looked at.

    One whose rows become a record meanwhile is left out: they are in the journal, for who reads that afterwards.

    Args:
        descriptor: of the file, which is read at places of its own.

    Raises:
        OSError: it cannot be read.
    """
    for at in range(HEAD_BYTES, min(os.fstat(descriptor).st_size, MAX_BYTES), SECTION_BYTES):
        before = os.pread(descriptor, _SECTION.size, at)
        section = os.pread(descriptor, SECTION_BYTES, at)
        if _has_all_of(os.pread(descriptor, _SECTION.size, at), before):
            yield before + section[_SECTION.size :]


def _has_all_of(head: bytes, before: bytes) -> bool:
    """Whether a section has the rows still that it had when its head was read before."""
    if len(before) < _SECTION.size or len(head) < _SECTION.size:  # it was cut meanwhile
        return False
    (count, *rows), (count_before, *rows_before) = _SECTION.unpack(head), _SECTION.unpack(before)
    return rows == rows_before and count >= count_before > 0


def _split(layout: Layout, view: memoryview, count: int) -> tuple[bytes, bytes]:
    """The rows, one behind the other, and the values that lay behind each, joined."""
    size, lengths = layout.row_bytes, _lengths(layout)
    if not lengths:
        rows, heap = bytes(view[: count * size]), b""
        end = count * size
    else:
        parts, values, end = [], [], 0
        for _ in range(min(count, len(view) // size)):
            begin, end = end, end + size
            more = sum(_LENGTH.unpack_from(view, begin + at)[0] for at in lengths) if end <= len(view) else 0
            parts.append(view[begin:end])
            values.append(view[end : end + more])
            end += more
        rows, heap = b"".join(parts), b"".join(values)
    if len(rows) < count * size or end > len(view):
        raise MalformedMessage(f"a tail has not all of its {count} rows of {size} bytes")
    return rows, heap


def _lengths(layout: Layout) -> list[int]:
    """Offsets in a row of the lengths of values that lie behind it."""
    if not any(column.dtype == HEAP for column in layout.columns):
        return []
    fields = layout.dtype.fields
    assert fields is not None  # noqa: S101 - there is a column
    begins = [int(fields[column.name][1]) for column in layout.columns if column.dtype == HEAP]
    return [begin + _LENGTH.size * place for begin in begins for place in range(layout.envs or 1)]


def _episodes(layout: Layout, rows: bytes) -> tuple[int, int]:
    """The smallest and the largest number of an episode in rows, by their column ``episode``."""
    if not any(column.name == "episode" for column in layout.columns):
        return 0, 0
    import numpy as np  # noqa: PLC0415 - a daemon looks for tails before it has loaded that

    numbers = np.frombuffer(rows, layout.dtype)["episode"]
    known = numbers[numbers >= 0]  # -1: a sub-environment that took no part in that row
    return (int(known.min()), int(known.max())) if known.size else (0, 0)
