"""A client's session in any state, and the daemon that it hears."""

from __future__ import annotations

from typing import TYPE_CHECKING

from offcam_proto import codec, limits
from offcam_proto import messages as msg
from offcam_proto.client_session import ClientSession, State
from offcam_proto.layout import FrameLayout
from offcam_proto.records import EpisodeRecord

if TYPE_CHECKING:
    from offcam_proto.client_stream import ClientStream

INSTANCE = bytes(range(16))
WELCOME = msg.Welcome(limits.PROTOCOL_VERSION, INSTANCE, 7, limits.MAX_FRAME_BYTES)
REFUSED = msg.Refused("limit", 1, "too much")
INFO = msg.OpenStream(0, bytes(16), "/r", "rl-video", 0, True, "CartPole-v1", 1, False, 0.0)
PIXEL = FrameLayout((1, 1), (1, 1), 0, 1)
ALL_STATES = list(State)


def episode(number: int = 0) -> EpisodeRecord:
    return EpisodeRecord(0, number, 1.0, 1, 1.0, 0.0, True, False, None)


def clip(number: int = 0, handle: int = 1) -> msg.OpenClip:
    return msg.OpenClip(handle, number, "v", 1, 30.0, 1, 1, 0, 0, 0.0, 1)


def sent(session: ClientSession) -> list[msg.ClientMessage]:
    return [codec.decode_client(parts) for parts in session.take()]


def hear(session: ClientSession, *messages: msg.ServerMessage) -> None:
    for message in messages:
        assert session.receive(codec.encode(message)) == message


def in_state(state: State) -> ClientSession:
    session = ClientSession(bytes(16), pid=1, host="h", client="c")
    if state is not State.IDLE:
        session.connect()
    if state is State.OPEN:
        hear(session, WELCOME)
    elif state is State.REFUSED:
        hear(session, REFUSED)
    elif state is State.CLOSED:
        session.close()
    session.take()
    assert session.state is state
    return session


def live_stream(credit: int = 100, acked_seq: int = 0) -> tuple[ClientSession, ClientStream]:
    session = in_state(State.OPEN)
    stream = session.open_stream(INFO)
    hear(session, msg.StreamOpened(1, acked_seq, 0, credit))
    session.take()
    assert stream.live
    return session, stream


def reconnect(session: ClientSession, *answers: msg.ServerMessage) -> list[msg.ClientMessage]:
    session.lost()
    session.connect()
    hear(session, WELCOME, *answers)
    return sent(session)[1:]
