"""Altered messages for the decoder and the two sessions, in this process."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mutations import Mutator, corpus

from offcam_proto import codec
from offcam_proto import messages as msg
from offcam_proto import server_session as server
from offcam_proto.client_session import ClientSession
from offcam_proto.client_session import State as ClientState
from offcam_proto.errors import RemoteProtocolError
from offcam_proto.limits import PROTOCOL_VERSION
from offcam_proto.records import EpisodeRecord

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

REASONS = {"malformed", "limit", "version", "protocol"}
ID = bytes(range(16))
HELLO = msg.Hello(msg.Hello.MAGIC, PROTOCOL_VERSION, ID, 1, "h", "c")
STREAMS = [msg.OpenStream(handle, ID, "/r", "v", 0, True, "E-v0", 1, False, 0.0) for handle in (0, 1)]
CLIPS = [msg.OpenClip(1, clip, "v", 1, 30.0, 1, 1, 0, 0, 0.0, 18) for clip in (0, 1)]
ARENA = msg.OpenArena(1, 17, ID, 65_536, 32)
RECORD = EpisodeRecord(0, 0, 1.0, 1, 0.1, 0.0, True, False, None)


@dataclass
class Tally:
    """What became of the messages.

    Attributes:
        accepted: of each type.
        refused: for each reason.
        slowest: seconds of CPU that one message took at most; nothing in it waits.
    """

    accepted: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0


def fuzz_server(count: int, seed: int) -> Tally:
    """Give altered messages to a session as the daemon has it, begun anew after each breach."""
    tally, session = Tally(), _server_session()
    for parts in _timed(Mutator(corpus("client"), seed), count, tally):
        try:
            message = session.receive(parts)
        except RemoteProtocolError as error:  # noqa: PERF203 - each message is refused by itself
            tally.refused[error.reason] += 1
            _check_refusal(session, error)
            session = _server_session()
        else:
            tally.accepted[type(message).__name__] += 1
            if message is not None:
                _check_round_trip(codec.decode_client, message)
            if isinstance(message, msg.Records):
                _unpack(message.bodies, tally)
            if session.state is not server.State.OPEN or len(session.streams) > 100:
                session = _server_session()
    return tally


def _timed(mutator: Mutator, count: int, tally: Tally) -> Iterator[list[bytes]]:
    """Altered messages; notes what each costs whoever asks for the next."""
    for _ in range(count):
        parts = mutator.one()
        began = time.thread_time()
        yield parts
        tally.slowest = max(tally.slowest, time.thread_time() - began)


def _server_session() -> server.ServerSession:
    session = server.ServerSession()
    for message in (HELLO, *STREAMS):
        session.receive(codec.encode(message))
    session.stream_opened(1, acked_seq=0, suffix=0, credit=1 << 30)
    for message in (*CLIPS, ARENA):
        session.receive(codec.encode(message))
    session.arena_answer(1, usable=True)
    session.take()
    return session


def _check_refusal(session: server.ServerSession, error: RemoteProtocolError) -> None:
    """It is closed, with exactly one Refused to be sent, that says why."""
    assert error.reason in REASONS
    assert session.state is server.State.CLOSED
    (answer,) = session.take()
    refused = codec.decode_server(answer)
    assert isinstance(refused, msg.Refused)
    assert refused.code == error.reason
    assert session.receive([b"\xc1"]) is None, "a closed session does not even read"


def _check_round_trip(decode: object, message: msg.Message) -> None:
    """What was accepted is a valid message: it can be said, and means the same."""
    parts = codec.encode(message)
    assert callable(decode)
    assert codec.encode(decode(parts)) == parts


def _unpack(bodies: Sequence[bytes], tally: Tally) -> None:
    for body in bodies:
        try:
            record = codec.unpack_record(body)
        except RemoteProtocolError as error:  # noqa: PERF203 - each record is refused by itself
            tally.refused[f"record {error.reason}"] += 1
        else:
            assert codec.pack_record(codec.unpack_record(codec.pack_record(record))) == codec.pack_record(record)
            tally.accepted[type(record).__name__] += 1


def fuzz_client(count: int, seed: int) -> Tally:
    """Give altered answers to a session as the client has it; after a breach it comes back, as the client does."""
    tally, session = Tally(), _client_session()
    for parts in _timed(Mutator(corpus("daemon"), seed), count, tally):
        try:
            message = session.receive(parts)
        except RemoteProtocolError as error:
            tally.refused[error.reason] += 1
            session.lost()
        else:
            tally.accepted[type(message).__name__] += 1
            _check_round_trip(codec.decode_server, message)
        session = _ready(session)
    return tally


def _client_session() -> ClientSession:
    session = ClientSession(ID, pid=1, host="h", client="c")
    for info in STREAMS:
        session.open_stream(info).record(RECORD)
    return _ready(session)


def _ready(session: ClientSession) -> ClientSession:
    """The session, open and with work for the next answer; a new one where this one ended for good."""
    session.take()
    if session.state in (ClientState.REFUSED, ClientState.CLOSED):
        return _client_session()
    if session.state is not ClientState.OPEN:
        session.connect()
        session.receive(codec.encode(msg.Welcome(PROTOCOL_VERSION, ID, 1, 1)))
        for handle in list(session.streams):
            session.receive(codec.encode(msg.StreamOpened(handle, 0, 0, 1 << 20)))
            if session.streams[handle].live:
                session.streams[handle].offer_arena(ARENA.descriptor, ID, ARENA.slot_bytes, ARENA.slots)
    for stream in session.streams.values():
        if stream.unacked < 4:
            stream.record(RECORD)
    return session
