"""Reading a video while it is written: its whole fragments, as a player takes them. Needs no video library."""

from __future__ import annotations

import os
import struct

MOST_READ = 1 << 18
"""Bytes that are read at a time, unless one box is larger."""

_INDEX, _MEDIA = b"moov", b"mdat"
_CODEC = b"avcC"


class GrowingVideo:
    """A fragmented MP4 that an `offcamd.video.mp4.VideoWriter` is writing. Use it from one thread at a time.

    Args:
        fd: descriptor of the file, open for reading; it stays open, and its position is not used.

    Attributes:
        over: whether the file has been finished: what follows is the index of a plain MP4, which is no fragment.
    """

    def __init__(self, fd: int) -> None:
        self.over = False
        self._fd = fd
        self._at = 0
        self._begun = False

    def more(self) -> bytes:
        """The next whole boxes, from the file's start on; nothing where none has been written since.

        Raises:
            OSError: the file cannot be read.
        """
        piece = os.pread(self._fd, MOST_READ, self._at)
        whole = self._whole(piece)
        if not whole and not self.over and len(piece) == MOST_READ:  # a box that is larger than that
            piece = os.pread(self._fd, struct.unpack_from(">I", piece)[0], self._at)
            whole = self._whole(piece)
        self._at += whole
        return piece[:whole]

    def _whole(self, piece: bytes) -> int:
        """How many bytes of a piece are whole boxes before the file's end as a fragmented one."""
        at = 0
        while at + 8 <= len(piece):
            size, kind = struct.unpack_from(">I4s", piece, at)
            # Closing a file puts an index behind the fragments, and hides all of them in one box, whose size may be 1.
            self.over = size < 8 or (kind == _INDEX and self._begun) or (kind == _MEDIA and not self._begun)
            if self.over or at + size > len(piece):
                break
            self._begun = self._begun or kind == _INDEX
            at += size
        return at


def codec_of(beginning: bytes) -> str | None:
    """The name of the codec in a file's first boxes (RFC 6381), such as ``avc1.42c00d``; None where there is none."""
    _, found, record = beginning.partition(_CODEC)
    return f"avc1.{record[1:4].hex()}" if found and len(record) >= 4 else None
