"""The daemon's end of a client's shared memory: see `offcam_proto.arena`."""

from __future__ import annotations

import fcntl
import mmap
import os
import stat
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from offcam_proto.arena import (
    DAEMON_AT,
    DONE,
    EMPTY,
    ENTRIES_AT,
    ENTRY,
    FREE,
    HEAD_BYTES,
    SLOTS_AT,
    STATES_AT,
    TAKEN,
    TOKEN_AT,
    WRITTEN,
    heads_at,
)
from offcam_proto.errors import OffcamError
from offcam_proto.host import abandoned_arena, arena_path, mapped, packed_daemon, remove_arena
from offcam_proto.limits import MIB
from offcam_proto.validation import ID_BYTES
from offcamd.encode.frame import FramePlace, SharedFile

if TYPE_CHECKING:
    from offcam_proto.layout import FrameLayout
    from offcam_proto.messages import OpenArena
    from offcamd.daemon.spool_file import SpoolFile
    from offcamd.encode.frame import Moved, Part


KEPT_BYTES = 64 * MIB
"""Bytes of an arena's first slots that stay in memory while they are free. Others take memory only while in use."""


_DONE = bytes([DONE])  # not free: that is for the daemon to say, which gives its memory back


class ArenaUnusable(OffcamError):
    """A client's shared memory cannot be used; its frames come through the socket."""


class Arena:
    """A client's arena, mapped. It lives as long as a buffer of it is held, whatever becomes of the client.

    Args:
        pid: the client's process id, as it stated it.
        offer: its message.
        room: bytes of the arena that may stay in memory while its slots are free.

    Attributes:
        nbytes: bytes that do.
        name: its name, if it has one.
        spool: the file for frames that have no room in memory; None if they go to the encoder's spool.

    Raises:
        ArenaUnusable: it is not there, as in another container or system; or it is not what it has to be.
    """

    def __init__(self, pid: int, offer: OpenArena, room: int = KEPT_BYTES) -> None:
        try:
            # does not block if the descriptor is of something else, a pipe for example
            descriptor = os.open(
                f"/proc/{pid}/fd/{offer.descriptor}", os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
            )
            weakref.finalize(self, os.close, descriptor)
            self.name = _check(descriptor, offer)
            self._memory = mapped(descriptor, offer.nbytes)
        except (OSError, ValueError) as error:
            raise ArenaUnusable(f"the shared memory of process {pid} cannot be opened: {error}") from error
        if self._memory[TOKEN_AT : TOKEN_AT + ID_BYTES] != offer.token:
            raise ArenaUnusable(f"descriptor {offer.descriptor} of process {pid} is not the client's")
        self._slot_bytes = offer.slot_bytes
        self._slots = offer.slots
        self._kept = min(max(min(room, KEPT_BYTES) - SLOTS_AT, 0) // offer.slot_bytes, offer.slots)
        if self._kept < self._slots and (SLOTS_AT % mmap.PAGESIZE or offer.slot_bytes % mmap.PAGESIZE):
            raise ArenaUnusable("its slots are no whole pages, which could be given back while they are free")
        self._view = memoryview(self._memory)
        self._descriptor = descriptor
        self._file = SharedFile(descriptor, mapped=True)
        self._allocated: set[int] = set()
        self._heads_at = heads_at(offer.slot_bytes, offer.slots)
        self.spool: SpoolFile | None = None
        self.nbytes = SLOTS_AT + self._kept * offer.slot_bytes

    def take(self, slot: int, layouts: tuple[FrameLayout, ...]) -> list[Part]:
        """The buffers of a frame in a slot, not copied, with their layouts. They are the client's again after `free`.

        Empty if there is no memory for the slot.
        """
        self._memory[STATES_AT + slot] = TAKEN
        found: list[Part] = []
        start = SLOTS_AT + slot * self._slot_bytes
        if self.name is not None and slot not in self._allocated:
            try:  # to read what the client did not allocate, or cut off, would be a SIGBUS
                os.posix_fallocate(self._descriptor, start, self._slot_bytes)
            except OSError:
                return []
            self._allocated.add(slot)
        for layout in layouts:
            found.append((self._view[start : start + layout.nbytes], layout))
            start += layout.nbytes
        return found

    def place(self, slot: int, layouts: tuple[FrameLayout, ...]) -> FramePlace:
        """Where a frame that was taken lies for other processes."""
        pixels_at = SLOTS_AT + slot * self._slot_bytes
        return FramePlace(self._file, pixels_at, layouts, mark_at=STATES_AT + slot, mark=_DONE)

    def move(self, slot: int, clip: int, index: int, layouts: tuple[FrameLayout, ...]) -> Moved | None:
        """Copy a frame that was taken to the file ``spool``, which outlives this process. From any thread.

        Returns None if there is no room. Raises OSError if the disk refuses.
        """
        start = SLOTS_AT + slot * self._slot_bytes
        pixels = self._view[start : start + sum([layout.nbytes for layout in layouts])]
        if self.spool is None:
            return None
        head = b"" if self.name is None else os.pread(self._descriptor, HEAD_BYTES, self._heads_at + slot * HEAD_BYTES)
        return self.spool.move(clip, index, layouts, pixels, head)

    def say(self, endpoint: str, folder: str) -> None:
        """Write into it which daemon has it and where its frames on disk are, for recovery after both have died."""
        data = packed_daemon(endpoint, folder)
        self._memory[DAEMON_AT : DAEMON_AT + len(data)] = data

    def unnamed(self) -> list[tuple[int, int, int]]:
        """Clip, index and slot of the frames that the client has written and sent no message for, in order."""
        return sorted(
            (*ENTRY.unpack_from(self._memory, ENTRIES_AT + slot * ENTRY.size), slot)
            for slot in range(self._slots)
            if self._memory[STATES_AT + slot] == WRITTEN
        )

    def free(self, slot: int) -> None:
        """Let the client use a slot again. From any thread."""
        if slot >= self._kept:
            self._memory[STATES_AT + slot] = DONE  # a daemon killed after this line leaves nothing like a frame
            self._allocated.discard(slot)
            self._memory.madvise(mmap.MADV_REMOVE, SLOTS_AT + slot * self._slot_bytes, self._slot_bytes)
        self._memory[STATES_AT + slot] = FREE if slot < self._kept else EMPTY


class ArenaName(NamedTuple):
    """The name of an arena, by which it is found when client and daemon are dead.

    Attributes:
        token: the arena's id, which is in its head, too.
        file: device and inode of the file when it was opened.
    """

    token: bytes
    file: tuple[int, int]

    def remove(self) -> None:
        """Remove the file, in which no frame is left, if its client is gone."""
        descriptor = abandoned_arena(arena_path(self.token))
        if descriptor is not None:
            status = os.fstat(descriptor)
            if (status.st_dev, status.st_ino) == self.file:
                remove_arena(descriptor, self.token)
            os.close(descriptor)


def _check(descriptor: int, offer: OpenArena) -> ArenaName | None:
    """Raise ArenaUnusable unless it is our user's memory that cannot shrink: to read what was cut off is a SIGBUS.

    One with a name, which is returned, can be cut short, but only by this user, who may kill the daemon as well.
    """
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_size != offer.nbytes or status.st_uid != os.geteuid():
        raise ArenaUnusable(f"it is no file of our user's with {offer.nbytes} bytes")
    with suppress(OSError):
        if os.path.samestat(os.lstat(arena_path(offer.token)), status):
            return ArenaName(offer.token, (status.st_dev, status.st_ino))
    if not hasattr(fcntl, "F_GET_SEALS"):  # a Python that was built for an old C library
        raise ArenaUnusable("this Python cannot tell whether it is sealed against shrinking")
    if not fcntl.fcntl(descriptor, fcntl.F_GET_SEALS) & fcntl.F_SEAL_SHRINK:
        raise ArenaUnusable("it is not sealed against shrinking")
    return None
