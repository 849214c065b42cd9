"""An object that is read as a file, of which only what is read is fetched."""

from __future__ import annotations

import errno
import io
from typing import TYPE_CHECKING, Any, Final

from offcam_proto.errors import OffcamError
from offcam_proto.limits import KIB

if TYPE_CHECKING:
    from offcam_runs.objects.store import ObjectStore

BLOCK_BYTES: Final = 256 * KIB
"""Bytes that are fetched at a time."""

MOST_BLOCKS: Final = 8
"""Blocks that an open object keeps in memory: those read last."""


class RangedObject(io.RawIOBase):
    """An object, open for reading, and the bytes around where it was read last. For one thread at a time.

    Reading raises OSError where the storage cannot be reached or refuses it.

    Attributes:
        size: in bytes.
        changed: when it was written, in nanoseconds since the epoch.

    Args:
        store: where it is.
        key: of the object.

    Raises:
        ConfigError: it is refused.
        Missing: there is none.
        RunFolderError: it cannot be reached.
    """

    def __init__(self, store: ObjectStore, key: str) -> None:
        super().__init__()
        self._store = store
        self._key = key
        self.size, self.changed = store.facts(key)
        self._at = 0
        self._blocks: dict[int, bytes] = {}  # by number, first the one that was not read for the longest time

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """As a file's."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self.size}[whence]
        if base + offset < 0:
            raise OSError(errno.EINVAL, "there is nothing before the beginning")
        self._at = base + offset
        return self._at

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - any writable buffer
        """As a file's: it may read less than there is room for, and nothing at the end alone."""
        number, begin = divmod(self._at, BLOCK_BYTES)
        piece = self._block(number)[begin : begin + len(buffer)] if self._at < self.size else b""
        buffer[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)

    def _block(self, number: int) -> bytes:
        block = self._blocks.pop(number, None)
        if block is None:
            begin = number * BLOCK_BYTES
            size = min(BLOCK_BYTES, self.size - begin)
            try:
                block = self._store.get_range(self._key, begin, size)
            except OffcamError as error:
                raise OSError(errno.EIO, str(error)) from error
            if len(self._blocks) >= MOST_BLOCKS:
                del self._blocks[next(iter(self._blocks))]
        self._blocks[number] = block
        return block
