"""Reading the frames that a dead daemon of this host had moved to disk: see `offcam_proto.spool_file`."""

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
    """The spool of one stream's arena, kept open here so that it outlives the daemon that made it.

    Args:
        pid: process id of the daemon.
        descriptor: of the file, in the daemon.
        token: of the arena.
        slot_bytes: size of the arena's slots.

    Raises:
        OSError: the file cannot be opened, as in another container; or it is another file.

    Attributes:
        waiting: how many of its frames are still to be fetched.
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
        """Each frame in it: its place, and the message that would name it."""
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
        """Add a frame that lies in a slot, and return its place; None where its name does not fit.

        Args:
            clip: number of its clip.
            index: its number in the clip.
            layouts: of its pictures.
            slot_head: what the arena has of it behind the slots.
            pixels: its pictures.

        Raises:
            OSError: the disk is full or fails.
        """
        name = pack_name(clip, index, layouts)
        if not name:
            return None
        place = self._free.pop() if self._free else self._places
        start = HEAD_BYTES + place * self._place_bytes
        data = b"".join(pixels)
        try:
            # A place's old name has length 0 by now: until the new name has its length, nobody finds a frame here.
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
        """How many places the file has; the last one may be cut short."""
        return -(-max(0, os.fstat(self._descriptor).st_size - HEAD_BYTES) // self._place_bytes)

    def free(self, place: int) -> None:
        """Free a frame's place, so that whoever finds the file does not record the frame again."""
        with suppress(OSError):
            os.pwrite(self._descriptor, LENGTH.pack(0), HEAD_BYTES + place * self._place_bytes)
            self._free.append(place)

    def rename(self, place: int, clip: int, index: int, layouts: tuple[FrameLayout, ...], slot_head: bytes) -> None:
        """Move a frame to another clip, also for whoever finds the file when client and daemon are dead."""
        name = pack_name(clip, index, layouts)
        if name:
            head = name.ljust(HEAD_BYTES, b"\0") + slot_head
            with suppress(OSError):
                os.pwrite(self._descriptor, head, HEAD_BYTES + place * self._place_bytes)

    def remove(self) -> None:
        """Nothing in the file is needed any more: remove its name, if it has one, and free its space on the disk."""
        with suppress(OSError):
            path = os.readlink(f"/proc/self/fd/{self._descriptor}")
            if path.endswith(SPOOL_EXTENSION):
                os.unlink(path)

    def pixels(self, place: int, layouts: tuple[FrameLayout, ...]) -> tuple[memoryview, ...]:
        """The pictures of a frame. Raises OSError where they cannot be read."""
        start, found = HEAD_BYTES + place * self._place_bytes + PIXELS_AT, []
        for layout in layouts:
            data = os.pread(self._descriptor, layout.nbytes, start)
            if len(data) < layout.nbytes:
                raise OSError("the spool ends early")
            found.append(memoryview(data))
            start += layout.nbytes
        return tuple(found)
