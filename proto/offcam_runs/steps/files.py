"""The files that the blocks of a run's steps lie in, framed one behind the other; ``proto/FORMAT.md`` specifies them.

A stream has one, and another one once that is large. Where a block lies in it is in the index: bytes behind the last
one that the index has were not finished, and the next one is written over them.
"""

from __future__ import annotations

import os
import re
from typing import Final
from zlib import crc32

from offcam_proto.errors import RunFolderError
from offcam_proto.limits import MAX_RECORD_BYTES, MIB
from offcam_runs.journal import FRAME, frame

FOLDER: Final = "steps"
"""Folder within the run folder that holds the files."""

EXTENSION: Final = ".steps"

MAGIC: Final = b"OFFCAMS1"
"""What a file begins with; the digit is the version of this format."""

FILE_BYTES: Final = 64 * MIB
"""A file with more than this is followed by another one."""

MAX_BLOCK_BYTES: Final = 2 * MAX_RECORD_BYTES
"""No block with its frame is larger."""

framed = frame
"""A block with its frame, which is that of a journal: the number is that of its record."""

_STREAM = re.compile(r"[0-9a-f]{32}")


def path_of(folder: str | os.PathLike[str], stream: str, number: int) -> str:
    """Where a stream's file of a number lies.

    Raises:
        RunFolderError: it is no stream's id, as in the index of a folder that nobody should trust.
    """
    if not _STREAM.fullmatch(stream):
        raise RunFolderError(f"the index of {os.fspath(folder)!r} has steps of {stream!r}, which is no stream's id")
    return os.path.join(folder, FOLDER, f"{stream}-{int(number)}{EXTENSION}")


def read_block(path: str, offset: int, size: int, seq: int) -> bytes:
    """One block, without its frame.

    Args:
        path: of the file.
        offset: where its frame begins.
        size: of the frame in bytes.
        seq: number of its record.

    Raises:
        OSError: the file cannot be read, or is not there.
        ValueError: what lies there is another one, or damaged.
    """
    if not FRAME.size < size <= MAX_BLOCK_BYTES:
        raise ValueError(f"a block of {size} bytes")
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        data = os.pread(descriptor, size, offset)
    finally:
        os.close(descriptor)
    if len(data) < size:
        raise ValueError(f"it ends at {offset + len(data)}, within a block")
    length, crc, number = FRAME.unpack_from(data)
    if number != seq or length != size - FRAME.size or crc32(data[8:]) != crc:
        raise ValueError(f"the block at {offset} is damaged")
    return data[FRAME.size :]
