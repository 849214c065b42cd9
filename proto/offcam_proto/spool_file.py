"""The file to which a daemon moves frames of a client's arena for which it has no room in memory.

It has no name. The daemon makes it, and tells its descriptor with its answer to the arena; the client opens it too, so
that it outlives the daemon with the frames in it that no video has: those the client sends to the next one.

::

    0                             the arena's token
    512 + n * (512 + slot_bytes)  place n: the length of what follows, as a little-endian 32-bit integer, 0 where it is
                                  free; the frame as a `SlotFrames` of one frame would name it; at 512, its pixels
"""

from __future__ import annotations

import struct

TOKEN_AT = 0
HEAD_BYTES = 512
"""What goes before the first place, and in each place before the pixels."""

LENGTH = struct.Struct("<I")
"""Is written last, once the rest of its place is there, and set to 0 once the frame is in its video."""


def place_bytes(slot_bytes: int) -> int:
    """Size of a place for frames of an arena with slots of a size."""
    return HEAD_BYTES + slot_bytes
