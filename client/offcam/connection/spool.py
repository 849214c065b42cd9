"""Frames that a daemon of this host has moved to disk, should it die: see `offcam_proto.spool_file`."""

from __future__ import annotations

import errno
import os
import stat
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING

from offcam_proto import codec
from offcam_proto.arena import SPOOL_EXTENSION
from offcam_proto.errors import RemoteProtocolError
from offcam_proto.messages import SlotFrames
from offcam_proto.spool_file import HEAD_BYTES, LENGTH, PIXELS_AT, TOKEN_AT, pack_name, place_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from offcam_proto.layout import FrameLayout


class Spool:
    """The spool of one stream's arena, opened, so that it outlives the daemon that made it.

    Args:
        pid: of the daemon.
        descriptor: the file's in the daemon.
        token: the arena's.
        slot_bytes: size of its slots.

    Raises:
        OSError: it is not there, as in another container; or it is another file.

    Attributes:
        waiting: frames in it that are still to be fetched.
    """

    def __init__(self, pid: int, descriptor: int, token: bytes, slot_bytes: int) -> None:
        flags = os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
        self._descriptor = os.open(f"/proc/{pid}/fd/{descriptor}", flags)
        weakref.finalize(self, os.close, self._descriptor)
        self._place_bytes = place_bytes(slot_bytes)
        self._free: list[int] = []
        self.waiting = 0
        regular = stat.S_ISREG(os.fstat(self._descriptor).st_mode)
        if not regular or os.pread(self._descriptor, len(token), TOKEN_AT) != token:
            raise OSError(f"descriptor {descriptor} of process {pid} is no spool of ours")

    def frames(self) -> Iterator[tuple[int, SlotFrames]]:
        """Each frame in it: its place, and what would name it."""
        for place in range((os.fstat(self._descriptor).st_size - HEAD_BYTES) // self._place_bytes + 1):
            head = os.pread(self._descriptor, HEAD_BYTES, HEAD_BYTES + place * self._place_bytes)
            length = LENGTH.unpack_from(head)[0] if len(head) == HEAD_BYTES else 0
            with suppress(RemoteProtocolError):
                if length and isinstance(named := codec.decode_client([head[LENGTH.size :][:length]]), SlotFrames):
                    yield place, named

    def add(
        self,
        clip: int,
        index: int,
        layouts: tuple[FrameLayout, ...],
        slot_head: bytes,
        pixels: tuple[memoryview, ...],
    ) -> int | None:
        """Put a frame that lies in a slot beside those that are here, and return its place; None where it has none.

        Args:
            clip: number of its clip.
            index: its number in that.
            layouts: of its pictures.
            slot_head: what the arena has of it.
            pixels: of its pictures.

        Raises:
            OSError: the disk refuses.
        """
        name = pack_name(clip, index, layouts)
        if not name:
            return None
        place = self._free.pop() if self._free else self._places
        start = HEAD_BYTES + place * self._place_bytes
        data = b"".join(pixels)
        try:
            # an earlier name, if any, has the length 0: until the new one has its own, nobody finds anything here
            for offset, part in ((PIXELS_AT, data), (HEAD_BYTES, slot_head), (LENGTH.size, name[LENGTH.size :])):
                self._write(part, start + offset)
            self._write(name[: LENGTH.size], start)
        except OSError:
            self._free.append(place)
            raise
        self.waiting += 1
        return place

    def _write(self, data: bytes, offset: int) -> None:
        if os.pwrite(self._descriptor, data, offset) < len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    @property
    def _places(self) -> int:
        """How many the file has, the last one maybe in part."""
        return -(-max(0, os.fstat(self._descriptor).st_size - HEAD_BYTES) // self._place_bytes)

    def free(self, place: int) -> None:
        """A frame is elsewhere now: whoever finds the file must not record it once more."""
        with suppress(OSError):
            os.pwrite(self._descriptor, LENGTH.pack(0), HEAD_BYTES + place * self._place_bytes)
            self._free.append(place)

    def rename(self, place: int, clip: int, index: int, layouts: tuple[FrameLayout, ...], slot_head: bytes) -> None:
        """A frame becomes one of another clip, also for whoever finds the file when client and daemon are dead."""
        name = pack_name(clip, index, layouts)
        if name:
            head = name.ljust(HEAD_BYTES, b"\0") + slot_head
            with suppress(OSError):
                os.pwrite(self._descriptor, head, HEAD_BYTES + place * self._place_bytes)

    def remove(self) -> None:
        """Nothing in it is needed any more: its name goes, if it has one, and what it takes of the disk with it."""
        with suppress(OSError):
            path = os.readlink(f"/proc/self/fd/{self._descriptor}")
            if path.endswith(SPOOL_EXTENSION):
                os.unlink(path)

    def pixels(self, place: int, layouts: tuple[FrameLayout, ...]) -> tuple[memoryview, ...]:
        """The pictures of a frame; OSError where they cannot be read."""
        start, found = HEAD_BYTES + place * self._place_bytes + PIXELS_AT, []
        for layout in layouts:
            data = os.pread(self._descriptor, layout.nbytes, start)
            if len(data) < layout.nbytes:
                raise OSError("the spool ends early")
            found.append(memoryview(data))
            start += layout.nbytes
        return tuple(found)
