"""Memory that a client shares with a daemon of its host, so that frames need not go through the socket.

An arena is a file in memory that the client makes: a header, then slots of one size, each for one frame. The client
writes a frame into a free slot, marks the slot written and names it in a `SlotFrames`. The daemon marks the slot taken.
Once the frame is in its video the slot is free again; or, where the daemon gives the slot's memory back to the system,
it is done, and then empty. Frames in slots cost credit as all frames do.

The client holds frames back for a moment, to name several at once. What it has written and not named when it dies,
the daemon finds by itself. What is written or taken when the daemon dies, the client names to the
next one. When both die, the next daemon finds the file by its name, if it has one (`offcam_proto.host.arena_path`): it
says all that has to be known of the frames in it. Without one (``memfd_create``) it is gone with them.

::

    0        token, 16 bytes: how the daemon knows that it opened the client's arena and nobody else's
    16       size of a slot and number of slots, as little-endian 32-bit integers
    64       one byte a slot: 0 free, 1 written, 2 taken, 3 done, 4 empty
    2048     16 bytes a slot: clip and index of the frame in it, as little-endian 64-bit integers
    18432    whose it is: see `offcam_proto.left_frames.pack_owner`
    19968    what its daemon says: a 16-bit length, its endpoint, a zero, and the folder of what it moves to disk, see
             `offcam_proto.spool_file`
    20480    the slots, one after the other
    behind   1024 bytes a slot: what frame is in it, see `offcam_proto.left_frames.pack_head`
"""

from __future__ import annotations

import struct

TOKEN_AT = 0
SHAPE_AT = 16
STATES_AT = 64
ENTRIES_AT = 2048
OWNER_AT = 18432
DAEMON_AT = 19968
SLOTS_AT = 20480
"""Where the parts of an arena begin, in bytes."""

HEAD_BYTES = 1024
"""Bytes, for each slot, of what says which frame is in it."""

FREE, WRITTEN, TAKEN, DONE, EMPTY = 0, 1, 2, 3, 4
"""What a slot's byte says. An empty one is free, and has no memory before its client allocates that anew."""

SPOOL_EXTENSION = ".spool"
"""How the names of files end to which daemons move frames: see `offcam_proto.spool_file`."""

SHAPE = struct.Struct("<II")

ENTRY = struct.Struct("<QQ")
"""Clip and index of the frame in a slot. They and the pixels are complete once the slot is marked written."""

_PAGE_BYTES = 4096
_FEWEST_SLOTS = 2


def heads_at(slot_bytes: int, slots: int) -> int:
    """Offset of the first of the entries that say which frames are in the slots."""
    return SLOTS_AT + slots * slot_bytes


def arena_bytes(slot_bytes: int, slots: int) -> int:
    """Size of the file."""
    return heads_at(slot_bytes, slots) + slots * HEAD_BYTES


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
