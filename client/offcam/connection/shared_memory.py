"""Memory shared with the daemon of this host, in which frames lie until they are encoded: see `offcam_proto.arena`."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import sys
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from offcam.connection.spool import Spool
from offcam_proto.arena import (
    DONE,
    EMPTY,
    ENTRIES_AT,
    ENTRY,
    FREE,
    HEAD_BYTES,
    OWNER_AT,
    SHAPE,
    SHAPE_AT,
    SLOTS_AT,
    STATES_AT,
    TAKEN,
    TOKEN_AT,
    WRITTEN,
    arena_bytes,
    heads_at,
    shape_of,
)
from offcam_proto.host import ended, make_arena, mapped, remove_arena
from offcam_proto.left_frames import pack_head, pack_owner
from offcam_proto.limits import MAX_ARENA_SLOTS, MIB
from offcam_proto.validation import ID_BYTES

if TYPE_CHECKING:
    from collections.abc import Container, Iterable

    from numpy.typing import NDArray

    from offcam_proto.client_stream import ClientStream
    from offcam_proto.layout import FrameLayout
    from offcam_proto.messages import Hello, OpenClip

ARENA_BYTES = 64 * MIB
"""Size of one stream's arena: that of the most credit it gets, so that frames lie there and not in a daemon that may be
killed. Only slots that are used take memory, and the lowest free one is used next."""

LARGE_FRAME_BYTES = 2 * MIB
"""Frames that are larger have `LARGE_FRAMES_BYTES` in all. What has no room there goes through the socket, from where
it comes to the daemon's disk sooner: a slow encoder frees its slots late."""

LARGE_FRAMES_BYTES = 16 * MIB

ARENA_SLOTS = MAX_ARENA_SLOTS
"""Most frames in it. More than that go through the socket."""

MOST_DESCRIPTORS = 256
"""Arenas whose descriptors a process keeps, to offer them to the daemon after the next; those that it makes when it has
so many are for one daemon."""

MOST_SPOOLS = 128
"""Arenas of which the files are kept open in which a daemon has frames on disk."""

_FREE, _DONE, _EMPTY = bytes([FREE]), bytes([DONE]), bytes([EMPTY])

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


@dataclass(slots=True)
class Lying:
    """A frame in a slot, or one that a daemon which died had moved to disk.

    Attributes:
        clip: number of its clip.
        index: its number in that.
        layouts: of its pictures, which lie one behind the other.
        slot: the slot; its place, where it lies on disk.
        spool: the file that it lies in, where it lies on disk.
        opening: what its clip is opened with, if it is to be found when client and daemon are dead.
    """

    clip: int
    index: int
    layouts: tuple[FrameLayout, ...]
    slot: int
    spool: Spool | None = None
    opening: OpenClip | None = None

    @property
    def nbytes(self) -> int:
        """What it costs in credit."""
        return sum([layout.nbytes for layout in self.layouts])


class Arena:
    """The arena of one stream: so many slots of so many bytes. OSError where there is no such memory.

    Whoever holds the connection's lock may use it. What is written to is allocated before: where there is no memory,
    that fails, while a write would end the process.

    Args:
        slot_bytes: size of a slot, in whole pages.
        slots: how many.
        owner: whose it is; then it has a name, if it can, by which it is found when client and daemon are dead.

    Attributes:
        daemon: instance and process id of the daemon that it was offered to last.
        bound: bytes of frames that may lie in it while there is no daemon: what the last one gave credit for.
        credit: what was left of it when a frame was last put into it.
        spool: where its daemon moves frames for which it has no room in memory; None where they are not to be had.
        lasting: whether it is for other daemons, too.
    """

    def __init__(self, slot_bytes: int, slots: int, owner: bytes = b"") -> None:
        size = arena_bytes(slot_bytes, slots)
        self.slot_bytes = slot_bytes
        self.slots = slots
        self.token = secrets.token_bytes(ID_BYTES)
        self.daemon: tuple[bytes, int] = (b"", 0)
        self.bound = self.credit = 0
        self.lasting = True
        self.spool: Spool | None = None
        self._spooled: dict[tuple[Spool | None, int], Lying] = {}  # by file and place, what earlier daemons left there
        self._frame_bytes = 0
        # of the frame that was put into each slot last: how its clip is opened, its layouts, and both as they lie there
        self._frames: dict[int, tuple[OpenClip | None, tuple[FrameLayout, ...], bytes]] = {}
        self._newest: tuple[OpenClip | None, tuple[FrameLayout, ...], bytes] = (None, (), b"")
        self._allocated: set[int] = set()
        self._full = False
        self._named = bool(owner)
        self.descriptor = self._make(size)
        try:
            os.posix_fallocate(self.descriptor, 0, SLOTS_AT)
            self._memory = mapped(self.descriptor, size)
        except BaseException:
            self.leave()
            raise
        self._memory[TOKEN_AT : TOKEN_AT + ID_BYTES] = self.token
        SHAPE.pack_into(self._memory, SHAPE_AT, slot_bytes, slots)
        self._memory[OWNER_AT : OWNER_AT + len(owner)] = owner
        self._bytes: NDArray[np.uint8] = np.frombuffer(self._memory, np.uint8)

    def _make(self, size: int) -> int:
        if self._named:
            try:
                return make_arena(self.token, size)
            except OSError:  # without a name, then
                self._named = False
        descriptor = os.memfd_create("offcam", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(descriptor, size)
            # The daemon takes none without a name that could shrink: reading what is gone would kill it.
            fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def leave(self) -> None:
        """Nothing more comes: what a daemon has yet to encode stays for it, or for the next one should it die."""
        if self._named and self.descriptor >= 0 and not self._left:
            remove_arena(self.descriptor, self.token)
        self.release_descriptor()

    @property
    def _left(self) -> bool:
        """Whether frames are left in it, or on a disk."""
        with contextlib.suppress(OSError, AttributeError):
            return bool(self.lying()) or (self.spool is not None and any(self.spool.frames()))
        return False

    def release_descriptor(self) -> None:
        """Close the descriptor: no other daemon can open the memory, which lives until all let go."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def put(self, clip: int, index: int, pictures: tuple[Picture, ...], opening: OpenClip | None = None) -> int | None:
        """Copy a frame that is not too large into a free slot, and return that; None where there is none."""
        slot = self._free_slot()
        if slot is None:
            return None
        start = SLOTS_AT + slot * self.slot_bytes
        for picture in pictures:
            end = start + picture.layout.nbytes
            self._bytes[start:end] = picture.dense.reshape(-1)
            start = end
        self._frame_bytes = start - SLOTS_AT - slot * self.slot_bytes
        self._say(slot, clip, index, opening, tuple([picture.layout for picture in pictures]))
        return slot

    def _free_slot(self) -> int | None:
        """The lowest free slot, allocated; one that has its memory already where there is no more of that."""
        end = STATES_AT + self.slots
        place = self._memory.find(_FREE, STATES_AT, end)
        while place >= 0 and self._full and place - STATES_AT not in self._allocated:
            place = self._memory.find(_FREE, place + 1, end)
        if place < 0 and not self._full:
            place = self._memory.find(_EMPTY, STATES_AT, end)
            self._allocated.discard(place - STATES_AT)
        if place < 0:
            return None
        slot = place - STATES_AT
        if slot not in self._allocated and self.descriptor >= 0:
            try:
                os.posix_fallocate(self.descriptor, SLOTS_AT + slot * self.slot_bytes, self.slot_bytes)
                if self._named:
                    os.posix_fallocate(self.descriptor, self._head_at(slot), HEAD_BYTES)
            except OSError:
                self._full = True
                return self._free_slot()
            self._allocated.add(slot)
        return slot

    def _head_at(self, slot: int) -> int:
        return heads_at(self.slot_bytes, self.slots) + slot * HEAD_BYTES

    def _say(
        self, slot: int, clip: int, index: int, opening: OpenClip | None, layouts: tuple[FrameLayout, ...]
    ) -> None:
        """Mark a slot written with a frame that lies there."""
        head = self._head(opening, layouts)
        if self._frames.get(slot) is not self._newest:
            start = self._head_at(slot)
            self._memory[start : start + len(head)] = head
            self._frames[slot] = self._newest
        ENTRY.pack_into(self._memory, ENTRIES_AT + slot * ENTRY.size, clip, index)
        self._memory[STATES_AT + slot] = WRITTEN  # last: from now on it is found, should this process be killed

    def _head(self, opening: OpenClip | None, layouts: tuple[FrameLayout, ...]) -> bytes:
        """What is to lie behind the slots of a frame; packed once for those of one clip."""
        if self._newest[0] is not opening or self._newest[1] != layouts:
            self._newest = opening, layouts, pack_head(opening, layouts) if opening and self._named else b""
        return self._newest[2]

    def lying_in(self, slot: int) -> Lying:
        """The frame that was put into a slot last."""
        clip, index = ENTRY.unpack_from(self._memory, ENTRIES_AT + slot * ENTRY.size)
        opening, layouts, _ = self._frames[slot]
        return Lying(clip, index, layouts, slot, opening=opening)

    def lying(self, states: Iterable[int] = (WRITTEN, TAKEN)) -> list[Lying]:
        """The frames in slots of these states, in order."""
        marks = self._memory[STATES_AT : STATES_AT + self.slots]
        found = [self.lying_in(slot) for slot, mark in enumerate(marks) if mark in states and slot in self._frames]
        return sorted((*found, *self._spooled.values()), key=lambda frame: (frame.clip, frame.index))

    def inherit(self) -> None:
        """Its daemon is dead: free what that was about to free, and have what it has moved to disk lie here."""
        while (place := self._memory.find(_DONE, STATES_AT, STATES_AT + self.slots)) >= 0:
            self._memory[place] = EMPTY
        spool, self.spool = self.spool, None
        if spool is None:
            return
        known = {(frame.clip, frame.index) for frame in self.lying()}  # one may have been on its way to disk
        with contextlib.suppress(OSError):
            for place, named in spool.frames():
                frame = Lying(clip=named.clip, index=named.frames[0][0], layouts=named.layouts, slot=place, spool=spool)
                if (frame.clip, frame.index) not in known and frame.nbytes <= self.slot_bytes:
                    self._spooled[spool, place] = frame
                    spool.waiting += 1
        if not spool.waiting:
            spool.remove()

    def fits(self, cost: int) -> bool:
        """Whether a frame may be put into it while no daemon gives credit for it."""
        return cost <= self.slot_bytes and self.used + cost <= self.bound

    @property
    def used(self) -> int:
        """Bytes of the frames in it, about: of as many as there are slots in use, each as large as the last one."""
        marks = self._memory[STATES_AT : STATES_AT + self.slots]
        slots = self.slots - marks.count(_FREE) - marks.count(_EMPTY)
        return slots * self._frame_bytes

    def rename(self, frame: Lying) -> None:
        """A frame that lies in it becomes one of another clip."""
        if frame.spool is not None:
            self._spooled[frame.spool, frame.slot] = frame
            head = self._head(frame.opening, frame.layouts)
            frame.spool.rename(frame.slot, frame.clip, frame.index, frame.layouts, head)
            return
        self._say(frame.slot, frame.clip, frame.index, frame.opening, frame.layouts)

    def pixels(self, frame: Lying) -> tuple[memoryview, ...]:
        """Its pictures, for the socket. OSError where they cannot be read from disk."""
        if frame.spool is not None:
            return frame.spool.pixels(frame.slot, frame.layouts)
        found, start = [], SLOTS_AT + frame.slot * self.slot_bytes
        for layout in frame.layouts:
            found.append(self._bytes[start : start + layout.nbytes].data)
            start += layout.nbytes
        return tuple(found)

    def fetch(self, frame: Lying) -> Lying | None:
        """Bring a frame from disk into a free slot, where it outlives the next daemon; None where there is none."""
        layouts = zip(frame.layouts, self.pixels(frame), strict=True)
        pictures = tuple([Picture(layout, np.frombuffer(pixels, np.uint8)) for layout, pixels in layouts])
        if self._free_slot() is None:
            return None
        self.free(frame)  # first: whatever happens now, it is not in two places
        slot = self.put(frame.clip, frame.index, pictures, frame.opening)
        return None if slot is None else self.lying_in(slot)

    def move_to_disk(self, frame: Lying, spool: Spool) -> bool:
        """Move a frame from its slot to where a dead daemon left others, so that the slot is free; whether it could be.

        Raises OSError where the disk refuses.
        """
        slot = frame.slot
        place = spool.add(frame.clip, frame.index, frame.layouts, self._frames[slot][2], self.pixels(frame))
        if place is None:
            return False
        frame.spool, frame.slot = spool, place
        self._spooled[spool, place] = frame
        self._memory[STATES_AT + slot] = FREE  # last: it may be found in two places, never in none
        return True

    def free(self, frame: Lying) -> None:
        """Nobody needs a frame any more."""
        if frame.spool is not None:
            if self._spooled.pop((frame.spool, frame.slot), None) is not None:
                frame.spool.waiting -= 1
                frame.spool.free(frame.slot)
            if not frame.spool.waiting:
                frame.spool.remove()
        else:
            self._memory[STATES_AT + frame.slot] = FREE


class StreamArenas:
    """The arenas of a process's streams: made when a first frame shows how large they must be.

    One outlives the daemon that it was offered to, with the frames in it that no file has, and is offered to the next.
    """

    def __init__(self, *, local: bool, client: Hello | None = None) -> None:
        self._possible = local and POSSIBLE
        self._client = client
        self._arenas: dict[int, tuple[int, Arena]] = {}

    def put(
        self,
        wire: ClientStream,
        clip: int,
        index: int,
        pictures: tuple[Picture, ...],
        cost: int,
        opening: OpenClip | None = None,
    ) -> int | None:
        """Copy a frame of ``cost`` bytes into a slot of its live stream's arena, and return the slot.

        None where the frame has to go through the socket: there is no arena (yet), or no free slot.
        """
        if not self._possible:
            return None
        epoch, arena = self._arenas.get(wire.info.handle, (0, None))
        if arena is not None and epoch != wire.epoch:
            self.take_over(wire)
            if self.at(wire) is not None:
                return None
            arena = None
        if arena is None or cost > arena.slot_bytes:
            self._offer(wire, cost)
            return None
        if wire.arena is None:
            return None
        if not wire.arena:
            arena.leave()
            return None
        if not arena.lasting:
            arena.release_descriptor()
        if wire.spool:
            self.open_spool(wire, arena)
        if wire.credit > arena.credit:  # there is more of it since the last frame
            arena.bound = max(arena.bound, wire.credit + arena.used)
        arena.credit = wire.credit
        return arena.put(clip, index, pictures, opening)

    def keep(
        self,
        wire: ClientStream,
        clip: int,
        index: int,
        pictures: tuple[Picture, ...],
        cost: int,
        opening: OpenClip | None = None,
    ) -> Lying | None:
        """Copy a frame into a slot that no daemon can be told of yet, or return None where there is no room for it."""
        _, arena = self._arenas.get(wire.info.handle, (0, None))
        if arena is None or arena.descriptor < 0 or not arena.fits(cost):
            return None
        slot = arena.put(clip, index, pictures, opening)
        return None if slot is None else arena.lying_in(slot)

    def at(self, wire: ClientStream) -> Arena | None:
        """The arena that the daemon of this epoch was offered for a stream."""
        epoch, arena = self._arenas.get(wire.info.handle, (0, None))
        return arena if epoch == wire.epoch else None

    def left(self, wire: ClientStream) -> bool:
        """Whether frames lie in a stream's arena."""
        return bool(self.lying(wire))

    def lying(self, wire: ClientStream) -> Counter[int]:
        """How many frames lie in a stream's arena, by the number of their clip."""
        _, arena = self._arenas.get(wire.info.handle, (0, None))
        return Counter([frame.clip for frame in arena.lying()] if arena is not None else ())

    def take_over(self, wire: ClientStream, clips: Container[int] = ()) -> list[Lying]:
        """Offer the arena that a live stream had at an earlier daemon to this one.

        Returns the frames of these clips in it that no daemon has or will have, in order. Where the earlier one is
        dead, those are all that are there; where it is the same, those that it did not take when the connection broke.
        """
        epoch, arena = self._arenas.get(wire.info.handle, (0, None))
        if arena is None or epoch == wire.epoch:
            return []
        same = arena.daemon[0] == wire.daemon[0]
        if arena.descriptor < 0 or not (same or ended(arena.daemon[1])):
            self.close(wire)
            return []
        if not same:
            arena.inherit()
        left = arena.lying((WRITTEN,) if same else (WRITTEN, TAKEN))
        self._lend(wire, arena)
        for frame in left:
            if frame.clip not in clips:
                arena.free(frame)
        return [frame for frame in left if frame.clip in clips]

    def close(self, wire: ClientStream) -> None:
        """The stream is over. What the daemon has yet to encode stays where it is for it."""
        _, arena = self._arenas.pop(wire.info.handle, (0, None))
        if arena is not None:
            arena.leave()

    def open_spool(self, wire: ClientStream, arena: Arena) -> None:
        """Keep the spool of its daemon open, where so many files may be."""
        descriptor, wire.spool = wire.spool, 0
        if len(self._arenas) <= MOST_SPOOLS:
            with contextlib.suppress(OSError):  # it is not to be had from here
                arena.spool = Spool(wire.daemon[1], descriptor, arena.token, arena.slot_bytes)

    def _offer(self, wire: ClientStream, cost: int) -> None:
        shape = shape_of(cost, ARENA_BYTES if cost <= LARGE_FRAME_BYTES else LARGE_FRAMES_BYTES, ARENA_SLOTS)
        if shape is None:
            return
        lasting = len(self._arenas) < MOST_DESCRIPTORS
        owner = pack_owner(wire.info, self._client) if self._client and lasting else b""
        try:
            arena = Arena(*shape, owner)
        except OSError:  # no such memory here, in a sandbox perhaps
            self._possible = False
            return
        self.close(wire)
        arena.lasting = lasting
        self._lend(wire, arena)

    def _lend(self, wire: ClientStream, arena: Arena) -> None:
        arena.daemon = wire.daemon
        arena.bound = max(arena.bound, wire.credit + arena.used)
        arena.spool = None
        self._arenas[wire.info.handle] = wire.epoch, arena
        wire.offer_arena(arena.descriptor, arena.token, arena.slot_bytes, arena.slots)
