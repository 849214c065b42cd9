"""The file to which a daemon moves frames of a client's arena for which it has no room in memory.

The daemon makes it, and tells its descriptor with its answer to the arena; the client opens it too, so that it
outlives the daemon with the frames in it that no video has: those the client sends to the next one. It has a name where
the arena has one, that of `spool_name`, by which it is found when both are dead.

::

    0                              the arena's token
    512 + n * (1536 + slot_bytes)  place n: the length of what follows, as a little-endian 32-bit integer, 0 where it is
                                   free; the frame as a `SlotFrames` of one frame would name it; at 512, what the arena
                                   had of it behind its slots; at 1536, its pixels
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from offcam_proto import codec
from offcam_proto.arena import HEAD_BYTES as SLOT_HEAD_BYTES
from offcam_proto.arena import SPOOL_EXTENSION
from offcam_proto.messages import SlotFrames

if TYPE_CHECKING:
    from offcam_proto.layout import FrameLayout

TOKEN_AT = 0
HEAD_BYTES = 512
"""Bytes before the first place; the same number, in each place, before what the arena had of the frame."""

PIXELS_AT = HEAD_BYTES + SLOT_HEAD_BYTES
"""Where the pixels begin in a place."""

LENGTH = struct.Struct("<I")
"""Length at the beginning of a place: written last, once the rest is there; set to 0 once the frame is in its video."""


def place_bytes(slot_bytes: int) -> int:
    """Size of a place for frames of an arena with slots of a size."""
    return PIXELS_AT + slot_bytes


def spool_name(token: bytes, pid: int, number: int) -> str:
    """Name of a file that a daemon with this process id makes for the arena with a token: the first has number 0."""
    return f"{token.hex()}-{pid}-{number}{SPOOL_EXTENSION}"


def pack_name(clip: int, index: int, layouts: tuple[FrameLayout, ...]) -> bytes:
    """Pack what a place for this frame begins with; empty where that is too long."""
    name = bytes(codec.encode(SlotFrames(handle=0, clip=clip, layouts=layouts, frames=((index, 0),)))[0])
    return LENGTH.pack(len(name)) + name if LENGTH.size + len(name) <= HEAD_BYTES else b""
