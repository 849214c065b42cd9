"""What kind of file system a folder is on, writing into a file at a place, and in place of another one."""

from __future__ import annotations

import os
import re
import tempfile
from contextlib import suppress
from pathlib import Path

MOUNTS = Path("/proc/self/mounts")

LOCAL_TYPES = frozenset(
    {"apfs", "bcachefs", "btrfs", "exfat", "ext2", "ext3", "ext4", "f2fs", "overlay", "ramfs", "tmpfs"}
    | {"vfat", "xfs", "zfs"}
)
"""Where all processes that can open a file see the same memory-mapped bytes."""


def filesystem_type(folder: Path, mounts: Path = MOUNTS) -> str:
    """Type of the file system of a folder, as the kernel names it; empty where that is not known."""
    try:
        table = mounts.read_text(errors="surrogateescape")
    except OSError:
        return ""
    path, best, kind = folder.resolve(), -1, ""
    for line in table.splitlines():
        point, this_kind = map(_unescaped, line.split(" ")[1:3])
        depth = len(Path(point).parts)
        if depth >= best and path.is_relative_to(point):  # of two at one point the later hides the earlier
            best, kind = depth, this_kind
    return kind


def wal_works_on(folder: Path, mounts: Path = MOUNTS) -> bool:
    """Whether SQLite's write-ahead log may be used in a folder.

    It needs memory that all readers and writers share, so not on a network file system
    (https://www.sqlite.org/wal.html); one that is not known to be local counts as such.
    """
    return filesystem_type(folder, mounts) in LOCAL_TYPES


def may_stall(folder: Path, mounts: Path = MOUNTS) -> bool:
    """Whether a folder's file system is known, and is not one of this host's: it may answer nobody for a while."""
    return filesystem_type(folder, mounts) not in LOCAL_TYPES | {""}


def write_all(descriptor: int, data: bytes | memoryview, offset: int) -> None:
    """Write all of it at a place in a file, or raise OSError."""
    while data:
        written = os.pwrite(descriptor, data, offset)
        data, offset = data[written:], offset + written


def replace_file(file: Path, text: str) -> None:
    """Have a file hold this text in place of what it held: all of it or, where it fails, nothing. It is on disk then.

    Raises:
        OSError: it cannot be written.
    """
    descriptor, name = tempfile.mkstemp(prefix=".", dir=file.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as new:
            new.write(text)
            new.flush()
            os.fchmod(descriptor, 0o644)
            os.fsync(descriptor)
        Path(name).replace(file)
    except OSError:
        with suppress(OSError):
            Path(name).unlink()
        raise


def _unescaped(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)
