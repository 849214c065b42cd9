"""Every message of the wire, as a frozen `msgspec.Struct` that is valid by construction.

A message's fields, in order, are the elements of its msgpack header behind its type code; `Frame` is followed by its
pixel buffers as further message parts, and `StatsReply` by its JSON. `proto/SPEC.md` has the tables. Those of a client
that goes on with a run are in `offcam_proto.resuming`, that about rings in `offcam_proto.saving`, that to a hub in
`offcam_proto.pushing`. Everywhere ``handle`` is a stream's, as in its `OpenStream`, and ``clip`` a clip's number in it.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import msgspec

from offcam_proto import limits
from offcam_proto import validation as check
from offcam_proto.arena import arena_bytes
from offcam_proto.errors import LimitExceeded, MalformedMessage
from offcam_proto.layout import FrameLayout  # noqa: TC001 - so that the types of the fields can be asked for
from offcam_proto.pushing import ClipElsewhere, ClipsGone
from offcam_proto.records import count_all
from offcam_proto.resuming import RunReply, RunRequest
from offcam_proto.saving import SaveClip
from offcam_proto.validation import Checked, FileName, Flag, Id, PositiveInt, Real, Side, Text, Tiles, UInt

Buffer = bytes | bytearray | memoryview
"""Pixels: anything with one contiguous byte buffer."""

# --- what a client says -----------------------------------------------------------------------------------


class Hello(Checked, frozen=True):
    """Opens a session. The first message on every connection, sent again after each reconnection.

    Attributes:
        magic: always ``offcam``.
        version: `limits.PROTOCOL_VERSION` of the sender.
        session: id of the client process's session.
        pid: the client's process id.
        host: the client's host name.
        client: what the client is, for people: ``offcam/0.1.0 python/3.12 gymnasium/1.4.0``.
    """

    TYPE: ClassVar[int] = 1
    MAGIC: ClassVar[str] = check.MAGIC

    magic: Annotated[str, check.magic]
    version: UInt
    session: Id
    pid: UInt
    host: Text
    client: Text


class OpenStream(Checked, frozen=True):
    """Opens, or reopens after a reconnection, the stream of one environment.

    Attributes:
        handle: small number by which later messages of this session name the stream.
        stream: id of the stream, the same at every reopening.
        folder: absolute path of the run folder, normalised as by `posixpath.normpath`.
        prefix: name prefix of its videos, empty for a stream without video.
        suffix: the number an earlier `StreamOpened` gave it, 0 at first.
        video: whether it will send frames (and so needs credit).
        env_id: id of the environment, for people.
        num_envs: sub-environments, 1 for a single env.
        vector: whether it is a vector env.
        started: seconds since the Unix epoch.
        training: id of the training it is a part of, zeros where that is not known.
        resumes: whether it goes on with the run's last session, and with the names of its files.
        steps_limit: most bytes of steps that the run is to have on the disk; 0 for the daemon's own bound.
        replays: id of the stream whose episodes its videos show, as they happened again; zeros for none: its own.
    """

    TYPE: ClassVar[int] = 2

    handle: UInt
    stream: Id
    folder: Annotated[str, check.folder]
    prefix: Annotated[str, check.prefix]
    suffix: UInt
    video: Flag
    env_id: Text
    num_envs: PositiveInt
    vector: Flag
    started: Real
    training: Id = bytes(16)
    resumes: Flag = False
    steps_limit: UInt = 0
    replays: Id = bytes(16)


class OpenArena(Checked, frozen=True):
    """Offers an arena for a stream's frames, in place of the one it had. Answered by `ArenaReply`.

    Attributes:
        descriptor: the arena's file descriptor in the client's process. It may be closed after the answer.
        token: what the arena begins with.
        slot_bytes: size of each slot.
        slots: how many there are.
    """

    TYPE: ClassVar[int] = 11

    handle: UInt
    descriptor: UInt
    token: Id
    slot_bytes: Annotated[int, check.within(limits.MAX_ARENA_BYTES, low=1)]
    slots: Annotated[int, check.within(limits.MAX_ARENA_SLOTS, low=1)]

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.nbytes > limits.MAX_ARENA_BYTES:
            raise LimitExceeded(f"an arena is at most {limits.MAX_ARENA_BYTES} bytes, got {self.nbytes}")

    @property
    def nbytes(self) -> int:
        """Size of the file."""
        return arena_bytes(self.slot_bytes, self.slots)


class OpenClip(Checked, frozen=True):
    """Opens one video file of a stream; frames follow.

    Attributes:
        clip: number of the clip in its stream, never used again.
        name: video name without suffix, part or extension: ``rl-video-episode-0``.
        part: 1, or higher where the frame size changed or the daemon was replaced within the video.
        fps: frames per second.
        rows: rows of the grid its frames are tiled into, row by row.
        cols: columns of that grid. A frame has so many tiles that no row and no column is empty.
        episode: RecordVideo's episode id.
        step: RecordVideo's step id.
        started: seconds since the Unix epoch.
        frame_bytes: bytes of one frame, so that the daemon can make the stream's credit fit.
        envs: the sub-environments that it shows, first the one whose episodes are counted; empty for all, of which it
            is the first that is counted, and for a single env.
        max_width: largest width of its pictures in pixels, to which larger ones are scaled down; 0 for any.
        max_height: largest height, likewise. Width and height keep their ratio.
        preset: how much work its encoder puts into a small file, one of `limits.PRESETS`; empty for the daemon's own.
        crf: its quality, x264's constant rate factor; None for the daemon's own.
        keep: the rule by which it is kept or let go once its `records.KeepRecord` is there; empty for one that stays.
        keep_bytes: most bytes that all videos kept by that rule may have on the disk; 0 for the daemon's own bound.
        ring_seconds: its last seconds alone are held, in memory, see `SaveClip`; 0 for a video, which has a file.
        urgent: whether encoding does not give way to other programs until its file is final.
    """

    TYPE: ClassVar[int] = 3

    handle: UInt
    clip: UInt
    name: FileName
    part: PositiveInt
    fps: Annotated[float, check.frame_rate]
    rows: Tiles
    cols: Tiles
    episode: UInt
    step: UInt
    started: Real
    frame_bytes: Annotated[int, check.within(limits.MAX_FRAME_BYTES)]
    envs: Annotated[tuple[int, ...], check.sub_environments] = ()
    max_width: Side = 0
    max_height: Side = 0
    preset: Annotated[str, check.preset] = ""
    crf: Annotated[int | None, check.crf] = None
    keep: Text = ""
    keep_bytes: UInt = 0
    ring_seconds: Annotated[float, check.ring_seconds] = 0.0
    urgent: Flag = False


class Frame(msgspec.Struct, frozen=True):
    """One frame of an open clip: one pixel buffer, or one for each tile of its grid.

    Attributes:
        index: 0-based number of the frame in its clip, which is also its time in units of 1/fps. Increasing;
            a gap is frames the client dropped.
        layouts: how the pixels lie in each buffer.
        pixels: the buffers, in the order of ``layouts``. Owned by the message until it is sent or dropped.
    """

    TYPE: ClassVar[int] = 4

    handle: int
    clip: int
    index: int
    layouts: tuple[FrameLayout, ...]
    pixels: tuple[Buffer, ...]

    def __post_init__(self) -> None:
        check.uint("handle", self.handle)
        check.uint("clip", self.clip)
        check.uint("index", self.index)
        if not 1 <= len(self.layouts) <= limits.MAX_PIXEL_PARTS or len(self.layouts) != len(self.pixels):
            raise MalformedMessage(f"{len(self.layouts)} layouts for {len(self.pixels)} pixel buffers")
        for layout, buffer in zip(self.layouts, self.pixels, strict=True):
            if memoryview(buffer).nbytes != layout.nbytes:
                raise MalformedMessage(f"a layout for {layout.nbytes} bytes, got {memoryview(buffer).nbytes} bytes")
        if self.nbytes > limits.MAX_FRAME_BYTES:
            raise LimitExceeded(f"a frame is at most {limits.MAX_FRAME_BYTES} bytes, got {self.nbytes}")

    @property
    def nbytes(self) -> int:
        """Bytes of its pixel buffers: what it costs in credit."""
        return sum(layout.nbytes for layout in self.layouts)


class SlotFrames(msgspec.Struct, frozen=True):
    """Frames of one clip, in slots of their stream's arena.

    Attributes:
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
        if not 1 <= len(self.layouts) <= limits.MAX_PIXEL_PARTS:
            raise MalformedMessage(f"a frame has 1 to {limits.MAX_PIXEL_PARTS} pixel buffers, got {len(self.layouts)}")
        if self.nbytes > limits.MAX_ARENA_BYTES:
            raise LimitExceeded(f"a frame in a slot is at most {limits.MAX_ARENA_BYTES} bytes, got {self.nbytes}")
        if not 1 <= len(self.frames) <= limits.MAX_SLOT_FRAMES:
            raise LimitExceeded(f"1 to {limits.MAX_SLOT_FRAMES} frames in a message, got {len(self.frames)}")
        for index, slot in self.frames:
            check.uint("index", index)
            check.uint("slot", slot, limits.MAX_ARENA_SLOTS - 1)

    @property
    def nbytes(self) -> int:
        """Bytes of one frame: what each costs in credit."""
        return sum([layout.nbytes for layout in self.layouts])


class Records(msgspec.Struct, frozen=True):
    """Consecutive records of a stream.

    Attributes:
        first_seq: sequence number of the first; the first record of a stream has 1.
        bodies: each packed by `codec.pack_record`, one record or many as columns; unpacked one by one, so that a
            poison one is set aside alone.
    """

    TYPE: ClassVar[int] = 5

    handle: int
    first_seq: int
    bodies: tuple[bytes, ...]

    def __post_init__(self) -> None:
        check.uint("handle", self.handle)
        check.uint("first_seq", self.first_seq, low=1)
        if type(self.bodies) is not tuple:
            raise MalformedMessage(f"records must be an array of bodies, got {check.shown(self.bodies)}")
        if not 1 <= len(self.bodies) <= limits.MAX_RECORDS_PER_MESSAGE:
            raise LimitExceeded(f"1 to {limits.MAX_RECORDS_PER_MESSAGE} records in a message, got {len(self.bodies)}")
        if any(type(body) is not bytes for body in self.bodies):
            raise MalformedMessage("a record's body must be bytes")
        check.uint("the last sequence number", self.last_seq)

    @property
    def last_seq(self) -> int:
        """Number of the last record."""
        return self.first_seq + count_all(self.bodies) - 1


class EndClip(Checked, frozen=True):
    """No more frames come for this clip; its `ClipRecord` is among the stream's records.

    Attributes:
        complete: whether it ended as its owner meant it to, rather than being cut off.
    """

    TYPE: ClassVar[int] = 6

    handle: UInt
    clip: UInt
    complete: Flag


class CloseStream(Checked, frozen=True):
    """The stream sends nothing more; its credit ends."""

    TYPE: ClassVar[int] = 7

    handle: UInt


class Flush(Checked, frozen=True):
    """Asks to be told when all that this session ended is final; if ``urgent``, it gives way to nothing until then."""

    TYPE: ClassVar[int] = 8

    token: UInt
    urgent: Flag = False


class StatsRequest(Checked, frozen=True):
    """Asks for the daemon's statistics. Answered by `StatsReply`."""

    TYPE: ClassVar[int] = 9

    token: UInt


class Goodbye(Checked, frozen=True):
    """The session, or the daemon, leaves in good order. Sent by either side; nothing follows it."""

    TYPE: ClassVar[int] = 10

    reason: Text


# --- what the daemon says ---------------------------------------------------------------------------------


class Welcome(Checked, frozen=True):
    """Answers `Hello`.

    Attributes:
        version: the daemon's protocol version, equal to the client's.
        instance: id of this start of the daemon; another one means it was restarted.
        pid: the daemon's process id.
        max_frame_bytes: largest frame message it takes.
    """

    TYPE: ClassVar[int] = 64

    version: UInt
    instance: Id
    pid: UInt
    max_frame_bytes: UInt


class Refused(Checked, frozen=True):
    """The session ends: the daemon does not talk to this peer.

    Attributes:
        code: ``version``, ``malformed``, ``limit`` or ``protocol``: an error's `reason`.
        version: the daemon's protocol version.
        text: what is wrong and how to fix it, for people.
    """

    TYPE: ClassVar[int] = 65

    code: Text
    version: UInt
    text: Text


class SayHello(Checked, frozen=True):
    """The daemon does not know this session (it was restarted): say `Hello` and reopen the streams."""

    TYPE: ClassVar[int] = 66


class StreamOpened(Checked, frozen=True):
    """Answers `OpenStream`.

    Attributes:
        acked_seq: last record of this stream that is committed; later ones are to be sent again.
        suffix: 0, or the number its file names carry because another live stream has the same names.
        credit: bytes of frames it may send.
    """

    TYPE: ClassVar[int] = 67

    handle: UInt
    acked_seq: UInt
    suffix: UInt
    credit: UInt


class StreamRefused(Checked, frozen=True):
    """Answers `OpenStream` where the run folder cannot be used.

    Attributes:
        code: ``folder``, ``format``, ``limit``, or ``daemon`` where the folder is not at fault.
        text: what is wrong and how to fix it, for people.
    """

    TYPE: ClassVar[int] = 68

    handle: UInt
    code: Text
    text: Text


class Credit(Checked, frozen=True):
    """Grants more credit.

    Attributes:
        nbytes: bytes added to its credit.
        saturated: whether the daemon's queues are full, so that waiting for credit is in vain for now.
    """

    TYPE: ClassVar[int] = 69

    handle: UInt
    nbytes: UInt
    saturated: Flag


class Ack(Checked, frozen=True):
    """All records of the stream up to ``seq`` are committed: they survive a crash of the daemon."""

    TYPE: ClassVar[int] = 70

    handle: UInt
    seq: UInt


class ClipDone(Checked, frozen=True):
    """A clip's file is final, or will not be.

    Attributes:
        file: its file name within the run folder, empty where no file was written.
        encoded: frames in the file.
        error: what went wrong and the fix, for people; empty where nothing did.
    """

    TYPE: ClassVar[int] = 71

    handle: UInt
    clip: UInt
    file: Text
    encoded: UInt
    error: Text


class Flushed(Checked, frozen=True):
    """Answers `Flush`, at first with what remains, at last with 0.

    Attributes:
        token: the `Flush`'s.
        clips: clips not final yet.
        frames: their frames not encoded yet.
    """

    TYPE: ClassVar[int] = 72

    token: UInt
    clips: UInt
    frames: UInt


class StatsReply(Checked, frozen=True):
    """Answers `StatsRequest`. The JSON is a message part of its own, behind the header.

    Attributes:
        token: the `StatsRequest`'s.
        json: the JSON that ``GET /api/stats`` serves, as UTF-8 bytes.
    """

    TYPE: ClassVar[int] = 73

    token: UInt
    json: Annotated[bytes, check.json_bytes]


class Again(Checked, frozen=True):
    """There is room again for what was not taken of a stream, be it still open or not: its records, or the stream."""

    TYPE: ClassVar[int] = 74

    handle: UInt


class ArenaReply(Checked, frozen=True):
    """Answers `OpenArena`.

    Attributes:
        usable: whether frames may come in the arena's slots; else they all come through the socket.
        spool: descriptor in the daemon's process of the file to which it moves those for which it has no room in
            memory; 0 where there is none.
    """

    TYPE: ClassVar[int] = 75

    handle: UInt
    usable: Flag
    spool: UInt


ClientMessage = (
    Hello | OpenStream | OpenArena | OpenClip | Frame | SlotFrames | Records | EndClip | CloseStream
    | Flush | StatsRequest | RunRequest | SaveClip | ClipElsewhere | ClipsGone | Goodbye
)  # fmt: skip
ServerMessage = (
    Welcome | Refused | SayHello | StreamOpened | StreamRefused | Credit | Ack | ClipDone | Flushed | StatsReply
    | Again | ArenaReply | RunReply | Goodbye
)  # fmt: skip
Message = ClientMessage | ServerMessage
