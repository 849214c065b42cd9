"""The files that the blocks of a run's steps lie in, framed one behind the other; ``proto/FORMAT.md`` specifies them.

A stream has one file, and a further one whenever the last is large. The index says where each block lies. Bytes behind
the last block in the index were left unfinished, and the next block is written over them.
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
"""A file larger than this gets no more blocks: the next one goes into a new file."""

MAX_BLOCK_BYTES: Final = 2 * MAX_RECORD_BYTES
"""Largest size of a block with its frame, in bytes."""

framed = frame
"""The frame of a block is that of a journal; its number is that of the block's record."""

_STREAM = re.compile(r"[0-9a-f]{32}")


def path_of(folder: str | os.PathLike[str], stream: str, number: int) -> str:
    """The path of one of a stream's files, by the file's number.

    Raises:
        RunFolderError: ``stream`` is not a stream's id, as it may be in the index of a folder that nobody should trust.
    """
    if not _STREAM.fullmatch(stream):
        raise RunFolderError(
            f"the index of {os.fspath(folder)!r} has steps of {stream!r}, which is no stream's id: do not trust it"
        )
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
        ValueError: another block lies there, or a damaged one.
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
