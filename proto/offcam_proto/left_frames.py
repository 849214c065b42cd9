"""What an arena says of itself and its frames, so that they are recorded even if client and daemon have both died."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from offcam_proto import codec
from offcam_proto.arena import DAEMON_AT, HEAD_BYTES, OWNER_AT
from offcam_proto.errors import RemoteProtocolError
from offcam_proto.messages import Hello, OpenClip, OpenStream, SlotFrames

if TYPE_CHECKING:
    from offcam_proto.layout import FrameLayout
    from offcam_proto.messages import Buffer, ClientMessage

_TWO = struct.Struct("<HH")


def pack_owner(stream: OpenStream, client: Hello) -> bytes:
    """Pack how an arena's stream is opened, and by which client. Empty where that is too long for its place."""
    return _packed(DAEMON_AT - OWNER_AT, stream, client)


def unpack_owner(data: Buffer) -> tuple[OpenStream, Hello] | None:
    """Unpack what `pack_owner` packed; None where nothing is there, or nothing that makes sense."""
    match _unpacked(data):
        case OpenStream() as stream, Hello() as client:
            return stream, client
    return None


def pack_head(opening: OpenClip, layouts: tuple[FrameLayout, ...]) -> bytes:
    """Pack how a frame's clip is opened, and how its pixels lie. Empty where that is too long for its place."""
    return _packed(HEAD_BYTES, opening, SlotFrames(handle=0, clip=opening.clip, layouts=layouts, frames=((0, 0),)))


def unpack_head(data: Buffer) -> tuple[OpenClip, tuple[FrameLayout, ...]] | None:
    """Unpack what `pack_head` packed; None where nothing is there, or nothing that makes sense."""
    match _unpacked(data):
        case OpenClip() as opening, SlotFrames(layouts=layouts):
            return opening, layouts
    return None


def _packed(room: int, *messages: ClientMessage) -> bytes:
    first, second = (bytes(codec.encode(message)[0]) for message in messages)
    data = _TWO.pack(len(first), len(second)) + first + second
    return data if len(data) <= room else bytes(_TWO.size)


def _unpacked(data: Buffer) -> tuple[ClientMessage, ...]:
    first, second = _TWO.unpack_from(data)
    parts = bytes(data[_TWO.size : _TWO.size + first]), bytes(data[_TWO.size + first : _TWO.size + first + second])
    try:
        return tuple([codec.decode_client([part]) for part in parts if part])
    except RemoteProtocolError:
        return ()
