"""The daemon's session: every transition, every breach, and what it sends at each."""

from __future__ import annotations

from dataclasses import replace

import pytest

from offcam_proto import codec, limits
from offcam_proto import messages as msg
from offcam_proto.errors import LimitExceeded, MalformedMessage, RemoteProtocolError, VersionMismatch
from offcam_proto.layout import FrameLayout
from offcam_proto.server_session import ServerSession, State

HELLO = msg.Hello(msg.Hello.MAGIC, limits.PROTOCOL_VERSION, bytes(16), 1, "h", "c")
STREAM = msg.OpenStream(1, bytes(16), "/r", "rl-video", 0, True, "CartPole-v1", 1, False, 0.0)
CLIP = msg.OpenClip(1, 0, "v", 1, 30.0, 1, 1, 0, 0, 0.0, 4)
LAYOUT = FrameLayout((2, 2), (2, 1), 0, 4)
FRAME = msg.Frame(1, 0, 0, (LAYOUT,), (b"abcd",))
RECORDS = msg.Records(1, 1, (b"x",))


def say(session: ServerSession, *messages: msg.ClientMessage) -> None:
    for message in messages:
        assert session.receive(codec.encode(message)) == message


def sent(session: ServerSession) -> list[msg.ServerMessage]:
    return [codec.decode_server(parts) for parts in session.take()]


def greeted(*messages: msg.ClientMessage, credit: int = 100) -> ServerSession:
    session = ServerSession()
    say(session, HELLO)
    for message in messages:
        say(session, message)
        if isinstance(message, msg.OpenStream):
            session.stream_opened(message.handle, acked_seq=0, suffix=0, credit=credit)
    session.take()
    return session


def breach(session: ServerSession, message: msg.ClientMessage, error: type[RemoteProtocolError], words: str) -> None:
    with pytest.raises(error, match=words):
        session.receive(codec.encode(message))
    assert session.state is State.CLOSED
    (refused,) = sent(session)
    assert isinstance(refused, msg.Refused)
    assert (refused.code, refused.version) == (error.reason, limits.PROTOCOL_VERSION)


# --- states -----------------------------------------------------------------------------------------------


def test_a_session_opens_with_a_hello():
    session = ServerSession()
    say(session, HELLO)
    session.welcome(bytes(16), 7)
    assert (session.state, session.hello) == (State.OPEN, HELLO)
    assert sent(session) == [msg.Welcome(limits.PROTOCOL_VERSION, bytes(16), 7, limits.MAX_FRAME_BYTES)]


@pytest.mark.parametrize(
    "message",
    [STREAM, CLIP, FRAME, RECORDS, msg.EndClip(1, 0, True), msg.CloseStream(1), msg.Flush(1), msg.StatsRequest(1),
     msg.Goodbye("")],
)  # fmt: skip
def test_who_has_not_said_hello_is_asked_to(message):
    session = ServerSession()
    assert session.receive(codec.encode(message)) is None
    assert session.state is State.NEW
    assert sent(session) == [msg.SayHello()]


def test_another_hello_begins_anew():
    session = greeted(STREAM, CLIP)
    say(session, replace(HELLO, pid=2))
    assert (session.state, session.streams) == (State.OPEN, {})
    say(session, STREAM, CLIP)


def test_after_a_goodbye_nothing_is_heard():
    session = greeted(STREAM)
    say(session, msg.Goodbye("done"))
    assert session.state is State.CLOSED
    for message in (HELLO, RECORDS, FRAME):
        assert session.receive(codec.encode(message)) is None
    assert session.receive([b"\xc1"]) is None
    assert (session.state, session.take()) == (State.CLOSED, [])


def test_the_daemon_may_leave():
    session = greeted(STREAM)
    session.goodbye("stopping")
    assert session.state is State.CLOSED
    assert sent(session) == [msg.Goodbye("stopping")]
    assert session.receive(codec.encode(RECORDS)) is None


@pytest.mark.parametrize("version", [0, 2, limits.MAX_INT])
def test_another_version_is_refused_with_the_fix(version):
    breach(ServerSession(), replace(HELLO, version=version), VersionMismatch, f"and the client {version}: install")


def test_noise_is_refused():
    session = ServerSession()
    with pytest.raises(MalformedMessage):
        session.receive([b"GET / HTTP/1.1\r\n"])
    assert session.state is State.CLOSED
    assert [message.code for message in sent(session)] == ["malformed"]


# --- what a peer may say when -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "message", "words"),
    [
        ([STREAM], STREAM, "stream 1 is open already"),
        ([], CLIP, "stream 1 is not open"),
        ([], FRAME, "stream 1 is not open"),
        ([], RECORDS, "stream 1 is not open"),
        ([], msg.EndClip(1, 0, True), "stream 1 is not open"),
        ([], msg.CloseStream(1), "stream 1 is not open"),
        ([STREAM, msg.CloseStream(1)], RECORDS, "stream 1 is not open"),
        ([STREAM, CLIP], CLIP, "clip 0 was opened before"),
        ([STREAM, CLIP, msg.EndClip(1, 0, True)], CLIP, "clip 0 was opened before"),
        ([STREAM, replace(CLIP, clip=5)], replace(CLIP, clip=4), "clip 4 was opened before"),
        ([STREAM], FRAME, "clip 0 of stream 1 is not open"),
        ([STREAM], msg.EndClip(1, 0, True), "clip 0 of stream 1 is not open"),
        ([STREAM, CLIP, msg.EndClip(1, 0, True)], FRAME, "clip 0 of stream 1 is not open"),
        ([STREAM, CLIP, FRAME], FRAME, "frame 0 after frame 0"),
        ([STREAM, CLIP, replace(FRAME, index=9)], replace(FRAME, index=8), "frame 8 after frame 9"),
        (
            [STREAM, CLIP, FRAME],
            msg.Frame(1, 0, 1, (FrameLayout((1, 4), (4, 1), 0, 4),), (b"abcd",)),
            "frames of one clip are of one size",
        ),
    ],
)
def test_a_breach_of_order(before, message, words):
    breach(greeted(*before), message, MalformedMessage, words)


@pytest.mark.parametrize(
    ("rows", "cols", "tiles", "allowed"),
    [
        (1, 1, 1, True), (1, 1, 2, False), (2, 2, 4, True), (2, 2, 3, True), (2, 2, 2, False), (2, 2, 5, False),
        (2, 4, 7, True), (2, 4, 6, False), (2, 4, 4, False), (1, 4, 3, False), (4096, 4096, 1, False),
    ],
)  # fmt: skip
def test_a_frame_has_the_tiles_of_its_clip_s_grid(rows, cols, tiles, allowed):
    session = greeted(STREAM, replace(CLIP, rows=rows, cols=cols))
    frame = msg.Frame(1, 0, 0, (LAYOUT,) * tiles, (b"abcd",) * tiles)
    if allowed:
        say(session, frame)
    else:
        breach(session, frame, MalformedMessage, f"{tiles} tiles for a grid of {rows} x {cols}")


def test_another_layout_of_the_same_size_is_no_breach():
    flipped = msg.Frame(1, 0, 7, (FrameLayout((2, 2), (-2, 1), 2, 4),), (b"abcd",))
    say(greeted(STREAM, CLIP), FRAME, flipped)


# --- credit -----------------------------------------------------------------------------------------------


def test_credit_is_what_was_granted_and_no_byte_more():
    session = greeted(STREAM, CLIP, credit=4)
    say(session, FRAME)
    session.grant(1, 3, saturated=True)
    session.grant(1, 1, saturated=False)
    say(session, replace(FRAME, index=1))
    assert session.streams[1].outstanding == 0
    assert sent(session) == [msg.Credit(1, 3, True), msg.Credit(1, 1, False)]
    breach(session, replace(FRAME, index=2), LimitExceeded, "4 bytes for 0 bytes of credit")


def test_there_is_no_credit_before_the_stream_is_opened():
    session = ServerSession()
    say(session, HELLO, STREAM, CLIP)
    breach(session, FRAME, LimitExceeded, "4 bytes for 0 bytes of credit")


def test_credit_belongs_to_one_stream_and_ends_with_it():
    other = replace(STREAM, handle=2, stream=bytes(range(16)))
    session = greeted(STREAM, other, replace(CLIP, handle=2), credit=4)
    say(session, msg.CloseStream(1), STREAM, CLIP)
    breach(session, FRAME, LimitExceeded, "4 bytes for 0 bytes of credit")


# --- limits -----------------------------------------------------------------------------------------------


def test_most_streams():
    session = greeted()
    streams = [replace(STREAM, handle=number) for number in range(limits.MAX_STREAMS_PER_SESSION)]
    say(session, *streams)
    say(session, msg.CloseStream(0), streams[0])
    one_more = replace(STREAM, handle=limits.MAX_STREAMS_PER_SESSION)
    breach(session, one_more, LimitExceeded, f"at most {limits.MAX_STREAMS_PER_SESSION} open streams")


def test_most_clips():
    session = greeted(STREAM)
    most = limits.MAX_CLIPS_PER_STREAM
    say(session, *(replace(CLIP, clip=number) for number in range(most)))
    say(session, msg.EndClip(1, 0, True), replace(CLIP, clip=most))
    breach(session, replace(CLIP, clip=most + 1), LimitExceeded, f"at most {most} open clips")


# --- what the daemon says ---------------------------------------------------------------------------------


def test_its_answers():
    session = greeted(STREAM)
    session.ack(1, 5)
    session.clip_done(1, 0, file="v.mp4", encoded=3, error="")
    session.flushed(4, clips=1, frames=20)
    session.stats(5, b"{}")
    assert sent(session) == [
        msg.Ack(1, 5), msg.ClipDone(1, 0, "v.mp4", 3, ""), msg.Flushed(4, 1, 20), msg.StatsReply(5, b"{}"),
    ]  # fmt: skip
    assert session.take() == []


def test_a_refused_stream_is_not_open():
    session = ServerSession()
    say(session, HELLO, STREAM)
    session.refuse_stream(1, "folder", "read-only")
    assert sent(session) == [msg.StreamRefused(1, "folder", "read-only")]
    breach(session, RECORDS, MalformedMessage, "stream 1 is not open")


def test_nothing_is_said_of_a_stream_that_is_closed_meanwhile():
    session = greeted(STREAM)
    say(session, msg.CloseStream(1))
    session.stream_opened(1, acked_seq=0, suffix=0, credit=9)
    session.grant(1, 9, saturated=False)
    session.refuse_stream(1, "folder", "read-only")
    assert session.take() == []


def test_an_ack_reaches_a_stream_that_is_closed_meanwhile():
    session = greeted(STREAM, msg.CloseStream(1))
    session.ack(1, 3)
    assert sent(session) == [msg.Ack(1, 3)]


@pytest.mark.parametrize("text", ["x" * 100_000, "\udcff\ud800" * 900, "a\0b", "é\U0001f3a5" * 2000])
def test_no_error_text_can_keep_an_answer_from_being_sent(text):
    session = greeted(STREAM, replace(STREAM, handle=2))
    session.clip_done(1, 0, file="", encoded=0, error=text)
    session.refuse_stream(2, "folder", text)
    session.goodbye(text)
    assert len(sent(session)) == 3


def test_statistics_of_any_size_are_answered():
    session = greeted()
    session.stats(1, b" " * limits.MAX_STATS_BYTES)
    session.stats(2, b" " * (limits.MAX_STATS_BYTES + 1))
    large, too_large = sent(session)
    assert len(large.json) == limits.MAX_STATS_BYTES
    assert b"too large for one message" in too_large.json
