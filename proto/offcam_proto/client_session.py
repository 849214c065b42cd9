"""The client's side of the protocol, without I/O: what to send, and what the daemon's answers mean.

A shell performs it: it sends what `ClientSession.take` and `ClientStream.frame` return, hands received
parts to `ClientSession.receive`, and says `ClientSession.lost` when the connection broke.

==============  ==========================  =======================================
state           event                       next state
==============  ==========================  =======================================
IDLE, GREETING  `connect` (Hello goes out)  GREETING
GREETING        Welcome                     OPEN, all streams are asked for anew
OPEN            SayHello                    IDLE, nothing is lost but frames
GREETING, OPEN  Goodbye, `lost`             IDLE, nothing is lost but frames
not CLOSED      Refused                     REFUSED, for good
any             `close`                     CLOSED, for good
==============  ==========================  =======================================

Whatever else arrives is late, an answer to something that a lost connection or an older Hello settled, and
is passed over.
"""

from __future__ import annotations

import enum
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

from offcam_proto import codec
from offcam_proto.arena import ArenaReply, OpenArena, SlotFrames
from offcam_proto.errors import LocalProtocolError, RemoteProtocolError
from offcam_proto.limits import (
    MAX_CLIPS_PER_STREAM,
    MAX_HEADER_BYTES,
    MAX_RECORDS_PER_MESSAGE,
    MAX_SLOT_FRAMES,
    MAX_STREAMS_PER_SESSION,
    MAX_UNACKED_RECORDS,
    PROTOCOL_VERSION,
)
from offcam_proto.messages import (
    Ack,
    Again,
    Buffer,
    CloseStream,
    Credit,
    EndClip,
    Flush,
    Frame,
    Goodbye,
    Hello,
    OpenClip,
    OpenStream,
    Records,
    Refused,
    SayHello,
    ServerMessage,
    StatsRequest,
    StreamOpened,
    StreamRefused,
    Welcome,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from offcam_proto.codec import Parts
    from offcam_proto.layout import FrameLayout
    from offcam_proto.messages import ClientMessage
    from offcam_proto.records import Record


FrameKind: TypeAlias = "tuple[int, int, tuple[FrameLayout, ...]]"
"""What frames in slots share that one message can name: their stream's handle, their clip and their layouts."""


class State(enum.Enum):
    """Where a client's session stands."""

    IDLE = "idle"
    GREETING = "greeting"
    OPEN = "open"
    REFUSED = "refused"
    CLOSED = "closed"


class ClientStream:
    """One stream as its client sees it. Made by `ClientSession.open_stream`.

    Attributes:
        info: what it was opened with; its ``suffix`` is the one the daemon gave.
        epoch: number of times the daemon has opened it. A clip opened in an earlier epoch is cut off there.
        live: whether the daemon has it open now, so that frames can be sent.
        credit: bytes of frames that may be sent.
        saturated: whether the daemon said that waiting for credit is in vain.
        arena: whether the daemon takes frames in its arena's slots; None while it has none, or no answer came.
        refused: why the daemon will not have it, or None.
        lost_records: records that are in no index: too many were waiting, or the index they were in is gone.
    """

    def __init__(self, session: ClientSession, info: OpenStream) -> None:
        self.info = info
        self.epoch = 0
        self.live = False
        self.credit = 0
        self.saturated = False
        self.arena: bool | None = None
        self.refused: str | None = None
        self.closed = False
        self.lost_records = 0
        self._session = session
        self._asked = False  # an OpenStream is on its way and not answered yet
        self._offer: OpenArena | None = None  # the last arena
        self._unanswered = 0  # offers of arenas
        self._clips: set[int] = set()  # open now, in this epoch
        self._last_clip = -1
        self._acked = 0
        self._next_seq = 1
        self._unacked: deque[tuple[int, bytes]] = deque()

    @property
    def unacked(self) -> int:
        """Records the daemon has not committed yet."""
        return len(self._unacked)

    def open_clip(self, clip: OpenClip) -> None:
        """Open a clip, with a number higher than any before. The stream must be `live`."""
        self._require_live()
        if clip.clip <= self._last_clip:
            raise LocalProtocolError(f"clip {clip.clip} after clip {self._last_clip}: numbers are never used again")
        if len(self._clips) >= MAX_CLIPS_PER_STREAM:
            raise LocalProtocolError(f"a stream has at most {MAX_CLIPS_PER_STREAM} open clips")
        self._last_clip = clip.clip
        self._clips.add(clip.clip)
        self._session.send(clip)

    def frame(
        self,
        clip: int,
        index: int,
        layouts: tuple[FrameLayout, ...],
        pixels: tuple[Buffer, ...],
    ) -> Parts | None:
        """Spend credit on a frame of an open clip.

        Returns:
            The parts to send, behind what `ClientSession.take` holds; or None where the clip is not open, as it was
            cut off when the connection broke, or where the stream's credit does not suffice.
        """
        frame = Frame(self.info.handle, clip, index, layouts, pixels)
        cost = frame.nbytes
        if clip not in self._clips or cost > self.credit:
            return None
        self.credit -= cost
        self._session.flush_slots()
        return codec.encode(frame)

    def offer_arena(self, descriptor: int, token: bytes, slot_bytes: int, slots: int) -> None:
        """Offer an arena in place of the one it has. The stream must be `live`; `arena` says when it may be used."""
        self._require_live()
        self._offer = OpenArena(self.info.handle, descriptor, token, slot_bytes, slots)
        self._session.send(self._offer)
        self._unanswered += 1
        self.arena = None

    def slot_frame(self, clip: int, index: int, layouts: tuple[FrameLayout, ...], slot: int) -> bool:
        """Spend credit on a frame of an open clip that lies in a slot of its arena, which must be usable.

        It goes out with the frames behind it, before anything else, or when `ClientSession.flush_slots` is called.

        Returns:
            False where it cannot be sent, for the reasons of `frame`.
        """
        offer, cost = self._offer, sum(layout.nbytes for layout in layouts)
        if not self.arena or offer is None:
            raise LocalProtocolError(f"stream {self.info.handle} has no arena that the daemon can use")
        if slot >= offer.slots or cost > offer.slot_bytes:
            raise LocalProtocolError(f"{cost} bytes in slot {slot} of {offer.slots} slots of {offer.slot_bytes} bytes")
        if clip not in self._clips or cost > self.credit:
            return False
        self.credit -= cost
        self._session.hold((self.info.handle, clip, layouts), index, slot)
        return True

    def end_clip(self, clip: int, *, complete: bool) -> None:
        """End a clip that was opened in this epoch; its `ClipRecord` should follow by `record`."""
        if clip not in self._clips:
            raise LocalProtocolError(f"clip {clip} of stream {self.info.handle} is not open")
        self._clips.remove(clip)
        self._session.send(EndClip(self.info.handle, clip, complete))

    def record(self, record: Record) -> bool:
        """Keep a record until the daemon has committed it, and send it if the stream is live.

        Returns:
            False where it was counted as lost: too many are waiting, or it is one stream too many.
        """
        if self.closed:
            raise LocalProtocolError(f"a record for stream {self.info.handle}, which is closed")
        if len(self._unacked) >= MAX_UNACKED_RECORDS or not self._session.knows(self):
            self.lost_records += 1
            return False
        body = codec.pack_record(record)
        self._unacked.append((self._next_seq, body))
        if self.live:
            self._session.send(Records(self.info.handle, self._next_seq, (body,)))
        self._next_seq += 1
        return True

    def close(self) -> None:
        """Say that nothing more comes. Its unacked records are still kept and replayed."""
        if not self.closed:
            self.closed = True
            if self.live:
                self._leave()
            self._session.forget_if_done(self)

    def ask(self) -> None:
        """Ask the daemon to open it."""
        self._asked = True
        self.refused = None
        self._session.send(self.info)

    def opened(self, message: StreamOpened) -> None:
        """The daemon has (re)opened it: settle what is acked, send the rest again."""
        if not self._asked:
            return
        self._asked = False
        self._agree(message.acked_seq)
        self.info = replace(self.info, suffix=message.suffix)
        self.epoch += 1
        self.live = True
        self.saturated = False
        self.credit = message.credit
        self._send_unacked()
        if self.closed:
            self._leave()

    def again(self) -> None:
        """The daemon has room for what it did not take: send that once more, or ask it once more."""
        if self.live:
            self._send_unacked()
        elif not self._asked and (self.refused is not None or self._unacked):
            self.ask()

    def turned_down(self, text: str) -> None:
        """The daemon will not have it. Its records are kept: another daemon may."""
        if self._asked:
            self.lost()
            self.refused = text
            self._session.forget_if_done(self)

    def arena_answered(self, message: ArenaReply) -> None:
        """The daemon can use the arena that was offered, or cannot. An answer about an earlier one is passed over."""
        if self._unanswered:
            self._unanswered -= 1
            self.arena = None if self._unanswered else message.usable

    def granted(self, message: Credit) -> None:
        """More credit has come."""
        if self.live:
            self.credit += message.nbytes
            self.saturated = message.saturated

    def acked(self, seq: int) -> None:
        """Forget the records up to ``seq``: they are committed."""
        if seq >= self._next_seq:
            raise RemoteProtocolError(f"the daemon acked record {seq}, only {self._next_seq - 1} were sent")
        self._acked = max(self._acked, seq)
        while self._unacked and self._unacked[0][0] <= seq:
            self._unacked.popleft()
        self._session.forget_if_done(self)

    def lost(self) -> None:
        """The connection is gone: frames cannot be sent, records wait for the next opening."""
        self._asked = False
        self.live = False
        self.credit = 0
        self.arena = None
        self._unanswered = 0
        self._clips.clear()

    @property
    def done(self) -> bool:
        """Whether nothing of it is left to be said or heard."""
        return self.closed and not self._unacked and not self._asked

    def _send_unacked(self) -> None:
        for batch in _batches(self._unacked):
            self._session.send(
                Records(self.info.handle, batch[0][0], tuple(body for _, body in batch)),
            )

    def _leave(self) -> None:
        """Nothing may follow a CloseStream."""
        self._session.send(CloseStream(self.info.handle))
        self.lost()

    def _agree(self, acked_seq: int) -> None:
        """Go on from the daemon's last record.

        Where that is earlier than what was acked, the index was replaced by an older one: what was in it
        cannot be sent again, and the rest takes the next numbers, so that no gap keeps it out.
        """
        gone = max(self._acked - acked_seq, 0)
        if gone:
            self.lost_records += gone
            self._unacked = deque((seq - gone, body) for seq, body in self._unacked)
            self._next_seq -= gone
            self._acked = acked_seq
        self.acked(acked_seq)

    def _require_live(self) -> None:
        if not self.live:
            raise LocalProtocolError(f"stream {self.info.handle} is not open at the daemon")


class ClientSession:
    """One client process's session. Not thread-safe: its owner serialises the calls.

    Attributes:
        state: where it stands.
        refused: the daemon's words where it refused the session.
        instance: id of the daemon's current start, known from its Welcome on.
        streams: the streams that are open, or closed with records not acked yet, by handle.
        held: frames in slots that are held back, of all streams.
    """

    def __init__(self, session: bytes, *, pid: int, host: str, client: str) -> None:
        self.state = State.IDLE
        self.refused: Refused | None = None
        self.instance: bytes | None = None
        self.streams: dict[int, ClientStream] = {}
        self.held = 0
        self._hello = Hello(Hello.MAGIC, PROTOCOL_VERSION, session, pid, host, client)
        self._outbox: list[Parts] = []
        self._kinds: dict[int, tuple[FrameKind, list[tuple[int, int]]]] = {}  # of each stream, and what is held back
        self._next_handle = 1
        self._next_token = 1

    def take(self) -> list[Parts]:
        """Hand over what is to be sent, in order. Frames in slots may be held back: see `flush_slots`."""
        outbox, self._outbox = self._outbox, []
        return outbox

    def send(self, message: ClientMessage) -> None:
        """Queue a message for `take`."""
        self.flush_slots()
        self._outbox.append(codec.encode(message))

    def flush_slots(self) -> None:
        """Queue the frames in slots that are held back, so that one message names several of a stream's."""
        for kind, frames in self._kinds.values() if self.held else ():
            if frames:
                self._outbox.append(codec.encode(SlotFrames(*kind, tuple(frames))))
                frames.clear()
        self.held = 0

    def hold(self, kind: FrameKind, index: int, slot: int) -> None:
        """Hold back a frame in a slot; what it cannot share a message with is queued first.

        The first of its kind is not held back: it tells the daemon how the pixels lie in those that follow, should
        this process be killed before it names them.
        """
        known, frames = self._kinds.get(kind[0], (None, []))
        if known != kind or len(frames) == MAX_SLOT_FRAMES:
            self.flush_slots()
        if known == kind:
            frames.append((index, slot))
            self.held += 1
        else:
            self._kinds[kind[0]] = (kind, [])
            self._outbox.append(codec.encode(SlotFrames(*kind, ((index, slot),))))

    def connect(self) -> None:
        """Greet the daemon, or greet again where the answer to a first greeting may be lost."""
        if self.state not in (State.IDLE, State.GREETING):
            raise LocalProtocolError(f"cannot greet a daemon while {self.state.value}")
        self.state = State.GREETING
        self._discard()
        self.send(self._hello)

    def lost(self) -> None:
        """The connection broke, or the daemon left: everything but frames waits for the next one."""
        if self.state in (State.REFUSED, State.CLOSED):
            return
        self.state = State.IDLE
        self._discard()
        self._streams_lost()

    def _discard(self) -> None:
        self._outbox.clear()
        self._kinds.clear()
        self.held = 0

    def close(self) -> None:
        """Leave in good order."""
        if self.state is State.OPEN:
            self.send(Goodbye("the client is done"))
        self.state = State.CLOSED
        self._streams_lost()

    def open_stream(self, info: OpenStream) -> ClientStream:
        """Open a stream; its handle is set here. It becomes `live` when the daemon answers.

        One more than `MAX_STREAMS_PER_SESSION` is `refused` at once, and its records are lost.
        """
        handle = self._next_handle
        self._next_handle += 1
        stream = ClientStream(self, replace(info, handle=handle))
        if len(self.streams) >= MAX_STREAMS_PER_SESSION:
            stream.refused = f"a process can record at most {MAX_STREAMS_PER_SESSION} environments at a time"
            return stream
        self.streams[handle] = stream
        if self.state is State.OPEN:
            stream.ask()
        return stream

    @property
    def settled(self) -> bool:
        """Whether no record waits for a commit that can still come."""
        return all(not stream.unacked or stream.refused is not None for stream in self.streams.values())

    def flush(self) -> int:
        """Ask to be told when everything ended so far is final. Returns the token of the answer."""
        return self._ask(Flush)

    def request_stats(self) -> int:
        """Ask for the daemon's statistics. Returns the token of the answer."""
        return self._ask(StatsRequest)

    def receive(self, parts: Sequence[Buffer]) -> ServerMessage:
        """Take in one message of the daemon, and return it for whoever else it concerns.

        Raises:
            RemoteProtocolError: the daemon sent something the protocol does not allow.
        """
        message = codec.decode_server(parts)
        if self.state in (State.REFUSED, State.CLOSED):
            return message
        match message:
            case Refused():
                self.lost()
                self.state = State.REFUSED
                self.refused = message
            case Goodbye():
                self.lost()
            case Welcome() if self.state is State.GREETING:
                self._welcomed(message)
            case SayHello() if self.state is State.OPEN:
                self.lost()
            case StreamOpened() | StreamRefused() | ArenaReply() | Credit() | Ack() | Again() if (
                self.state is State.OPEN
            ):
                if stream := self.streams.get(message.handle):
                    _tell(stream, message)
            case _:
                pass  # late, or news for the shell: ClipDone, Flushed and StatsReply change nothing here
        return message

    def knows(self, stream: ClientStream) -> bool:
        """Whether a stream is among its streams."""
        return self.streams.get(stream.info.handle) is stream

    def forget_if_done(self, stream: ClientStream) -> None:
        """Drop a closed stream whose records are all committed."""
        if stream.done:
            self.streams.pop(stream.info.handle, None)
            self._kinds.pop(stream.info.handle, None)

    def _streams_lost(self) -> None:
        for stream in list(self.streams.values()):
            stream.lost()
            self.forget_if_done(stream)

    def _welcomed(self, message: Welcome) -> None:
        if message.version != PROTOCOL_VERSION:
            raise codec.version_mismatch(message.version, PROTOCOL_VERSION)
        self.state = State.OPEN
        self.instance = message.instance
        for stream in self.streams.values():
            if stream.refused is None or stream.unacked:
                stream.ask()

    def _ask(self, question: type[Flush | StatsRequest]) -> int:
        if self.state is not State.OPEN:
            raise LocalProtocolError(f"cannot ask a daemon while {self.state.value}")
        token = self._next_token
        self._next_token += 1
        self.send(question(token))
        return token


def _tell(stream: ClientStream, message: StreamOpened | StreamRefused | ArenaReply | Credit | Ack | Again) -> None:
    match message:
        case StreamOpened():
            stream.opened(message)
        case ArenaReply():
            stream.arena_answered(message)
        case StreamRefused():
            stream.turned_down(message.text)
        case Credit():
            stream.granted(message)
        case Ack():
            stream.acked(message.seq)
        case Again():
            stream.again()


def _batches(records: Sequence[tuple[int, bytes]]) -> list[list[tuple[int, bytes]]]:
    """Split records so that each batch fits one message."""
    batches: list[list[tuple[int, bytes]]] = []
    room = 0
    for seq, body in records:
        cost = len(body) + 8
        if not batches or len(batches[-1]) == MAX_RECORDS_PER_MESSAGE or cost > room:
            batches.append([])
            room = MAX_HEADER_BYTES - 64
        batches[-1].append((seq, body))
        room -= cost
    return batches
