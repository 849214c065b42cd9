"""The client's side of the protocol, without I/O: what to send, and what the daemon's answers mean.

A shell performs it: it sends what `ClientSession.take` and `ClientStream.frame` return, hands received
parts to `ClientSession.receive`, and says `ClientSession.lost` when the connection broke.

===========  ==========================  ============================
state        event                       next state
===========  ==========================  ============================
IDLE         `connect` (Hello goes out)  GREETING
GREETING     Welcome                     OPEN, all streams reopened
any          Refused                     REFUSED, for good
any          SayHello, Goodbye, `lost`   IDLE, nothing is lost but frames
any          `close`                     CLOSED
===========  ==========================  ============================
"""

from __future__ import annotations

import enum
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING

from offcam_proto import codec
from offcam_proto.errors import LocalProtocolError, RemoteProtocolError
from offcam_proto.limits import (
    MAX_HEADER_BYTES,
    MAX_RECORDS_PER_MESSAGE,
    MAX_UNACKED_RECORDS,
    PROTOCOL_VERSION,
)
from offcam_proto.messages import (
    Ack,
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
        refused: why the daemon will not have it, or None.
        lost_records: records that were never sent because the daemon did not answer for too long.
    """

    def __init__(self, session: ClientSession, info: OpenStream) -> None:
        self.info = info
        self.epoch = 0
        self.live = False
        self.credit = 0
        self.saturated = False
        self.refused: str | None = None
        self.closed = False
        self.lost_records = 0
        self._session = session
        self._next_seq = 1
        self._unacked: deque[tuple[int, bytes]] = deque()

    @property
    def unacked(self) -> int:
        """Records the daemon has not committed yet."""
        return len(self._unacked)

    def open_clip(self, clip: OpenClip) -> None:
        """Open a clip. The stream must be `live`."""
        self._require_live()
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
            The parts to send, or None where the stream is not live or its credit does not suffice.
        """
        frame = Frame(self.info.handle, clip, index, layouts, pixels)
        cost = frame.nbytes
        if not self.live or cost > self.credit:
            return None
        self.credit -= cost
        return codec.encode(frame)

    def end_clip(self, clip: int, *, complete: bool) -> None:
        """End a clip that was opened in this epoch; its `ClipRecord` should follow by `record`."""
        self._require_live()
        self._session.send(EndClip(self.info.handle, clip, complete))

    def record(self, record: Record) -> bool:
        """Keep a record until the daemon has committed it, and send it if the stream is live.

        Returns:
            False where too many are waiting and this one was counted as lost.
        """
        if len(self._unacked) >= MAX_UNACKED_RECORDS:
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
                self._session.send(CloseStream(self.info.handle))
            self._session.forget_if_done(self)

    def opened(self, message: StreamOpened) -> None:
        """The daemon has (re)opened it: settle what is acked, send the rest again."""
        self.info = replace(self.info, suffix=message.suffix)
        self.epoch += 1
        self.live = True
        self.saturated = False
        self.credit = message.credit
        self.acked(message.acked_seq)
        for batch in _batches(self._unacked):
            self._session.send(
                Records(self.info.handle, batch[0][0], tuple(body for _, body in batch)),
            )
        if self.closed:
            self._session.send(CloseStream(self.info.handle))

    def acked(self, seq: int) -> None:
        """Forget the records up to ``seq``: they are committed."""
        if seq >= self._next_seq:
            raise RemoteProtocolError(f"the daemon acked record {seq}, only {self._next_seq - 1} were sent")
        while self._unacked and self._unacked[0][0] <= seq:
            self._unacked.popleft()
        self._session.forget_if_done(self)

    def lost(self) -> None:
        """The connection is gone: frames cannot be sent, records wait for the next opening."""
        self.live = False
        self.credit = 0

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
    """

    def __init__(self, session: bytes, *, pid: int, host: str, client: str) -> None:
        self.state = State.IDLE
        self.refused: Refused | None = None
        self.instance: bytes | None = None
        self.streams: dict[int, ClientStream] = {}
        self._hello = Hello(Hello.MAGIC, PROTOCOL_VERSION, session, pid, host, client)
        self._outbox: list[Parts] = []
        self._next_handle = 1
        self._next_token = 1

    def take(self) -> list[Parts]:
        """Hand over what is to be sent, in order."""
        outbox, self._outbox = self._outbox, []
        return outbox

    def send(self, message: ClientMessage) -> None:
        """Queue a message for `take`."""
        self._outbox.append(codec.encode(message))

    def connect(self) -> None:
        """Greet the daemon. Only from IDLE."""
        if self.state is not State.IDLE:
            raise LocalProtocolError(f"cannot greet a daemon while {self.state.value}")
        self.state = State.GREETING
        self._outbox.clear()
        self.send(self._hello)

    def lost(self) -> None:
        """The connection broke, or the daemon left: everything but frames waits for the next one."""
        if self.state in (State.REFUSED, State.CLOSED):
            return
        self.state = State.IDLE
        self._outbox.clear()
        for stream in self.streams.values():
            stream.lost()

    def close(self) -> None:
        """Leave in good order."""
        if self.state is State.OPEN:
            self.send(Goodbye("the client is done"))
        self.state = State.CLOSED

    def open_stream(self, info: OpenStream) -> ClientStream:
        """Open a stream; its handle is set here. It becomes `live` when the daemon answers."""
        handle = self._next_handle
        self._next_handle += 1
        stream = ClientStream(self, replace(info, handle=handle))
        self.streams[handle] = stream
        if self.state is State.OPEN:
            self.send(stream.info)
        return stream

    def flush(self) -> int:
        """Ask to be told when everything ended so far is final. Returns the token of the answer."""
        return self._ask(Flush)

    def request_stats(self) -> int:
        """Ask for the daemon's statistics. Returns the token of the answer."""
        return self._ask(StatsRequest)

    def receive(self, parts: Sequence[Buffer]) -> ServerMessage:  # noqa: C901 - one case for each message
        """Take in one message of the daemon, and return it for whoever else it concerns.

        Raises:
            RemoteProtocolError: the daemon sent something the protocol does not allow.
        """
        message = codec.decode_server(parts)
        match message:
            case Welcome():
                self._welcomed(message)
            case Refused():
                self.lost()
                self.state = State.REFUSED
                self.refused = message
            case SayHello() | Goodbye():
                self.lost()
            case StreamOpened():
                if stream := self.streams.get(message.handle):
                    stream.opened(message)
            case StreamRefused():
                if stream := self.streams.get(message.handle):
                    stream.refused = message.text
                    stream.lost()
            case Credit():
                if stream := self.streams.get(message.handle):
                    stream.credit += message.nbytes
                    stream.saturated = message.saturated
            case Ack():
                if stream := self.streams.get(message.handle):
                    stream.acked(message.seq)
            case _:
                pass  # ClipDone, Flushed and StatsReply change nothing here
        return message

    def forget_if_done(self, stream: ClientStream) -> None:
        """Drop a closed stream whose records are all committed."""
        if stream.closed and not stream.unacked:
            self.streams.pop(stream.info.handle, None)

    def _welcomed(self, message: Welcome) -> None:
        if self.state is not State.GREETING:
            raise RemoteProtocolError(f"a Welcome while {self.state.value}")
        self.state = State.OPEN
        self.instance = message.instance
        for stream in self.streams.values():
            if stream.refused is None:
                self.send(stream.info)

    def _ask(self, question: type[Flush | StatsRequest]) -> int:
        if self.state is not State.OPEN:
            raise LocalProtocolError(f"cannot ask a daemon while {self.state.value}")
        token = self._next_token
        self._next_token += 1
        self.send(question(token))
        return token


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
