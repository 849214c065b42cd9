"""Removes files of steps from a run's folder that are in object storage, as `LocalLimit` does with videos."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, BinaryIO, Final

from offcam_proto.host import NO_LOCKS
from offcam_runs.file_lock import try_flock
from offcam_runs.objects.evicted import note_evicted
from offcam_runs.steps import files

if TYPE_CHECKING:
    from offcam_runs.objects.segments import StepsPart, WrittenSteps
    from offcam_runs.objects.store import ObjectStore

    ShippedSteps = tuple[WrittenSteps, Sequence[tuple[str, StepsPart]]]
    """A file of steps, and by their keys its bytes to which a manifest leads, in order."""

MOST_FILES: Final = 64
"""Files that are open at a time."""


def evict_steps(folder: str, store: ObjectStore, left: Iterator[ShippedSteps], wanted: int) -> int:
    """Remove at least so many bytes of the next files, where there are as many. Returns how many.

    One that its recorder has open stays, and so does one that differs from what the storage has.

    Args:
        folder: of the run.
        store: where it is sent to.
        left: the files, in the order in which they go.
        wanted: how many bytes.

    Raises:
        ConfigError: the storage refuses it.
        RunFolderError: it cannot be reached, or nothing can be noted in the folder.
    """
    gone = 0
    with ExitStack() as stack:  # a recorder that comes now finds them locked, and begins another file
        found: list[WrittenSteps] = []
        for each, parts in left:
            with ExitStack() as own:
                if (file := _opened(folder, each)) is None:
                    continue
                own.enter_context(file)
                same = _try_lock(file) and os.fstat(file.fileno()).st_size == each.end
                if not same or not _there(store, file, each, parts):
                    continue
                stack.enter_context(own.pop_all())
            found.append(each)
            gone += each.end
            if gone >= wanted or len(found) >= MOST_FILES:
                break
        if found:
            note_evicted(folder, store.place.url, steps=[(each.stream, each.file) for each in found])
        for each in found:
            os.unlink(files.path_of(folder, each.stream, each.file))
    return gone


def _opened(folder: str, steps: WrittenSteps) -> BinaryIO | None:
    path = files.path_of(folder, steps.stream, steps.file)
    try:
        return open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
    except OSError:  # it was removed already, or is none of ours
        return None


def _try_lock(file: BinaryIO) -> bool:
    try:
        return try_flock(file.fileno(), exclusive=True)
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        return False  # nobody can tell whether the recorder has it open


def _there(store: ObjectStore, file: BinaryIO, steps: WrittenSteps, parts: Sequence[tuple[str, StepsPart]]) -> bool:
    """Whether the storage has all blocks of a file; what it has otherwise is sent again first."""
    end = len(files.MAGIC)
    for _, part in parts:
        if part.offset > end:
            return False
        end = max(end, part.offset + part.bytes)
    return end >= steps.end and all(_held(store, key, file, part) for key, part in parts)


def _held(store: ObjectStore, key: str, file: BinaryIO, part: StepsPart) -> bool:
    data = os.pread(file.fileno(), part.bytes, part.offset)
    if store.holds(key, io.BytesIO(data)):
        return True
    store.put(key, data)
    return store.holds(key, io.BytesIO(data))
