"""The client's side of the protocol, without I/O: what to send, and what the daemon's answers mean.

A shell performs it: it sends what `ClientSession.take` and `ClientStream.frame` return, hands received
parts to `ClientSession.receive`, and says `ClientSession.lost` when the connection broke. Its streams and what
they gather to be sent are in `client_stream` and `client_outbox`; here is what concerns all of them.

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
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from msgspec.structs import replace

from offcam_proto import codec
from offcam_proto import messages as msg
from offcam_proto.backlog import Backlog
from offcam_proto.client_outbox import Outbox
from offcam_proto.client_stream import ClientStream
from offcam_proto.errors import LocalProtocolError
from offcam_proto.limits import MAX_STREAMS_PER_SESSION, PROTOCOL_VERSION
from offcam_proto.resuming import RunRequest

if TYPE_CHECKING:
    from offcam_proto.codec import Parts


class State(enum.Enum):
    """Where a client's session stands."""

    IDLE = "idle"
    GREETING = "greeting"
    OPEN = "open"
    REFUSED = "refused"
    CLOSED = "closed"


class ClientSession:
    """One client process's session. Not thread-safe: its owner serialises the calls.

    Attributes:
        state: what may be said now.
        refused: the daemon's words where it refused the session.
        instance: id of the daemon's current start, known from its Welcome on.
        pid: the daemon's process id, likewise.
        streams: the streams that are open, or closed with records not acked yet, by handle.
        hello: the message that opens the session.
        outbox: messages of the session and of its streams that wait to be sent.
    """

    def __init__(self, session: bytes, *, pid: int, host: str, client: str) -> None:
        self.state = State.IDLE
        self.refused: msg.Refused | None = None
        self.instance: bytes | None = None
        self.pid = 0
        self.streams: dict[int, ClientStream] = {}
        self.hello = msg.Hello(
            magic=msg.Hello.MAGIC, version=PROTOCOL_VERSION, session=session, pid=pid, host=host, client=client
        )
        self.outbox = Outbox()
        self._next_handle = 1
        self._next_token = 1

    @property
    def held(self) -> int:
        """Frames in slots that are held back, of all streams."""
        return self.outbox.held

    def take(self) -> list[Parts]:
        """Hand over what is to be sent, in order. Frames in slots may be held back: see `flush_slots`."""
        return self.outbox.take()

    def flush_slots(self) -> None:
        """Queue the frames in slots that are held back, so that one message names several of a stream's."""
        self.outbox.flush_slots()

    def send_held(self) -> None:
        """Queue the records that streams hold back: see `ClientStream.keep`."""
        for send_held in list(self.outbox.holders.values()):
            send_held()

    def connect(self) -> None:
        """Greet the daemon, or greet again where the answer to a first greeting may be lost."""
        if self.state not in (State.IDLE, State.GREETING):
            raise LocalProtocolError(f"cannot greet a daemon while {self.state.value}")
        self.state = State.GREETING
        self.outbox.discard()
        self.outbox.send(self.hello)

    def lost(self) -> None:
        """The connection broke, or the daemon left: everything but frames waits for the next one."""
        if self.state in (State.REFUSED, State.CLOSED):
            return
        self.state = State.IDLE
        self.outbox.discard()
        self._streams_lost()

    def close(self) -> None:
        """Leave in good order."""
        if self.state is State.OPEN:
            self.send_held()
            self.outbox.send(msg.Goodbye("the client is done"))
        self.state = State.CLOSED
        self._streams_lost()

    def open_stream(self, info: msg.OpenStream, backlog: Backlog | None = None) -> ClientStream:
        """Open a stream; its handle is set here. It becomes `live` when the daemon answers.

        ``backlog`` keeps its records until they are acked; by default one that keeps them in memory.
        A stream beyond `MAX_STREAMS_PER_SESSION` is `refused` at once, and its records are lost.
        """
        handle = self._next_handle
        self._next_handle += 1
        stream = ClientStream(self.outbox, replace(info, handle=handle), backlog or Backlog(), self._forget)
        if len(self.streams) >= MAX_STREAMS_PER_SESSION:
            stream.refuse_here(f"a process can record at most {MAX_STREAMS_PER_SESSION} environments at a time")
            return stream
        self.streams[handle] = stream
        if self.state is State.OPEN:
            self._ask_for(stream)
        return stream

    @property
    def settled(self) -> bool:
        """Whether no record waits for a commit that can still come."""
        return all(not stream.unacked or stream.refused is not None for stream in self.streams.values())

    def flush(self, *, urgent: bool = False) -> int:
        """Ask to be told when everything ended so far is final. Returns the token of the answer.

        Args:
            urgent: whether somebody waits for that, so that it is not to give way to other programs.
        """
        self.send_held()
        return self._ask(lambda token: msg.Flush(token, urgent))

    def request_stats(self) -> int:
        """Ask for the daemon's statistics. Returns the token of the answer."""
        return self._ask(msg.StatsRequest)

    def ask_run(self, folder: str, prefix: str) -> int:
        """Ask how far a run came, with streams of a prefix. Returns the token of the answer.

        A daemon that does not know the question refuses the whole session: ask in one that is used for nothing else.
        """
        return self._ask(lambda token: RunRequest(token, folder, prefix))

    def receive(self, parts: Sequence[msg.Buffer]) -> msg.ServerMessage:
        """Take in one message of the daemon, and return it for whoever else it concerns.

        Raises:
            RemoteProtocolError: the daemon sent something the protocol does not allow.
        """
        message = codec.decode_server(parts)
        if self.state in (State.REFUSED, State.CLOSED):
            return message
        match message:
            case msg.Refused():
                self.lost()
                self.state = State.REFUSED
                self.refused = message
            case msg.Goodbye():
                self.lost()
            case msg.Welcome() if self.state is State.GREETING:
                self._welcomed(message)
            case msg.SayHello() if self.state is State.OPEN:
                self.lost()
            case (
                msg.StreamOpened() | msg.StreamRefused() | msg.ArenaReply() | msg.Credit() | msg.Ack() | msg.Again()
            ) if self.state is State.OPEN:
                if stream := self.streams.get(message.handle):
                    stream.receive(message)
            case _:
                pass  # late, or news for the shell: ClipDone and answers to questions change nothing here
        return message

    def _forget(self, stream: ClientStream) -> None:
        self.streams.pop(stream.info.handle, None)
        self.outbox.forget(stream.info.handle)

    def _streams_lost(self) -> None:
        for stream in list(self.streams.values()):
            stream.lost()
            if stream.done:
                self._forget(stream)

    def _welcomed(self, message: msg.Welcome) -> None:
        if message.version != PROTOCOL_VERSION:
            raise codec.version_mismatch(message.version, PROTOCOL_VERSION)
        self.state = State.OPEN
        self.instance, self.pid = message.instance, message.pid
        for stream in self.streams.values():
            if stream.refused is None or stream.unacked:
                self._ask_for(stream)

    def _ask_for(self, stream: ClientStream) -> None:
        stream.daemon = self.instance or b"", self.pid
        stream.ask()

    def _ask(self, question: Callable[[int], msg.ClientMessage]) -> int:
        if self.state is not State.OPEN:
            raise LocalProtocolError(f"cannot ask a daemon while {self.state.value}")
        token = self._next_token
        self._next_token += 1
        self.outbox.send(question(token))
        return token
