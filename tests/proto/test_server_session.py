"""The daemon's session: every transition, every breach, and what it sends at each."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from offcam_proto import codec, limits
from offcam_proto import messages as msg
from offcam_proto.errors import LimitExceeded, MalformedMessage, RemoteProtocolError, VersionMismatch
from offcam_proto.layout import FrameLayout
from offcam_proto.resuming import EPISODE_BYTES, RunReply, RunRequest
from offcam_proto.server_session import ServerSession, State

HELLO = msg.Hello(msg.Hello.MAGIC, limits.PROTOCOL_VERSION, bytes(16), 1, "h", "c")
STREAM = msg.OpenStream(1, bytes(16), "/r", "rl-video", 0, True, "CartPole-v1", 1, False, 0.0)
CLIP = msg.OpenClip(1, 0, "v", 1, 30.0, 1, 1, 0, 0, 0.0, 4)
LAYOUT = FrameLayout((2, 2), (2, 1), 0, 4)
FRAME = msg.Frame(1, 0, 0, (LAYOUT,), (b"abcd",))
RECORDS = msg.Records(1, 1, (b"x",))
ARENA = msg.OpenArena(1, 9, bytes(16), 8, 3)
SLOTS = msg.SlotFrames(1, 0, (LAYOUT,), ((0, 0), (1, 2)))


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
    [STREAM, CLIP, FRAME, ARENA, SLOTS, RECORDS, msg.EndClip(1, 0, True), msg.CloseStream(1), msg.Flush(1),
     msg.StatsRequest(1), RunRequest(1, "/r", ""), msg.Goodbye("")],
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


@pytest.mark.parametrize("version", [0, limits.PROTOCOL_VERSION + 1, limits.MAX_INT])
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
        ([], ARENA, "stream 1 is not open"),
        ([], SLOTS, "stream 1 is not open"),
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


# --- frames in slots --------------------------------------------------------------------------------------


def with_arena(credit: int = 100) -> ServerSession:
    session = greeted(STREAM, CLIP, ARENA, credit=credit)
    session.arena_answer(1, usable=True)
    assert sent(session) == [msg.ArenaReply(1, True, 0)]
    return session


def test_frames_in_slots_are_frames():
    session = with_arena(credit=20)
    say(session, SLOTS, replace(FRAME, index=2), replace(SLOTS, frames=((3, 2), (9, 2))))
    assert (session.streams[1].outstanding, session.streams[1].clips[0].last_index) == (0, 9)


def test_an_arena_that_is_not_usable_is_none():
    session = greeted(STREAM, CLIP, ARENA)
    session.arena_answer(1, usable=False)
    assert sent(session) == [msg.ArenaReply(1, False, 0)]
    breach(session, SLOTS, MalformedMessage, "frames in slots of stream 1, which has no arena")


def test_the_last_arena_is_the_one():
    session = with_arena()
    say(session, replace(ARENA, slot_bytes=4, slots=1))
    session.arena_answer(1, usable=True)
    session.take()
    breach(session, SLOTS, MalformedMessage, r"slots \[0, 2\] of an arena of 1")


def test_an_arena_ends_with_its_session():
    session = with_arena()
    say(session, HELLO, STREAM)
    session.stream_opened(1, acked_seq=0, suffix=0, credit=100)
    say(session, CLIP)
    session.take()
    breach(session, SLOTS, MalformedMessage, "has no arena")


def test_nothing_is_said_of_the_arena_of_a_stream_that_is_closed():
    session = greeted(STREAM, ARENA, msg.CloseStream(1))
    session.arena_answer(1, usable=True)
    assert session.take() == []


@pytest.mark.parametrize(
    ("message", "error", "words"),
    [
        (replace(SLOTS, frames=((0, 3),)), MalformedMessage, r"slots \[3\] of an arena of 3"),
        (replace(SLOTS, frames=((0, 0), (1, 63))), MalformedMessage, r"slots \[0, 63\] of an arena of 3"),
        (replace(SLOTS, layouts=(LAYOUT,) * 3), LimitExceeded, "a frame of 12 bytes in slots of 8"),
        (replace(SLOTS, layouts=(LAYOUT,) * 2), MalformedMessage, "2 tiles for a grid of 1 x 1"),
        (replace(SLOTS, frames=((1, 0), (1, 1))), MalformedMessage, "frame 1 after frame 1"),
        (replace(SLOTS, frames=((2, 0), (1, 1))), MalformedMessage, "frame 1 after frame 2"),
        (replace(SLOTS, clip=1), MalformedMessage, "clip 1 of stream 1 is not open"),
        (replace(SLOTS, frames=tuple((n, 0) for n in range(6))), LimitExceeded, "24 bytes for 20 bytes of credit"),
    ],
)
def test_a_breach_with_slots(message, error, words):
    breach(with_arena(credit=20), message, error, words)


def unnamed(session: ServerSession, *frames: tuple[int, int, int]) -> list[tuple[int, int]]:
    """Index and slot of the frames that are taken of those that were written: clip, index and slot of each."""
    return [message.frames[0] for message in session.unnamed(1, frames)]


def test_what_a_client_could_not_name_is_checked_like_what_it_named():
    session = with_arena(credit=20)
    say(session, SLOTS)
    assert unnamed(session, (0, 1, 0), (0, 5, 1), (0, 4, 0), (0, 6, 3), (0, 2**64 - 1, 0), (1, 7, 0)) == [(5, 1)]
    assert unnamed(session, (0, 7, 0), (0, 8, 1), (0, 9, 2)) == [(7, 0), (8, 1)], "the credit is spent then"
    assert session.streams[1].outstanding == 0
    assert (session.state, session.take(), session.unnamed(2, [(0, 9, 0)])) == (State.OPEN, [], [])


def test_how_unnamed_frames_lie_only_a_named_one_tells():
    session = with_arena()
    say(session, FRAME)
    assert unnamed(session, (0, 1, 0)) == []
    say(session, replace(SLOTS, frames=((1, 1),)), msg.EndClip(1, 0, True))
    assert unnamed(session, (0, 2, 0)) == []


def test_unnamed_frames_fit_the_slots_of_the_last_arena():
    session = with_arena()
    say(session, SLOTS, replace(ARENA, slot_bytes=3))
    session.arena_answer(1, usable=True)
    assert unnamed(session, (0, 2, 0)) == []
    assert session.streams[1].clips[0].last_index == 1


def test_frames_in_slots_and_in_messages_are_one_sequence():
    session = with_arena()
    say(session, replace(FRAME, index=1))
    breach(session, SLOTS, MalformedMessage, "frame 0 after frame 1")


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


def test_how_far_a_run_came():
    session = greeted()
    say(session, RunRequest(7, "/r", "v"))
    session.run(7, suffix=2, steps=9, episodes={0: 3, 5: limits.MAX_INT})
    session.no_run(8)
    session.no_run(9, "folder", "damaged")
    answer, *others = sent(session)
    assert (answer.token, answer.found, answer.suffix, answer.steps) == (7, True, 2, 9)
    assert answer.last_episodes == {0: 3, 5: limits.MAX_INT}
    assert others == [RunReply(8, False, 0, 0, "", "", b""), RunReply(9, False, 0, 0, "folder", "damaged", b"")]


def test_what_no_answer_has_room_for_is_said_and_no_breach():
    session = greeted()
    most = limits.MAX_EPISODES_BYTES // EPISODE_BYTES
    session.run(7, suffix=0, steps=2 * limits.MAX_INT, episodes=dict.fromkeys(range(most), 0))
    session.run(8, suffix=0, steps=0, episodes=dict.fromkeys(range(most + 1), 0))
    most_there_is, too_many = sent(session)
    assert (len(most_there_is.last_episodes), most_there_is.steps) == (most, limits.MAX_INT)
    assert (too_many.found, too_many.code) == (False, "folder")


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
