"""Memory that a client shares with a daemon of its host, so that frames need not go through the socket.

An arena is an anonymous file (``memfd_create``) of the client's: a header, then slots of one size, each for one
frame. The client writes a frame into a free slot, marks it written and names it in a `SlotFrames`; the daemon marks
it taken, and free when it has no more use for its pixels. Frames in slots cost credit as all frames do.

The client holds frames back for a moment, to name several at once. What it has written and not named when it dies,
the daemon finds by itself.

::

    0        token, 16 bytes: how the daemon knows that it opened the client's arena and nobody else's
    64       one byte a slot: 0 free, 1 written, 2 taken
    1024     16 bytes a slot: clip and index of the frame in it, as little-endian 64-bit integers
    4096     the slots, one after the other
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from offcam_proto import validation as check
from offcam_proto.errors import LimitExceeded, MalformedMessage
from offcam_proto.limits import MAX_ARENA_BYTES, MAX_ARENA_SLOTS, MAX_PIXEL_PARTS, MAX_SLOT_FRAMES

if TYPE_CHECKING:
    from offcam_proto.layout import FrameLayout

TOKEN_AT = 0
STATES_AT = 64
ENTRIES_AT = 1024
SLOTS_AT = 4096
"""Where the parts of an arena begin, in bytes."""

FREE, WRITTEN, TAKEN = 0, 1, 2
"""What a slot's byte says."""

ENTRY = struct.Struct("<QQ")
"""Clip and index of the frame in a slot. They and the pixels are complete once the slot is marked written."""

_PAGE_BYTES = 4096
_FEWEST_SLOTS = 2


@dataclass(frozen=True, slots=True)
class OpenArena:
    """Offers an arena for a stream's frames, in place of the one it had. Answered by `ArenaReply`.

    Attributes:
        handle: the stream.
        descriptor: the arena's file descriptor in the client's process. It may be closed after the answer.
        token: what the arena begins with.
        slot_bytes: size of each slot.
        slots: how many there are.
    """

    TYPE: ClassVar[int] = 11

    handle: int
    descriptor: int
    token: bytes
    slot_bytes: int
    slots: int

    def __post_init__(self) -> None:
        check.uint("handle", self.handle)
        check.uint("descriptor", self.descriptor)
        check.identifier("token", self.token)
        check.uint("slot_bytes", self.slot_bytes, MAX_ARENA_BYTES, low=1)
        check.uint("slots", self.slots, MAX_ARENA_SLOTS, low=1)
        if self.nbytes > MAX_ARENA_BYTES:
            raise LimitExceeded(f"an arena is at most {MAX_ARENA_BYTES} bytes, got {self.nbytes}")

    @property
    def nbytes(self) -> int:
        """Size of the file."""
        return SLOTS_AT + self.slots * self.slot_bytes


@dataclass(frozen=True, slots=True)
class SlotFrames:
    """Frames of one clip, in slots of their stream's arena.

    Attributes:
        handle: the stream.
        clip: the clip.
        layouts: how the pixels lie in each of a frame's buffers, which follow each other in its slot.
        frames: the index (see `Frame.index`) and the slot of each frame, in order.
    """

    TYPE: ClassVar[int] = 12

    handle: int
    clip: int
    layouts: tuple[FrameLayout, ...]
    frames: tuple[tuple[int, int], ...]

    def __post_init__(self) -> None:
        check.uint("handle", self.handle)
        check.uint("clip", self.clip)
        if not 1 <= len(self.layouts) <= MAX_PIXEL_PARTS:
            raise MalformedMessage(f"a frame has 1 to {MAX_PIXEL_PARTS} pixel buffers, got {len(self.layouts)}")
        if self.nbytes > MAX_ARENA_BYTES:
            raise LimitExceeded(f"a frame in a slot is at most {MAX_ARENA_BYTES} bytes, got {self.nbytes}")
        if not 1 <= len(self.frames) <= MAX_SLOT_FRAMES:
            raise LimitExceeded(f"1 to {MAX_SLOT_FRAMES} frames in a message, got {len(self.frames)}")
        for index, slot in self.frames:
            check.uint("index", index)
            check.uint("slot", slot, MAX_ARENA_SLOTS - 1)

    @property
    def nbytes(self) -> int:
        """Bytes of one frame: what each costs in credit."""
        return sum(layout.nbytes for layout in self.layouts)


@dataclass(frozen=True, slots=True)
class ArenaReply:
    """Answers `OpenArena`.

    Attributes:
        handle: the stream.
        usable: whether frames may come in the arena's slots; else they all come through the socket.
    """

    TYPE: ClassVar[int] = 75

    handle: int
    usable: bool

    def __post_init__(self) -> None:
        check.uint("handle", self.handle)
        check.flag("usable", self.usable)


def shape_of(frame_bytes: int, most_bytes: int, most_slots: int) -> tuple[int, int] | None:
    """The slots for frames of a size.

    Args:
        frame_bytes: of one frame.
        most_bytes: of the arena.
        most_slots: in it.

    Returns:
        Bytes of a slot, in whole pages, and how many slots; None where not even two fit.
    """
    slot_bytes = -(-frame_bytes // _PAGE_BYTES) * _PAGE_BYTES
    slots = min((most_bytes - SLOTS_AT) // slot_bytes, most_slots) if slot_bytes else 0
    return (slot_bytes, slots) if slots >= _FEWEST_SLOTS else None
