"""Memory that is shared with this host's daemon, and has frames until they are encoded: see `offcam_proto.arena`."""

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
    from collections.abc import Container, Iterable, Iterator

    from numpy.typing import NDArray

    from offcam_proto.client_stream import ClientStream
    from offcam_proto.layout import FrameLayout
    from offcam_proto.messages import Hello, OpenClip

ARENA_BYTES = 64 * MIB
"""Size of one stream's arena in bytes: as much as the most credit it can get, so that frames lie there and not in a
daemon that may be killed. Only slots in use take memory, and the lowest free slot is used next."""

LARGE_FRAME_BYTES = 2 * MIB
"""Frames larger than this have an arena of `LARGE_FRAMES_BYTES`. What does not fit goes through the socket, and so
reaches the daemon's disk sooner: a slow encoder frees its slots late."""

LARGE_FRAMES_BYTES = 16 * MIB

ARENA_SLOTS = MAX_ARENA_SLOTS
"""Most slots of an arena. More frames than that go through the socket."""

MOST_DESCRIPTORS = 256
"""Most arenas whose descriptors a process keeps, to offer them to later daemons, too; any further arena is for one
daemon alone."""

MOST_SPOOLS = 128
"""Most arenas for which the file is kept open in which a daemon has frames on disk."""

_FREE, _DONE, _EMPTY = bytes([FREE]), bytes([DONE]), bytes([EMPTY])

POSSIBLE = sys.platform == "linux" and hasattr(os, "memfd_create") and hasattr(fcntl, "F_ADD_SEALS")
"""Whether this Python can make anonymous files that cannot be truncated while the daemon reads them. One that was built
for an old C library cannot, even on a system that has them."""


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
    """A frame in a slot, or one that a dead daemon had moved to disk.

    Attributes:
        clip: number of its clip.
        index: its number in the clip.
        layouts: of its pictures, which lie one behind the other.
        slot: the slot; of a frame on disk its place there.
        spool: the file that a frame on disk lies in; else None.
        opening: how its clip is opened, where the frame must be found even if client and daemon are dead.
    """

    clip: int
    index: int
    layouts: tuple[FrameLayout, ...]
    slot: int
    spool: Spool | None = None
    opening: OpenClip | None = None

    @property
    def nbytes(self) -> int:
        """What the frame costs in credit, in bytes."""
        return sum([layout.nbytes for layout in self.layouts])


class Arena:
    """The arena of one stream. OSError where no such memory can be had.

    The connection's lock must be held. Memory is allocated before it is written: where there is none, allocating fails,
    while writing would kill the process.

    Args:
        slot_bytes: size of a slot, in whole pages.
        slots: how many.
        owner: how its stream is opened and by whom; with that it gets a name, if possible, by which it is found when
            client and daemon are dead.

    Attributes:
        daemon: instance and process id of the daemon that it was offered to last.
        bound: most bytes of frames that may lie in it without a daemon: as many as the last daemon gave credit for.
        credit: bytes of credit that were left when a frame was last put into it.
        spool: the file to which its daemon moves frames that it has no memory for; None where that cannot be opened.
        lasting: whether it can be offered to further daemons.
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
        self._spooled: dict[tuple[Spool | None, int], Lying] = {}  # by file and place, frames that dead daemons moved
        self._frame_bytes = 0
        # for each slot's last frame: how its clip is opened, its layouts, and both packed as they lie in the arena
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
            except OSError:  # no arena with a name is possible here: make one without
                self._named = False
        descriptor = os.memfd_create("offcam", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(descriptor, size)
            # Without a name, the daemon only takes a file that cannot shrink: to read a part that is gone would kill
            # it.
            fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def leave(self) -> None:
        """Nothing more comes. Frames that a daemon has yet to encode stay for it, or for the next one should it die."""
        if self._named and self.descriptor >= 0 and next(self.left(), None) is None:
            remove_arena(self.descriptor, self.token)
        self.release_descriptor()

    def left(self) -> Iterator[tuple[int, int]]:
        """Clip and index of each frame that its daemon has yet to encode: those in the arena, then those on disk.

        One that is just being moved to disk may be in both.
        """
        with contextlib.suppress(OSError, AttributeError):  # AttributeError: the memory could not be mapped
            yield from [(frame.clip, frame.index) for frame in self.lying()]
            for _, named in self.spool.frames() if self.spool is not None else ():
                yield named.clip, named.frames[0][0]

    def release_descriptor(self) -> None:
        """Close the descriptor: no further daemon can open the memory, which lives until all have let go of it."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def put(self, clip: int, index: int, pictures: tuple[Picture, ...], opening: OpenClip | None = None) -> int | None:
        """Copy a frame that is not too large into a free slot, and return the slot; None where none is free."""
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
        """The lowest free slot, with memory; where no more can be allocated, one that has its memory already."""
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
        """Mark a slot written, whose frame lies in it."""
        head = self._head(opening, layouts)
        if self._frames.get(slot) is not self._newest:
            start = self._head_at(slot)
            self._memory[start : start + len(head)] = head
            self._frames[slot] = self._newest
        ENTRY.pack_into(self._memory, ENTRIES_AT + slot * ENTRY.size, clip, index)
        self._memory[STATES_AT + slot] = WRITTEN  # last: from now on the frame is found, should this process be killed

    def _head(self, opening: OpenClip | None, layouts: tuple[FrameLayout, ...]) -> bytes:
        """What is to lie behind the slots of a clip's frames; packed once as long as it stays the same."""
        if self._newest[0] is not opening or self._newest[1] != layouts:
            self._newest = opening, layouts, pack_head(opening, layouts) if opening and self._named else b""
        return self._newest[2]

    def lying_in(self, slot: int) -> Lying:
        """The frame that was last put into a slot."""
        clip, index = ENTRY.unpack_from(self._memory, ENTRIES_AT + slot * ENTRY.size)
        opening, layouts, _ = self._frames[slot]
        return Lying(clip, index, layouts, slot, opening=opening)

    def lying(self, states: Iterable[int] = (WRITTEN, TAKEN)) -> list[Lying]:
        """The frames in slots with one of these states, in order of clip and index."""
        marks = self._memory[STATES_AT : STATES_AT + self.slots]
        found = [self.lying_in(slot) for slot, mark in enumerate(marks) if mark in states and slot in self._frames]
        return sorted((*found, *self._spooled.values()), key=lambda frame: (frame.clip, frame.index))

    def inherit(self) -> None:
        """Its daemon is dead: free the slots that it was about to free, and take over what it moved to disk."""
        while (place := self._memory.find(_DONE, STATES_AT, STATES_AT + self.slots)) >= 0:
            self._memory[place] = EMPTY
        spool, self.spool = self.spool, None
        if spool is None:
            return
        known = {(frame.clip, frame.index) for frame in self.lying()}  # a frame may have been on its way to disk
        with contextlib.suppress(OSError):
            for place, named in spool.frames():
                frame = Lying(clip=named.clip, index=named.frames[0][0], layouts=named.layouts, slot=place, spool=spool)
                if (frame.clip, frame.index) not in known and frame.nbytes <= self.slot_bytes:
                    self._spooled[spool, place] = frame
                    spool.waiting += 1
        if not spool.waiting:
            spool.remove()

    def fits(self, cost: int) -> bool:
        """Whether there is room for a frame of ``cost`` bytes while no daemon gives credit for it."""
        return cost <= self.slot_bytes and self.used + cost <= self.bound

    @property
    def used(self) -> int:
        """About how many bytes of frames lie in it: the slots in use, each counted with the size of the last frame."""
        marks = self._memory[STATES_AT : STATES_AT + self.slots]
        slots = self.slots - marks.count(_FREE) - marks.count(_EMPTY)
        return slots * self._frame_bytes

    def rename(self, frame: Lying) -> None:
        """Move a frame that lies in it to another clip."""
        if frame.spool is not None:
            self._spooled[frame.spool, frame.slot] = frame
            head = self._head(frame.opening, frame.layouts)
            frame.spool.rename(frame.slot, frame.clip, frame.index, frame.layouts, head)
            return
        self._say(frame.slot, frame.clip, frame.index, frame.opening, frame.layouts)

    def pixels(self, frame: Lying) -> tuple[memoryview, ...]:
        """A frame's pictures, for the socket. OSError where they cannot be read from disk."""
        if frame.spool is not None:
            return frame.spool.pixels(frame.slot, frame.layouts)
        found, start = [], SLOTS_AT + frame.slot * self.slot_bytes
        for layout in frame.layouts:
            found.append(self._bytes[start : start + layout.nbytes].data)
            start += layout.nbytes
        return tuple(found)

    def fetch(self, frame: Lying) -> Lying | None:
        """Bring a frame from disk into a free slot, where it outlives the next daemon; None where no slot is free."""
        layouts = zip(frame.layouts, self.pixels(frame), strict=True)
        pictures = tuple([Picture(layout, np.frombuffer(pixels, np.uint8)) for layout, pixels in layouts])
        if self._free_slot() is None:
            return None
        self.free(frame)  # first: whatever happens now, the frame is not in two places
        slot = self.put(frame.clip, frame.index, pictures, frame.opening)
        return None if slot is None else self.lying_in(slot)

    def move_to_disk(self, frame: Lying, spool: Spool) -> bool:
        """Move a frame from its slot into the file where a dead daemon left others; returns whether it had room.

        Raises:
            OSError: the disk refuses.
        """
        slot = frame.slot
        place = spool.add(frame.clip, frame.index, frame.layouts, self._frames[slot][2], self.pixels(frame))
        if place is None:
            return False
        frame.spool, frame.slot = spool, place
        self._spooled[spool, place] = frame
        self._memory[STATES_AT + slot] = FREE  # last: the frame may be found in two places, but never in none
        return True

    def free(self, frame: Lying) -> None:
        """Free a frame's place: nobody needs it any more."""
        if frame.spool is not None:
            if self._spooled.pop((frame.spool, frame.slot), None) is not None:
                frame.spool.waiting -= 1
                frame.spool.free(frame.slot)
            if not frame.spool.waiting:
                frame.spool.remove()
        else:
            self._memory[STATES_AT + frame.slot] = FREE


class StreamArenas:
    """The arenas of a process's streams, each made when the stream's first frame shows how large it must be.

    An arena outlives the daemon that it was offered to, with the frames in it that no file has, and is offered to the
    next.
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
        """Copy a frame of ``cost`` bytes into a slot of its live stream's arena. Returns the slot's number.

        None where the frame has to go through the socket, as there is no arena (yet), or no free slot.
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
        if wire.credit > arena.credit:  # more credit came since the last frame
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
        """Copy a frame into a slot although no daemon can be told of it yet. Returns None where there is no room."""
        _, arena = self._arenas.get(wire.info.handle, (0, None))
        if arena is None or arena.descriptor < 0 or not arena.fits(cost):
            return None
        slot = arena.put(clip, index, pictures, opening)
        return None if slot is None else arena.lying_in(slot)

    def at(self, wire: ClientStream) -> Arena | None:
        """The arena of a stream that was offered to the daemon of this epoch; None where there is none."""
        epoch, arena = self._arenas.get(wire.info.handle, (0, None))
        return arena if epoch == wire.epoch else None

    def left(self, wire: ClientStream) -> bool:
        """Whether frames lie in a stream's arena, or on its daemon's disk."""
        _, arena = self._arenas.get(wire.info.handle, (0, None))
        return arena is not None and next(arena.left(), None) is not None

    def lying(self, wire: ClientStream) -> Counter[int]:
        """How many frames lie in a stream's arena and on its daemon's disk, by the number of their clip."""
        _, arena = self._arenas.get(wire.info.handle, (0, None))
        return Counter([clip for clip, _ in set(arena.left())] if arena is not None else ())

    def take_over(self, wire: ClientStream, clips: Container[int] = ()) -> list[Lying]:
        """Offer the arena that a live stream had at an earlier daemon to the current one.

        Returns the frames of these clips that no daemon has or will have, in order: if the earlier daemon is dead, all
        that lie in the arena; if it is the same one, those that it did not take before the connection broke.
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
        """The stream is over. Frames that the daemon has yet to encode stay where they are."""
        _, arena = self._arenas.pop(wire.info.handle, (0, None))
        if arena is not None:
            arena.leave()

    def open_spool(self, wire: ClientStream, arena: Arena) -> None:
        """Keep the spool of an arena's daemon open, unless too many are open already."""
        descriptor, wire.spool = wire.spool, 0
        if len(self._arenas) <= MOST_SPOOLS:
            with contextlib.suppress(OSError):  # it cannot be opened from here
                arena.spool = Spool(wire.daemon[1], descriptor, arena.token, arena.slot_bytes)

    def _offer(self, wire: ClientStream, cost: int) -> None:
        shape = shape_of(cost, ARENA_BYTES if cost <= LARGE_FRAME_BYTES else LARGE_FRAMES_BYTES, ARENA_SLOTS)
        if shape is None:
            return
        lasting = len(self._arenas) < MOST_DESCRIPTORS
        owner = pack_owner(wire.info, self._client) if self._client and lasting else b""
        try:
            arena = Arena(*shape, owner)
        except OSError:  # no such memory here, as in some sandboxes
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
