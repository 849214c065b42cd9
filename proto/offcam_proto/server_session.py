"""The daemon's side of the protocol, without I/O: what a peer may say when, and how to answer.

===========  =====================================  =======================================
state        message                                next
===========  =====================================  =======================================
NEW          Hello                                  OPEN (the shell answers Welcome)
NEW          any other message                      NEW, SayHello goes out
OPEN         Hello                                  OPEN anew: streams and clips are cut off
OPEN         anything its streams allow             OPEN
OPEN         Goodbye, or `goodbye`, or `refuse`     CLOSED
NEW, OPEN    a breach (`RemoteProtocolError`)       CLOSED, Refused goes out
CLOSED       anything                               CLOSED, it is not even read
===========  =====================================  =======================================
"""

from __future__ import annotations

import contextlib
import enum
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from offcam_proto import codec
from offcam_proto import messages as msg
from offcam_proto.errors import LimitExceeded, MalformedMessage, RemoteProtocolError
from offcam_proto.limits import (
    MAX_CLIPS_PER_STREAM,
    MAX_EPISODES_BYTES,
    MAX_FRAME_BYTES,
    MAX_INT,
    MAX_STATS_BYTES,
    MAX_STREAMS_PER_SESSION,
    PROTOCOL_VERSION,
)
from offcam_proto.pushing import ClipElsewhere, ClipsGone
from offcam_proto.resuming import EPISODE_BYTES, FOLDER, RunReply, RunRequest, pack_episodes
from offcam_proto.saving import SaveClip

if TYPE_CHECKING:
    from offcam_proto.codec import Parts
    from offcam_proto.layout import FrameLayout


class State(enum.Enum):
    """Where a peer's session stands."""

    NEW = "new"
    OPEN = "open"
    CLOSED = "closed"


@dataclass(slots=True)
class ServerClip:
    """An open clip.

    Attributes:
        rows: of its grid.
        cols: of its grid.
        ring: whether it is a ring, of which videos can be saved.
        last_index: index of its latest frame.
        sizes: the tiles' sizes in its first frame, ``(height, width)`` in pixels.
        slot_layouts: the layouts of its latest frame in a slot, None before the first.
    """

    rows: int
    cols: int
    ring: bool = False
    last_index: int = -1
    sizes: tuple[tuple[int, int], ...] | None = None
    slot_layouts: tuple[FrameLayout, ...] | None = None


@dataclass(slots=True)
class ServerStream:
    """An open stream.

    Attributes:
        info: what the peer opened it with.
        outstanding: bytes of credit that were granted and not spent yet.
        arena: the arena that its client offered last, None while it has none that can be used.
        clips: its open clips by number.
        last_clip: highest clip number opened so far; numbers are never used again.
    """

    info: msg.OpenStream
    outstanding: int = 0
    arena: msg.OpenArena | None = None
    clips: dict[int, ServerClip] = field(default_factory=dict)
    last_clip: int = -1


class ServerSession:
    """One peer's session at the daemon. Not thread-safe: it belongs to the service's thread.

    It has a method for each message that the daemon sends, which makes more of them than a class should have else.

    Attributes:
        state: where it stands.
        hello: what the peer said of itself, once it did.
        streams: its open streams by handle.
    """

    def __init__(self) -> None:
        self.state = State.NEW
        self.hello: msg.Hello | None = None
        self.streams: dict[int, ServerStream] = {}
        self._outbox: list[Parts] = []

    def take(self) -> list[Parts]:
        """Hand over what is to be sent, in order."""
        outbox, self._outbox = self._outbox, []
        return outbox

    def send(self, message: msg.ServerMessage) -> None:
        """Queue a message for `take`."""
        self._outbox.append(codec.encode(message))

    # --- what the peer says -------------------------------------------------------------------------------

    def receive(self, parts: Sequence[msg.Buffer]) -> msg.ClientMessage | None:
        """Take in one message of the peer and check that it may be said now.

        Returns:
            The message for the shell to act on, or None where the session answered it by itself.

        Raises:
            RemoteProtocolError: a breach; the session is closed and `take` holds the `Refused` for the peer.
        """
        if self.state is State.CLOSED:
            return None
        try:
            message = codec.decode_client(parts)
            if self.state is State.NEW and not isinstance(message, msg.Hello):
                self.send(msg.SayHello())
                return None
            self._check(message)
        except RemoteProtocolError as error:
            self.state = State.CLOSED
            self.send(msg.Refused(code=error.reason, version=PROTOCOL_VERSION, text=_words(str(error))))
            raise
        return message

    def _check(self, message: msg.ClientMessage) -> None:  # noqa: C901, PLR0912 - one case for each message
        match message:
            case msg.Hello():
                self._check_hello(message)
            case msg.OpenStream():
                if len(self.streams) >= MAX_STREAMS_PER_SESSION:
                    raise LimitExceeded(f"a session has at most {MAX_STREAMS_PER_SESSION} open streams")
                if message.handle in self.streams:
                    raise MalformedMessage(f"stream {message.handle} is open already")
                self.streams[message.handle] = ServerStream(message)
            case msg.OpenClip():
                stream = self._stream(message.handle)
                if message.clip <= stream.last_clip:
                    raise MalformedMessage(f"clip {message.clip} was opened before")
                if len(stream.clips) >= MAX_CLIPS_PER_STREAM:
                    raise LimitExceeded(f"a stream has at most {MAX_CLIPS_PER_STREAM} open clips")
                stream.last_clip = message.clip
                ring = message.ring_seconds > 0
                stream.clips[message.clip] = ServerClip(message.rows, message.cols, ring=ring)
            case SaveClip():
                self._check_save(message)
            case msg.OpenArena():
                self._stream(message.handle).arena = message
            case msg.Frame():
                self._check_frame(message.handle, message.clip, message.layouts, [message.index])
            case msg.SlotFrames():
                self._check_slots(message)
                self._check_frame(message.handle, message.clip, message.layouts, [index for index, _ in message.frames])
                self.streams[message.handle].clips[message.clip].slot_layouts = message.layouts
            case msg.EndClip():
                self._clip(message.handle, message.clip)
                del self.streams[message.handle].clips[message.clip]
            case msg.Records() | ClipElsewhere() | ClipsGone():
                self._stream(message.handle)
            case msg.CloseStream():
                self._stream(message.handle)
                del self.streams[message.handle]
            case msg.Goodbye():
                self.state = State.CLOSED
            case msg.Flush() | msg.StatsRequest() | RunRequest():
                pass

    def _check_hello(self, message: msg.Hello) -> None:
        if message.version != PROTOCOL_VERSION:
            raise codec.version_mismatch(PROTOCOL_VERSION, message.version)
        self.state = State.OPEN
        self.hello = message
        self.streams.clear()

    def unnamed(self, handle: int, frames: Sequence[tuple[int, int, int]]) -> list[msg.SlotFrames]:
        """Take in frames that a stream's client wrote into its arena, and could not name before it was gone.

        Args:
            handle: the stream.
            frames: clip, index and slot of each, in order.

        Returns:
            What the client would have said, as far as it may be said.
        """
        clips = self.streams[handle].clips if handle in self.streams else {}
        found = []
        for number, index, slot in frames:
            clip = clips.get(number)
            if clip is None or clip.slot_layouts is None:
                continue
            with contextlib.suppress(RemoteProtocolError):
                message = msg.SlotFrames(handle=handle, clip=number, layouts=clip.slot_layouts, frames=((index, slot),))
                self._check_slots(message)  # the layouts may be those of an arena with larger slots
                self._check_frame(handle, number, clip.slot_layouts, [index])
                found.append(message)
        return found

    def _check_save(self, message: SaveClip) -> None:
        stream = self._stream(message.handle)
        if not self._clip(message.handle, message.clip).ring:
            raise MalformedMessage(f"clip {message.clip} is no ring")
        if message.saved <= stream.last_clip:
            raise MalformedMessage(f"clip {message.saved} was opened before")
        stream.last_clip = message.saved

    def _check_slots(self, message: msg.SlotFrames) -> None:
        arena = self._stream(message.handle).arena
        if arena is None:
            raise MalformedMessage(f"frames in slots of stream {message.handle}, which has no arena")
        if message.nbytes > arena.slot_bytes:
            raise LimitExceeded(f"a frame of {message.nbytes} bytes in slots of {arena.slot_bytes}")
        if max([slot for _, slot in message.frames]) >= arena.slots:
            raise MalformedMessage(f"slots {[slot for _, slot in message.frames]} of an arena of {arena.slots}")

    def _check_frame(self, handle: int, number: int, layouts: tuple[FrameLayout, ...], indices: list[int]) -> None:
        """Check one frame, or several of the same layouts."""
        stream = self._stream(handle)
        clip = self._clip(handle, number)
        for before, index in itertools.pairwise((clip.last_index, *indices)):
            if index <= before:
                raise MalformedMessage(f"frame {index} after frame {before}")
        sizes = tuple(layout.size for layout in layouts)
        tiles = len(sizes)
        if not max((clip.rows - 1) * clip.cols, clip.rows * (clip.cols - 1)) < tiles <= clip.rows * clip.cols:
            raise MalformedMessage(f"{tiles} tiles for a grid of {clip.rows} x {clip.cols}: too many or too few")
        if clip.sizes not in (None, sizes):
            raise MalformedMessage(f"frames of one clip are of one size, got {sizes} after {clip.sizes}")
        cost = len(indices) * sum(layout.nbytes for layout in layouts)
        if cost > stream.outstanding:
            raise LimitExceeded(f"frames of {cost} bytes for {stream.outstanding} bytes of credit")
        clip.sizes = sizes
        clip.last_index = indices[-1]
        stream.outstanding -= cost

    def _stream(self, handle: int) -> ServerStream:
        stream = self.streams.get(handle)
        if stream is None:
            raise MalformedMessage(f"stream {handle} is not open")
        return stream

    def _clip(self, handle: int, clip: int) -> ServerClip:
        found = self._stream(handle).clips.get(clip)
        if found is None:
            raise MalformedMessage(f"clip {clip} of stream {handle} is not open")
        return found

    # --- what the daemon says -----------------------------------------------------------------------------

    def welcome(self, instance: bytes, pid: int) -> None:
        """Answer Hello."""
        self.send(msg.Welcome(version=PROTOCOL_VERSION, instance=instance, pid=pid, max_frame_bytes=MAX_FRAME_BYTES))

    def stream_opened(self, handle: int, *, acked_seq: int, suffix: int, credit: int) -> None:
        """Answer OpenStream with what is committed, the file-name suffix, and credit in bytes."""
        if stream := self.streams.get(handle):
            stream.outstanding = credit
            self.send(msg.StreamOpened(handle=handle, acked_seq=acked_seq, suffix=suffix, credit=credit))

    def arena_answer(self, handle: int, *, usable: bool, spool: int = 0) -> None:
        """Answer OpenArena: whether it is usable, and the descriptor of its spool."""
        if stream := self.streams.get(handle):
            stream.arena = stream.arena if usable else None
            self.send(msg.ArenaReply(handle=handle, usable=usable, spool=spool))

    def refuse_stream(self, handle: int, code: str, text: str) -> None:
        """Answer OpenStream where its folder cannot be used."""
        if self.streams.pop(handle, None):
            self.send(msg.StreamRefused(handle=handle, code=code, text=_words(text)))

    def grant(self, handle: int, nbytes: int, *, saturated: bool) -> None:
        """Add credit in bytes (none, where only ``saturated`` is news)."""
        if stream := self.streams.get(handle):
            stream.outstanding += nbytes
            self.send(msg.Credit(handle=handle, nbytes=nbytes, saturated=saturated))

    def ack(self, handle: int, seq: int) -> None:
        """Say that the stream's records up to ``seq`` are committed."""
        self.send(msg.Ack(handle, seq))

    def again(self, handle: int) -> None:
        """Ask for what was not taken of a stream, which may have been refused or closed meanwhile."""
        self.send(msg.Again(handle))

    def clip_done(self, handle: int, clip: int, *, file: str, encoded: int, error: str) -> None:
        """Say that a clip's file is final, or that it will not be."""
        self.send(msg.ClipDone(handle=handle, clip=clip, file=file, encoded=encoded, error=_words(error)))

    def flushed(self, token: int, *, clips: int, frames: int) -> None:
        """Answer Flush with what remains."""
        self.send(msg.Flushed(token=token, clips=clips, frames=frames))

    def stats(self, token: int, json: bytes) -> None:
        """Answer StatsRequest; with ``{"error": ...}`` where the JSON is larger than the wire takes."""
        if len(json) > MAX_STATS_BYTES:
            json = b'{"error": "the statistics are %d bytes, too large for one message"}' % len(json)
        self.send(msg.StatsReply(token, json))

    def run(self, token: int, *, suffix: int, steps: int, episodes: Mapping[int, int]) -> None:
        """Answer RunRequest with how far the run came."""
        if EPISODE_BYTES * len(episodes) > MAX_EPISODES_BYTES:
            self.no_run(token, FOLDER, f"{len(episodes)} sub-environments are more than one message has room for")
            return
        found = RunReply(
            token=token,
            found=True,
            suffix=suffix,
            steps=min(steps, MAX_INT),
            code="",
            text="",
            episodes=pack_episodes(episodes),
        )
        self.send(found)

    def no_run(self, token: int, code: str = "", text: str = "") -> None:
        """Answer RunRequest where the folder has no run, or with why that cannot be said."""
        self.send(RunReply(token=token, found=False, suffix=0, steps=0, code=code, text=_words(text), episodes=b""))

    def refuse(self, code: str, text: str) -> None:
        """Turn the peer away for a reason outside of the protocol, such as who or what it is."""
        self.send(msg.Refused(code=code, version=PROTOCOL_VERSION, text=_words(text)))
        self.state = State.CLOSED

    def goodbye(self, reason: str) -> None:
        """Leave in good order."""
        self.send(msg.Goodbye(_words(reason)))
        self.state = State.CLOSED


def _words(text: str) -> str:
    """Any text, an exception's for example, made fit for the wire: cut short, valid Unicode, no NUL."""
    return text[:1000].encode(errors="backslashreplace").decode().replace("\0", "\\0")[:1000]
