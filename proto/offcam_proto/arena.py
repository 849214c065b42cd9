"""Memory that a client shares with a daemon of its host, so that frames need not go through the socket.

An arena is an anonymous file (``memfd_create``) of the client's: a header, then slots of one size, each for one
frame. The client writes a frame into a free slot, marks it written and names it in a `SlotFrames`; the daemon marks
it taken, done once the frame is in its video, and free when it has given back its memory, if it does. Frames in slots
cost credit as all frames do.

The client holds frames back for a moment, to name several at once. What it has written and not named when it dies,
the daemon finds by itself. What is written or taken when the daemon dies, the client names to the
next one.

::

    0        token, 16 bytes: how the daemon knows that it opened the client's arena and nobody else's
    64       one byte a slot: 0 free, 1 written, 2 taken, 3 done
    2048     16 bytes a slot: clip and index of the frame in it, as little-endian 64-bit integers
    20480    the slots, one after the other
"""

from __future__ import annotations

import struct

TOKEN_AT = 0
STATES_AT = 64
ENTRIES_AT = 2048
SLOTS_AT = 20480
"""Where the parts of an arena begin, in bytes."""

FREE, WRITTEN, TAKEN, DONE = 0, 1, 2, 3
"""What a slot's byte says."""

ENTRY = struct.Struct("<QQ")
"""Clip and index of the frame in a slot. They and the pixels are complete once the slot is marked written."""

_PAGE_BYTES = 4096
_FEWEST_SLOTS = 2


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
