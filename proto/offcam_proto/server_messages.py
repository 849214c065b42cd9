"""What the daemon says. See `offcam_proto.messages`."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from offcam_proto import validation as check
from offcam_proto.errors import LimitExceeded, MalformedMessage
from offcam_proto.limits import MAX_STATS_BYTES


class Welcome(msgspec.Struct, frozen=True):
    """Answers `Hello`.

    Attributes:
        version: the daemon's protocol version, equal to the client's.
        instance: id of this start of the daemon; another one means it was restarted.
        pid: the daemon's process id.
        max_frame_bytes: largest frame message it takes.
    """

    TYPE: ClassVar[int] = 64

    version: int
    instance: bytes
    pid: int
    max_frame_bytes: int

    def __post_init__(self) -> None:
        check.uint("version", self.version)
        check.identifier("instance", self.instance)
        check.uint("pid", self.pid)
        check.uint("max_frame_bytes", self.max_frame_bytes)


class Refused(msgspec.Struct, frozen=True):
    """The session ends: the daemon does not talk to this peer.

    Attributes:
        code: ``version``, ``malformed``, ``limit`` or ``protocol``: an error's `reason`.
        version: the daemon's protocol version.
        text: what is wrong and how to fix it, for people.
    """

    TYPE: ClassVar[int] = 65

    code: str
    version: int
    text: str

    def __post_init__(self) -> None:
        check.text("code", self.code)
        check.uint("version", self.version)
        check.text("text", self.text)


class SayHello(msgspec.Struct, frozen=True):
    """The daemon does not know this session (it was restarted): say `Hello` and reopen the streams."""

    TYPE: ClassVar[int] = 66


class StreamOpened(msgspec.Struct, frozen=True):
    """Answers `OpenStream`.

    Attributes:
        handle: the stream.
        acked_seq: last record of this stream that is committed; later ones are to be sent again.
        suffix: 0, or the number its file names carry because another live stream has the same names.
        credit: bytes of frames it may send.
    """

    TYPE: ClassVar[int] = 67

    handle: int
    acked_seq: int
    suffix: int
    credit: int

    def __post_init__(self) -> None:
        check.uint("handle", self.handle)
        check.uint("acked_seq", self.acked_seq)
        check.uint("suffix", self.suffix)
        check.uint("credit", self.credit)


class StreamRefused(msgspec.Struct, frozen=True):
    """Answers `OpenStream` where the run folder cannot be used.

    Attributes:
        handle: the stream.
        code: ``folder``, ``format``, ``limit``, or ``daemon`` where the folder is not at fault.
        text: what is wrong and how to fix it, for people.
    """

    TYPE: ClassVar[int] = 68

    handle: int
    code: str
    text: str

    def __post_init__(self) -> None:
        check.uint("handle", self.handle)
        check.text("code", self.code)
        check.text("text", self.text)


class Credit(msgspec.Struct, frozen=True):
    """Grants more credit.

    Attributes:
        handle: the stream.
        nbytes: bytes added to its credit.
        saturated: whether the daemon's queues are full, so that waiting for credit is in vain for now.
    """

    TYPE: ClassVar[int] = 69

    handle: int
    nbytes: int
    saturated: bool

    def __post_init__(self) -> None:
        check.uint("handle", self.handle)
        check.uint("nbytes", self.nbytes)
        check.flag("saturated", self.saturated)


class Ack(msgspec.Struct, frozen=True):
    """All records of the stream up to ``seq`` are committed: they survive a crash of the daemon."""

    TYPE: ClassVar[int] = 70

    handle: int
    seq: int

    def __post_init__(self) -> None:
        check.uint("handle", self.handle)
        check.uint("seq", self.seq)


class ClipDone(msgspec.Struct, frozen=True):
    """A clip's file is final, or will not be.

    Attributes:
        handle: the stream.
        clip: the clip.
        file: its file name within the run folder, empty where no file was written.
        encoded: frames in the file.
        error: what went wrong and the fix, for people; empty where nothing did.
    """

    TYPE: ClassVar[int] = 71

    handle: int
    clip: int
    file: str
    encoded: int
    error: str

    def __post_init__(self) -> None:
        check.uint("handle", self.handle)
        check.uint("clip", self.clip)
        check.text("file", self.file)
        check.uint("encoded", self.encoded)
        check.text("error", self.error)


class Flushed(msgspec.Struct, frozen=True):
    """Answers `Flush`, at first with what remains, at last with 0.

    Attributes:
        token: the `Flush`'s.
        clips: clips not final yet.
        frames: their frames not encoded yet.
    """

    TYPE: ClassVar[int] = 72

    token: int
    clips: int
    frames: int

    def __post_init__(self) -> None:
        check.uint("token", self.token)
        check.uint("clips", self.clips)
        check.uint("frames", self.frames)


class StatsReply(msgspec.Struct, frozen=True):
    """Answers `StatsRequest`. The JSON is a message part of its own, behind the header.

    Attributes:
        token: the `StatsRequest`'s.
        json: the JSON that ``GET /api/stats`` serves, as UTF-8 bytes.
    """

    TYPE: ClassVar[int] = 73

    token: int
    json: bytes

    def __post_init__(self) -> None:
        check.uint("token", self.token)
        if type(self.json) is not bytes:
            raise MalformedMessage("json must be bytes")
        if len(self.json) > MAX_STATS_BYTES:
            raise LimitExceeded(f"statistics are at most {MAX_STATS_BYTES} bytes of JSON, got {len(self.json)}")


class Again(msgspec.Struct, frozen=True):
    """There is room again for what was not taken of a stream: its records, or the stream itself.

    Attributes:
        handle: the stream; it may be closed or refused meanwhile.
    """

    TYPE: ClassVar[int] = 74

    handle: int

    def __post_init__(self) -> None:
        check.uint("handle", self.handle)


class ArenaReply(msgspec.Struct, frozen=True):
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
