"""Memory shared with the daemon of this host, in which frames lie until they are encoded: see `offcam_proto.arena`."""

from __future__ import annotations

import fcntl
import os
import secrets
import sys
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from offcam_proto.arena import ENTRIES_AT, ENTRY, FREE, SLOTS_AT, STATES_AT, TOKEN_AT, WRITTEN, shape_of
from offcam_proto.host import mapped
from offcam_proto.limits import MIB
from offcam_proto.validation import ID_BYTES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from offcam_proto.client_stream import ClientStream
    from offcam_proto.layout import FrameLayout

ARENA_BYTES = 16 * MIB
"""Most memory of one stream's arena. Only slots that are used take any, and the lowest free one is used next."""

ARENA_SLOTS = 32
"""Most frames in it: enough for a daemon that is behind for a moment. More than that go through the socket."""

_FREE = bytes([FREE])

POSSIBLE = sys.platform == "linux" and hasattr(os, "memfd_create") and hasattr(fcntl, "F_ADD_SEALS")
"""Whether there are anonymous files that cannot be cut short under the daemon. A Python may know less than its system:
one that was built for an old C library does not have them."""


class Picture(NamedTuple):
    """One frame, ready to be copied out; `offcam.recorder.frames.picture` makes one of what an env renders.

    Attributes:
        layout: where the frame's pixels lie in ``dense``.
        dense: a C-contiguous uint8 view of (usually) the env's own memory. Valid until the env renders again.
    """

    layout: FrameLayout
    dense: NDArray[np.uint8]


class Arena:
    """The arena of one stream at one daemon: so many slots of so many bytes. OSError where there is no such memory.

    Whoever holds the connection's lock may use it.
    """

    def __init__(self, slot_bytes: int, slots: int) -> None:
        size = SLOTS_AT + slots * slot_bytes
        self.slot_bytes = slot_bytes
        self.slots = slots
        self.token = secrets.token_bytes(ID_BYTES)
        self.descriptor = os.memfd_create("offcam", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(self.descriptor, size)
            # The daemon takes no arena that could shrink: reading what is gone would kill it.
            fcntl.fcntl(self.descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
            self._memory = mapped(self.descriptor, size)
        except BaseException:
            self.release_descriptor()
            raise
        self._memory[TOKEN_AT : TOKEN_AT + ID_BYTES] = self.token
        self._bytes: NDArray[np.uint8] = np.frombuffer(self._memory, np.uint8)

    def release_descriptor(self) -> None:
        """Close the descriptor, of no use once the daemon has opened the memory, which lives until both let go."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def put(self, clip: int, index: int, pictures: tuple[Picture, ...]) -> int | None:
        """Copy a frame that is not too large into a free slot, and return that; None where there is none."""
        place = self._memory.find(_FREE, STATES_AT, STATES_AT + self.slots)
        if place < 0:
            return None
        slot = place - STATES_AT
        start = SLOTS_AT + slot * self.slot_bytes
        for picture in pictures:
            end = start + picture.layout.nbytes
            np.copyto(self._bytes[start:end], picture.dense.reshape(-1))
            start = end
        ENTRY.pack_into(self._memory, ENTRIES_AT + slot * ENTRY.size, clip, index)
        self._memory[place] = WRITTEN  # last: from now on the daemon finds it, should this process be killed
        return slot


class StreamArenas:
    """The arenas of a process's streams: made when a first frame shows how large they must be."""

    def __init__(self, *, local: bool) -> None:
        self._possible = local and POSSIBLE
        self._arenas: dict[int, tuple[int, Arena]] = {}

    def put(self, wire: ClientStream, clip: int, index: int, pictures: tuple[Picture, ...], cost: int) -> int | None:
        """Copy a frame of ``cost`` bytes into a slot of its live stream's arena, and return the slot.

        None where the frame has to go through the socket: there is no arena (yet), or no free slot.
        """
        if not self._possible:
            return None
        epoch, arena = self._arenas.get(wire.info.handle, (0, None))
        if arena is None or epoch != wire.epoch or cost > arena.slot_bytes:
            self._offer(wire, cost)
            return None
        if wire.arena is None:
            return None
        arena.release_descriptor()
        return arena.put(clip, index, pictures) if wire.arena else None

    def close(self, wire: ClientStream) -> None:
        """The stream is over. What the daemon has yet to encode stays where it is for it."""
        _, arena = self._arenas.pop(wire.info.handle, (0, None))
        if arena is not None:
            arena.release_descriptor()

    def _offer(self, wire: ClientStream, cost: int) -> None:
        shape = shape_of(cost, ARENA_BYTES, ARENA_SLOTS)
        if shape is None:
            return
        try:
            arena = Arena(*shape)
        except OSError:  # no such memory here, in a sandbox perhaps
            self._possible = False
            return
        self.close(wire)
        self._arenas[wire.info.handle] = wire.epoch, arena
        wire.offer_arena(arena.descriptor, arena.token, arena.slot_bytes, arena.slots)
