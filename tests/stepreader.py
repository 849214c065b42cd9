"""Reads back the steps that a client has recorded and no daemon has: from the journals, and the tails beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from offcam_proto import codec
from offcam_proto.records import ClipRecord, Record, StepRecord
from offcam_runs.journal_reader import journals, read
from offcam_runs.steps.layout import HEAP, STEPS, Layout

if TYPE_CHECKING:
    from pathlib import Path

Row = dict[str, Any]


def records(folder: Path) -> list[Record]:
    """All records of a run's journals, and what is in their tails, of one stream after the other."""
    found = [read(path, ended=True) for path in journals(folder)]
    ordered = sorted((each for each in found if each is not None), key=lambda each: each.stream.started)
    return [codec.unpack_record(body) for journal in ordered for body in journal.bodies]


def rows_of(record: StepRecord) -> list[Row]:
    """The rows of a record, values that are in the heap included."""
    layout, heap = Layout.parse(record.layout), record.heap
    rows, at = [], 0
    for place, row in enumerate(np.frombuffer(record.rows, layout.dtype)):
        values: Row = {"row": record.first_row + place, "env_index": record.env_index}
        for name, dtype, _ in layout.columns:
            values[name] = row[name]
            if dtype == HEAP:
                parts = []
                for length in np.atleast_1d(row[name]):
                    parts.append(heap[at : at + length])
                    at += int(length)
                values[name] = parts if layout.envs else parts[0]
        rows.append(values)
    assert at == len(heap)
    return rows


def steps(folder: Path, table: int = STEPS) -> list[Row]:
    """The rows of a table, of all streams and groups of sub-environments."""
    found = [each for each in records(folder) if isinstance(each, StepRecord) and each.table == table]
    return [row for each in found for row in rows_of(each)]


def clips(folder: Path) -> list[ClipRecord]:
    """The accounts of the videos."""
    return [each for each in records(folder) if isinstance(each, ClipRecord)]
