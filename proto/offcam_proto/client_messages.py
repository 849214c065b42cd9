"""What a client says, and `Goodbye`, which either side says. See `offcam_proto.messages`."""

from __future__ import annotations

import posixpath
from typing import ClassVar

import msgspec

from offcam_proto import validation as check
from offcam_proto.arena import SLOTS_AT
from offcam_proto.errors import LimitExceeded, MalformedMessage
from offcam_proto.layout import FrameLayout  # noqa: TC001 - so that the types of the fields can be asked for
from offcam_proto.limits import (
    MAX_ARENA_BYTES,
    MAX_ARENA_SLOTS,
    MAX_FRAME_BYTES,
    MAX_NAME_BYTES,
    MAX_PATH_BYTES,
    MAX_PIXEL_PARTS,
    MAX_RECORDS_PER_MESSAGE,
    MAX_SLOT_FRAMES,
)

Buffer = bytes | bytearray | memoryview
"""Pixels: anything with one contiguous byte buffer."""


class Hello(msgspec.Struct, frozen=True):
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
    MAGIC: ClassVar[str] = "offcam"

    magic: str
    version: int
    session: bytes
    pid: int
    host: str
    client: str

    def __post_init__(self) -> None:
        if self.magic != self.MAGIC:
            raise MalformedMessage(f"a session opens with {self.MAGIC!r}, got {check.shown(self.magic)}")
        check.uint("version", self.version)
        check.identifier("session", self.session)
        check.uint("pid", self.pid)
        check.text("host", self.host)
        check.text("client", self.client)


class OpenStream(msgspec.Struct, frozen=True):
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
    """

    TYPE: ClassVar[int] = 2

    handle: int
    stream: bytes
    folder: str
    prefix: str
    suffix: int
    video: bool
    env_id: str
    num_envs: int
    vector: bool
    started: float

    def __post_init__(self) -> None:
        check.uint("handle", self.handle)
        check.identifier("stream", self.stream)
        check.text("folder", self.folder, MAX_PATH_BYTES)
        # one folder, one spelling: it is the run's identity
        # (normpath keeps two slashes at the beginning, as POSIX leaves their meaning open)
        normal = posixpath.normpath(self.folder) == self.folder and not self.folder.startswith("//")
        if not self.folder.startswith("/") or not normal:
            raise MalformedMessage(f"folder must be an absolute, normalised path, got {check.shown(self.folder)}")
        if self.prefix != "":  # not its truth: None and 0 are no prefixes
            check.file_name("prefix", self.prefix, MAX_NAME_BYTES)
        check.uint("suffix", self.suffix)
        check.flag("video", self.video)
        check.text("env_id", self.env_id)
        check.uint("num_envs", self.num_envs, low=1)
        check.flag("vector", self.vector)
        check.real("started", self.started)


class OpenArena(msgspec.Struct, frozen=True):
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


class OpenClip(msgspec.Struct, frozen=True):
    """Opens one video file of a stream; frames follow.

    Attributes:
        handle: the stream.
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
    """

    TYPE: ClassVar[int] = 3

    handle: int
    clip: int
    name: str
    part: int
    fps: float
    rows: int
    cols: int
    episode: int
    step: int
    started: float
    frame_bytes: int

    def __post_init__(self) -> None:
        check.uint("handle", self.handle)
        check.uint("clip", self.clip)
        check.file_name("name", self.name, MAX_NAME_BYTES)
        check.uint("part", self.part, low=1)
        check.real("fps", self.fps)
        if not 0 < self.fps <= 1000:
            raise MalformedMessage(f"fps must be in (0, 1000], got {self.fps}")
        check.uint("rows", self.rows, MAX_PIXEL_PARTS, low=1)
        check.uint("cols", self.cols, MAX_PIXEL_PARTS, low=1)
        check.uint("episode", self.episode)
        check.uint("step", self.step)
        check.real("started", self.started)
        check.uint("frame_bytes", self.frame_bytes, MAX_FRAME_BYTES)


class Frame(msgspec.Struct, frozen=True):
    """One frame of an open clip: one pixel buffer, or one for each tile of its grid.

    Attributes:
        handle: the stream.
        clip: the clip.
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
        if not 1 <= len(self.layouts) <= MAX_PIXEL_PARTS or len(self.layouts) != len(self.pixels):
            raise MalformedMessage(f"{len(self.layouts)} layouts for {len(self.pixels)} pixel buffers")
        for layout, buffer in zip(self.layouts, self.pixels, strict=True):
            if memoryview(buffer).nbytes != layout.nbytes:
                raise MalformedMessage(f"a layout for {layout.nbytes} bytes, got {memoryview(buffer).nbytes} bytes")
        if self.nbytes > MAX_FRAME_BYTES:
            raise LimitExceeded(f"a frame is at most {MAX_FRAME_BYTES} bytes, got {self.nbytes}")

    @property
    def nbytes(self) -> int:
        """Bytes of its pixel buffers: what it costs in credit."""
        return sum(layout.nbytes for layout in self.layouts)


class SlotFrames(msgspec.Struct, frozen=True):
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


class Records(msgspec.Struct, frozen=True):
    """Consecutive records of a stream.

    Attributes:
        handle: the stream.
        first_seq: sequence number of the first; the first record of a stream has 1.
        bodies: each record packed by `codec.pack_record`; unpacked one by one, so that a poison one is
            set aside alone.
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
        if not 1 <= len(self.bodies) <= MAX_RECORDS_PER_MESSAGE:
            raise LimitExceeded(f"1 to {MAX_RECORDS_PER_MESSAGE} records in a message, got {len(self.bodies)}")
        if any(type(body) is not bytes for body in self.bodies):
            raise MalformedMessage("a record's body must be bytes")
        check.uint("the last sequence number", self.first_seq + len(self.bodies) - 1)


class EndClip(msgspec.Struct, frozen=True):
    """No more frames come for this clip; its `ClipRecord` is among the stream's records.

    Attributes:
        handle: the stream.
        clip: the clip.
        complete: whether it ended as its owner meant it to, rather than being cut off.
    """

    TYPE: ClassVar[int] = 6

    handle: int
    clip: int
    complete: bool

    def __post_init__(self) -> None:
        check.uint("handle", self.handle)
        check.uint("clip", self.clip)
        check.flag("complete", self.complete)


class CloseStream(msgspec.Struct, frozen=True):
    """The stream sends nothing more; its credit ends."""

    TYPE: ClassVar[int] = 7

    handle: int

    def __post_init__(self) -> None:
        check.uint("handle", self.handle)


class Flush(msgspec.Struct, frozen=True):
    """Asks to be told when everything this session ended before it is final. Answered by `Flushed`."""

    TYPE: ClassVar[int] = 8

    token: int

    def __post_init__(self) -> None:
        check.uint("token", self.token)


class StatsRequest(msgspec.Struct, frozen=True):
    """Asks for the daemon's statistics. Answered by `StatsReply`."""

    TYPE: ClassVar[int] = 9

    token: int

    def __post_init__(self) -> None:
        check.uint("token", self.token)


class Goodbye(msgspec.Struct, frozen=True):
    """The session, or the daemon, leaves in good order. Sent by either side; nothing follows it."""

    TYPE: ClassVar[int] = 10

    reason: str

    def __post_init__(self) -> None:
        check.text("reason", self.reason)
