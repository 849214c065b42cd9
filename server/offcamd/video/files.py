"""Video files: salvaged after a crash, published whole. Loads the video library only where it is needed."""

from __future__ import annotations

import itertools
import os
import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO

from offcamd.video.av_errors import as_encode_error

if TYPE_CHECKING:
    from pathlib import Path

    from offcamd.video.probe import VideoInfo


def publish(part: Path, final: Path, *, synced: bool = False) -> None:
    """Rename a finished file for good: its bytes and its name survive a power cut once this returns.

    Args:
        part: the file as it was written, in the same file system as ``final``.
        final: its final name. A file of that name is replaced atomically.
        synced: whether the bytes are synced to the disk already, as by `supersede`.

    Raises:
        EncodeError: the operating system refused; ``part`` is where it was, unless only the last sync failed.
    """
    if not synced:
        supersede(part, final)
    with as_encode_error("publishing", final):
        if synced:
            part.replace(final)
        _sync(final.parent, data_only=False)


def supersede(source: Path, target: Path) -> None:
    """Sync and rename a file: the first half of `publish`. After a crash the name is the old or the new whole file."""
    with as_encode_error("publishing", target):
        _sync(source, data_only=True)
        source.replace(target)


def salvage(part: Path) -> VideoInfo:
    """Make an unfinished file playable to its end: cut off the last frame where that is only half written.

    Needs no space on the disk. The file stays fragmented; `offcamd.video.remux` makes a plain MP4 of it. A finished
    file is left as it is.

    Args:
        part: a file of a `VideoWriter` that failed or was killed.

    Returns:
        What is in the file now; without frames if nothing of it can be used.

    Raises:
        EncodeError: the operating system failed.
    """
    from offcamd.video.probe import probe  # noqa: PLC0415 - loads the video library

    cut_tail(part)
    return probe(part)


def cut_tail(part: Path) -> int:
    """Cut off a last frame that is only half written: the first half of `salvage`. Returns how many bytes were cut."""
    with as_encode_error("salvaging", part), open(part, "r+b", opener=_no_link) as file:
        size = file.seek(0, os.SEEK_END)
        whole = 0
        for kind, end in _boxes(file):
            whole = whole if kind == b"moof" else end
        if whole < size:
            file.truncate(whole)
        return size - whole


def _no_link(path: str, flags: int) -> int:  # an opener for `open`: a link may lead anywhere
    return os.open(path, flags | os.O_NOFOLLOW)


def is_fragmented(path: Path) -> bool:
    """Whether a file is what an unclosed `VideoWriter` leaves: an empty index, then fragments."""
    with as_encode_error("reading", path), path.open("rb") as file:
        kinds = (kind for kind, _ in _boxes(file) if kind != b"free")
        return tuple(itertools.islice(kinds, 3)) == (b"ftyp", b"moov", b"moof")


def count_fragments(path: Path) -> int:
    """How many whole frames a file of an unclosed `VideoWriter` has, by its boxes alone, without the video library."""
    with as_encode_error("reading", path), path.open("rb") as file:
        kinds = [kind for kind, _ in _boxes(file)]
    return sum(pair == (b"moof", b"mdat") for pair in itertools.pairwise(kinds))


def _boxes(file: BinaryIO) -> Iterator[tuple[bytes, int]]:
    """Yield kind and end (offset in bytes) of each whole top-level box of an MP4."""
    size_of_file = file.seek(0, os.SEEK_END)
    start = 0
    while start + 8 <= size_of_file:
        file.seek(start)
        size, kind = struct.unpack(">I4s", file.read(8))
        if size == 1:
            (size,) = struct.unpack(">Q", file.read(8).rjust(8, b"\0"))
        start += size
        if size < 8 or start > size_of_file:
            return
        yield kind, start


def _sync(path: Path, *, data_only: bool) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        sync = getattr(os, "fdatasync", os.fsync) if data_only else os.fsync  # macOS has no fdatasync
        sync(descriptor)
    finally:
        os.close(descriptor)
