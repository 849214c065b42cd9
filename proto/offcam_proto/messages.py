"""Every message of the wire, as a frozen `msgspec.Struct` that is valid by construction.

A message's fields, in order, are the elements of its msgpack header behind its type code; `Frame` is
followed by its pixel buffers as further message parts, and `StatsReply` by its JSON. `proto/SPEC.md` has the tables.
"""

from offcam_proto.client_messages import (
    Buffer,
    CloseStream,
    EndClip,
    Flush,
    Frame,
    Goodbye,
    Hello,
    OpenArena,
    OpenClip,
    OpenStream,
    Records,
    SlotFrames,
    StatsRequest,
)
from offcam_proto.server_messages import (
    Ack,
    Again,
    ArenaReply,
    ClipDone,
    Credit,
    Flushed,
    Refused,
    SayHello,
    StatsReply,
    StreamOpened,
    StreamRefused,
    Welcome,
)

__all__ = [
    "Ack", "Again", "ArenaReply", "Buffer", "ClientMessage", "ClipDone", "CloseStream", "Credit", "EndClip", "Flush",
    "Flushed", "Frame", "Goodbye", "Hello", "Message", "OpenArena", "OpenClip", "OpenStream", "Records", "Refused",
    "SayHello", "ServerMessage", "SlotFrames", "StatsReply", "StatsRequest", "StreamOpened", "StreamRefused", "Welcome",
]  # fmt: skip

ClientMessage = (
    Hello
    | OpenStream
    | OpenArena
    | OpenClip
    | Frame
    | SlotFrames
    | Records
    | EndClip
    | CloseStream
    | Flush
    | StatsRequest
    | Goodbye
)
ServerMessage = (
    Welcome
    | Refused
    | SayHello
    | StreamOpened
    | StreamRefused
    | Credit
    | Ack
    | ClipDone
    | Flushed
    | StatsReply
    | Again
    | ArenaReply
    | Goodbye
)
Message = ClientMessage | ServerMessage
