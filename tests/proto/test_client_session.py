"""The client's session: every transition, and what it sends at each."""

from __future__ import annotations

import math

import pytest

from offcam_proto import codec, limits
from offcam_proto import messages as msg
from offcam_proto.arena import ArenaReply, OpenArena, SlotFrames
from offcam_proto.client_session import ClientSession, ClientStream, State
from offcam_proto.errors import LocalProtocolError, MalformedMessage, RemoteProtocolError, VersionMismatch
from offcam_proto.layout import FrameLayout
from offcam_proto.records import EpisodeRecord

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


# --- states -----------------------------------------------------------------------------------------------


def test_a_greeting_is_the_first_thing_sent():
    session = in_state(State.IDLE)
    session.connect()
    assert sent(session) == [msg.Hello("offcam", limits.PROTOCOL_VERSION, bytes(16), 1, "h", "c")]
    assert session.take() == []


@pytest.mark.parametrize(
    ("before", "message", "after"),
    [
        *[(state, REFUSED, State.REFUSED) for state in ALL_STATES if state is not State.CLOSED],
        (State.CLOSED, REFUSED, State.CLOSED),
        (State.IDLE, WELCOME, State.IDLE),
        (State.GREETING, WELCOME, State.OPEN),
        (State.OPEN, WELCOME, State.OPEN),
        (State.REFUSED, WELCOME, State.REFUSED),
        (State.CLOSED, WELCOME, State.CLOSED),
        (State.IDLE, msg.SayHello(), State.IDLE),
        (State.GREETING, msg.SayHello(), State.GREETING),
        (State.OPEN, msg.SayHello(), State.IDLE),
        (State.REFUSED, msg.SayHello(), State.REFUSED),
        (State.CLOSED, msg.SayHello(), State.CLOSED),
        (State.IDLE, msg.Goodbye("stopping"), State.IDLE),
        (State.GREETING, msg.Goodbye("stopping"), State.IDLE),
        (State.OPEN, msg.Goodbye("stopping"), State.IDLE),
        (State.REFUSED, msg.Goodbye("stopping"), State.REFUSED),
        (State.CLOSED, msg.Goodbye("stopping"), State.CLOSED),
        *[(state, msg.Flushed(1, 0, 0), state) for state in ALL_STATES],
        *[(state, msg.StatsReply(1, b"{}"), state) for state in ALL_STATES],
        *[(state, msg.ClipDone(1, 0, "", 0, ""), state) for state in ALL_STATES],
    ],
)
def test_what_a_message_does(before, message, after):
    session = in_state(before)
    hear(session, message)
    assert session.state is after
    assert session.take() == []


@pytest.mark.parametrize("state", ALL_STATES)
def test_when_a_greeting_may_be_sent(state):
    session = in_state(state)
    if state in (State.IDLE, State.GREETING):
        session.connect()
        assert session.state is State.GREETING
        assert [type(message) for message in sent(session)] == [msg.Hello]
    else:
        with pytest.raises(LocalProtocolError, match=f"while {state.value}"):
            session.connect()


@pytest.mark.parametrize("state", ALL_STATES)
def test_a_lost_connection(state):
    session = in_state(state)
    session.lost()
    assert session.state is (state if state in (State.REFUSED, State.CLOSED) else State.IDLE)


@pytest.mark.parametrize("state", ALL_STATES)
def test_leaving(state):
    session = in_state(state)
    session.close()
    assert session.state is State.CLOSED
    assert [type(message) for message in sent(session)] == ([msg.Goodbye] if state is State.OPEN else [])


@pytest.mark.parametrize("state", ALL_STATES)
def test_when_a_question_may_be_asked(state):
    session = in_state(state)
    if state is State.OPEN:
        assert (session.flush(), session.request_stats()) == (1, 2)
        assert sent(session) == [msg.Flush(1), msg.StatsRequest(2)]
        return
    for ask in (session.flush, session.request_stats):
        with pytest.raises(LocalProtocolError, match=f"while {state.value}"):
            ask()


def test_a_refusal_is_kept_for_the_user():
    session = in_state(State.REFUSED)
    assert session.refused == REFUSED
    assert session.open_stream(INFO).record(episode())
    assert session.take() == []


def test_a_daemon_that_does_not_mind_another_version_is_not_trusted():
    session = in_state(State.GREETING)
    with pytest.raises(VersionMismatch, match="version 2 and the client 1"):
        session.receive(codec.encode(msg.Welcome(2, INSTANCE, 7, 1)))
    assert session.state is State.GREETING


def test_bytes_that_are_no_message_change_nothing():
    session, stream = live_stream()
    with pytest.raises(MalformedMessage):
        session.receive([b"\xc1"])
    assert session.state is State.OPEN
    assert stream.live


def test_the_welcome_names_the_daemon_s_start():
    session = in_state(State.OPEN)
    assert session.instance == INSTANCE


# --- streams ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ALL_STATES)
def test_a_stream_is_asked_for_when_there_is_a_daemon(state):
    session = in_state(state)
    stream = session.open_stream(INFO)
    assert sent(session) == ([stream.info] if state is State.OPEN else [])
    assert (stream.info.handle, stream.live, stream.credit, stream.epoch) == (1, False, 0, 0)


def test_streams_from_before_the_daemon_are_asked_for_at_its_welcome():
    session = in_state(State.IDLE)
    streams = [session.open_stream(INFO), session.open_stream(INFO)]
    session.connect()
    session.take()
    hear(session, WELCOME)
    assert sent(session) == [stream.info for stream in streams]


def test_an_opened_stream_has_credit_and_a_suffix_and_sends_what_waited():
    session = in_state(State.OPEN)
    stream = session.open_stream(INFO)
    stream.record(episode())
    stream.record(episode(1))
    session.take()
    hear(session, msg.StreamOpened(1, 0, 2, 50))
    assert (stream.live, stream.credit, stream.epoch, stream.info.suffix) == (True, 50, 1, 2)
    bodies = tuple(codec.pack_record(episode(number)) for number in (0, 1))
    assert sent(session) == [msg.Records(1, 1, bodies)]


def test_an_answer_that_nobody_waits_for_is_passed_over():
    session, stream = live_stream()
    hear(session, msg.StreamOpened(1, 0, 0, 999), msg.StreamRefused(1, "folder", "late"), msg.StreamOpened(9, 0, 0, 1))
    assert (stream.credit, stream.epoch, stream.refused) == (100, 1, None)


@pytest.mark.parametrize("greeting", [False, True])
def test_what_an_older_connection_said_is_passed_over(greeting):
    session, stream = live_stream()
    stream.record(episode())
    session.lost()
    if greeting:
        session.connect()
    hear(session, msg.StreamOpened(1, 1, 0, 999), msg.Credit(1, 999, False), msg.Ack(1, 1))
    assert (stream.live, stream.credit, stream.epoch, stream.unacked) == (False, 0, 1, 1)


def test_a_stream_closed_before_the_daemon_answered_is_closed_there_too():
    session = in_state(State.OPEN)
    stream = session.open_stream(INFO)
    stream.close()
    session.take()
    hear(session, msg.StreamOpened(1, 0, 0, 100))
    assert sent(session) == [msg.CloseStream(1)]
    assert session.streams == {}
    assert not stream.live


def test_a_stream_closed_without_a_daemon_leaves_no_trace():
    session = in_state(State.IDLE)
    session.open_stream(INFO).close()
    assert session.streams == {}


def test_a_closed_stream_is_kept_until_its_records_are_committed():
    session, stream = live_stream()
    stream.record(episode())
    stream.close()
    stream.close()
    assert [type(message) for message in sent(session)] == [msg.Records, msg.CloseStream]
    replayed = reconnect(session, msg.StreamOpened(1, 0, 0, 5))
    assert [type(message) for message in replayed] == [msg.OpenStream, msg.Records, msg.CloseStream]
    hear(session, msg.Ack(1, 1))
    assert session.streams == {}


def test_nothing_follows_the_end_of_a_stream():
    session, stream = live_stream()
    stream.open_clip(clip())
    stream.close()
    session.take()
    assert not stream.live
    assert stream.frame(0, 0, (PIXEL,), (b"x",)) is None
    hear(session, msg.Credit(1, 50, False))
    assert stream.credit == 0
    for act in (
        lambda: stream.open_clip(clip(1)),
        lambda: stream.end_clip(0, complete=True),
        lambda: stream.record(episode()),
    ):
        with pytest.raises(LocalProtocolError):
            act()
    assert session.take() == []


def test_nothing_follows_a_goodbye():
    session, stream = live_stream()
    session.close()
    stream.record(episode())
    stream.close()
    assert [type(message) for message in sent(session)] == [msg.Goodbye]


def test_a_refused_stream_keeps_its_records_for_another_daemon():
    session = in_state(State.OPEN)
    stream = session.open_stream(INFO)
    stream.record(episode())
    assert not session.settled
    hear(session, msg.StreamRefused(1, "folder", "read-only"))
    assert (stream.refused, stream.live, stream.unacked, session.settled) == ("read-only", False, 1, True)
    session.take()
    again = reconnect(session, msg.StreamOpened(1, 0, 0, 0))
    assert [type(message) for message in again] == [msg.OpenStream, msg.Records]
    assert stream.refused is None


def test_a_refused_stream_without_records_is_not_asked_for_again():
    session = in_state(State.OPEN)
    session.open_stream(INFO)
    hear(session, msg.StreamRefused(1, "folder", "read-only"))
    session.take()
    assert reconnect(session) == []


def test_one_stream_too_many_is_refused_here():
    session = in_state(State.IDLE)
    for _ in range(limits.MAX_STREAMS_PER_SESSION):
        session.open_stream(INFO)
    stream = session.open_stream(INFO)
    assert "at most 4096 environments" in (stream.refused or "")
    assert not stream.record(episode())
    assert (stream.unacked, stream.lost_records) == (0, 1)
    stream.close()
    session.connect()
    session.take()
    hear(session, WELCOME)
    assert len(session.take()) == limits.MAX_STREAMS_PER_SESSION


# --- clips, frames, credit --------------------------------------------------------------------------------


def test_frames_spend_credit_and_never_more_than_there_is():
    session, stream = live_stream(credit=2)
    stream.open_clip(clip())
    assert stream.frame(0, 0, (PIXEL,), (b"x",)) is not None
    assert stream.frame(0, 1, (PIXEL,) * 2, (b"x", b"y")) is None
    assert stream.frame(0, 2, (PIXEL,), (b"x",)) is not None
    assert stream.frame(0, 3, (PIXEL,), (b"x",)) is None
    assert stream.credit == 0
    hear(session, msg.Credit(1, 1, True))
    assert (stream.credit, stream.saturated) == (1, True)
    assert stream.frame(0, 4, (PIXEL,), (b"x",)) is not None


def test_frames_of_a_clip_that_is_not_open_are_not_sent():
    session, stream = live_stream()
    assert stream.frame(0, 0, (PIXEL,), (b"x",)) is None
    stream.open_clip(clip())
    stream.end_clip(0, complete=True)
    assert stream.frame(0, 0, (PIXEL,), (b"x",)) is None
    assert stream.credit == 100
    assert sent(session) == [clip(), msg.EndClip(1, 0, True)]


def test_a_reconnection_cuts_clips_off_and_voids_credit():
    session, stream = live_stream()
    stream.open_clip(clip())
    reconnect(session, msg.StreamOpened(1, 0, 0, 7))
    assert (stream.epoch, stream.credit, stream.saturated) == (2, 7, False)
    assert stream.frame(0, 1, (PIXEL,), (b"x",)) is None
    with pytest.raises(LocalProtocolError, match="clip 0 of stream 1 is not open"):
        stream.end_clip(0, complete=False)
    with pytest.raises(LocalProtocolError, match="never used again"):
        stream.open_clip(clip())
    stream.open_clip(clip(1))
    assert stream.frame(1, 0, (PIXEL,), (b"x",)) is not None


def test_a_clip_needs_a_live_stream():
    session = in_state(State.OPEN)
    stream = session.open_stream(INFO)
    with pytest.raises(LocalProtocolError, match="is not open at the daemon"):
        stream.open_clip(clip())


def test_no_more_clips_are_open_at_once_than_the_daemon_takes():
    _, stream = live_stream()
    for number in range(limits.MAX_CLIPS_PER_STREAM):
        stream.open_clip(clip(number))
    with pytest.raises(LocalProtocolError, match="at most 256 open clips"):
        stream.open_clip(clip(limits.MAX_CLIPS_PER_STREAM))


# --- records ----------------------------------------------------------------------------------------------


def test_records_are_numbered_from_1_and_forgotten_when_acked():
    session, stream = live_stream()
    for number in range(3):
        stream.record(episode(number))
    assert [message.first_seq for message in sent(session)] == [1, 2, 3]
    assert not session.settled
    hear(session, msg.Ack(1, 2))
    assert stream.unacked == 1
    hear(session, msg.Ack(1, 1))
    assert stream.unacked == 1
    hear(session, msg.Ack(1, 3))
    assert (stream.unacked, session.settled) == (0, True)


def test_a_reconnection_replays_what_is_not_committed_in_order():
    session, stream = live_stream()
    for number in range(5):
        stream.record(episode(number))
    session.take()
    hear(session, msg.Ack(1, 1))
    replayed = reconnect(session, msg.StreamOpened(1, 3, 0, 0))
    assert replayed == [stream.info, msg.Records(1, 4, tuple(codec.pack_record(episode(n)) for n in (3, 4)))]
    assert stream.lost_records == 0


def test_a_replay_is_split_so_that_each_message_fits():
    session = in_state(State.IDLE)
    stream = session.open_stream(INFO)
    count = 2 * limits.MAX_RECORDS_PER_MESSAGE + 10
    seeded = EpisodeRecord(0, 0, math.nan, 1, 1.0, 0.0, True, False, "9" * 1000)
    for _ in range(count):
        stream.record(seeded)
    replayed = [
        message for message in reconnect(session, msg.StreamOpened(1, 0, 0, 0)) if isinstance(message, msg.Records)
    ]
    assert sum(len(message.bodies) for message in replayed) == count
    expected = 1
    for message in replayed:
        assert message.first_seq == expected
        expected += len(message.bodies)
        assert len(codec.encode(message)[0]) <= limits.MAX_HEADER_BYTES
    assert len(replayed) <= count * 1100 // limits.MAX_HEADER_BYTES + 1


def test_an_index_replaced_by_an_older_one_gets_what_is_left_without_a_gap():
    session, stream = live_stream()
    for number in range(5):
        stream.record(episode(number))
    hear(session, msg.Ack(1, 3))
    session.take()
    replayed = reconnect(session, msg.StreamOpened(1, 1, 0, 0))
    bodies = tuple(codec.pack_record(episode(number)) for number in (3, 4))
    assert replayed == [stream.info, msg.Records(1, 2, bodies)]
    assert stream.lost_records == 2
    stream.record(episode(5))
    assert [message.first_seq for message in sent(session)] == [4]
    hear(session, msg.Ack(1, 4))
    assert stream.unacked == 0


@pytest.mark.parametrize("opening", [False, True])
def test_a_daemon_cannot_commit_what_was_never_sent(opening):
    session, stream = live_stream()
    stream.record(episode())
    if opening:
        reconnect(session)
    with pytest.raises(RemoteProtocolError, match="acked record 2, only 1 were sent"):
        session.receive(codec.encode(msg.StreamOpened(1, 2, 0, 0) if opening else msg.Ack(1, 2)))
    assert stream.unacked == 1
    assert stream.live is not opening


def test_records_beyond_what_is_kept_are_counted_as_lost(monkeypatch):
    monkeypatch.setattr("offcam_proto.client_session.MAX_UNACKED_RECORDS", 3)
    session = in_state(State.IDLE)
    stream = session.open_stream(INFO)
    assert [stream.record(episode(number)) for number in range(5)] == [True, True, True, False, False]
    assert (stream.unacked, stream.lost_records) == (3, 2)


def test_what_was_not_taken_is_sent_again():
    session = in_state(State.OPEN)
    stream = session.open_stream(INFO)
    hear(session, msg.StreamOpened(1, 0, 0, 0))
    for _ in range(3):
        stream.record(episode())
    hear(session, msg.Ack(1, 1))
    session.take()
    hear(session, msg.Again(1))
    (resent,) = sent(session)
    assert isinstance(resent, msg.Records)
    assert (resent.first_seq, len(resent.bodies), stream.epoch, stream.live) == (2, 2, 1, True)
    stream.close()
    session.take()
    hear(session, msg.Again(1), msg.Again(1))
    assert [type(message) for message in sent(session)] == [msg.OpenStream]  # once, though told twice
    hear(session, msg.StreamOpened(1, 2, 0, 0))
    assert [type(message) for message in sent(session)] == [msg.Records, msg.CloseStream]
    hear(session, msg.Ack(1, 3), msg.Again(1))
    assert (sent(session), session.streams) == ([], {})


def test_a_refused_stream_is_asked_for_when_the_daemon_says_so():
    session = in_state(State.OPEN)
    stream = session.open_stream(INFO)
    hear(session, msg.Again(1))
    assert [type(message) for message in sent(session)] == [msg.OpenStream]  # it is on its way
    hear(session, msg.StreamRefused(1, "folder", "full"))
    assert stream.refused == "full"
    hear(session, msg.Again(1), msg.StreamOpened(1, 0, 0, 100))
    assert [type(message) for message in sent(session)] == [msg.OpenStream]
    assert (stream.refused, stream.live, stream.credit) == (None, True, 100)


# --- frames in slots --------------------------------------------------------------------------------------


ARENA = OpenArena(1, 9, INSTANCE, 4, 2)


def offer(stream: ClientStream, arena: OpenArena = ARENA) -> None:
    stream.offer_arena(arena.descriptor, arena.token, arena.slot_bytes, arena.slots)


def with_arena(credit: int = 100) -> tuple[ClientSession, ClientStream]:
    """A live stream with an arena that may be used and a clip, so that its frames are held back from now on."""
    session, stream = live_stream(credit + 1)
    stream.open_clip(clip())
    offer(stream)
    hear(session, ArenaReply(1, True))
    session.take()
    assert stream.slot_frame(0, 0, (PIXEL,), 0)
    assert (sent(session), session.held) == ([held((0, 0))], 0)
    return session, stream


def held(*frames: tuple[int, int], number: int = 0, layouts: tuple[FrameLayout, ...] = (PIXEL,)) -> SlotFrames:
    return SlotFrames(1, number, layouts, frames)


def test_an_arena_is_used_once_the_daemon_says_so():
    session, stream = live_stream()
    stream.open_clip(clip())
    with pytest.raises(LocalProtocolError, match="stream 1 has no arena"):
        stream.slot_frame(0, 0, (PIXEL,), 0)
    offer(stream)
    assert (sent(session), stream.arena) == ([clip(), ARENA], None)
    with pytest.raises(LocalProtocolError, match="stream 1 has no arena"):
        stream.slot_frame(0, 0, (PIXEL,), 0)
    hear(session, ArenaReply(1, False))
    assert stream.arena is False
    with pytest.raises(LocalProtocolError, match="stream 1 has no arena"):
        stream.slot_frame(0, 0, (PIXEL,), 0)
    hear(session, ArenaReply(1, True))
    assert stream.arena is False, "nothing was offered"
    offer(stream)
    hear(session, ArenaReply(1, True))
    assert stream.slot_frame(0, 0, (PIXEL,), 0)


def test_the_last_of_several_answers_counts():
    session, stream = live_stream()
    offer(stream)
    offer(stream)
    hear(session, ArenaReply(1, True))
    assert stream.arena is None, "it is the answer about the first"
    hear(session, ArenaReply(1, False))
    assert stream.arena is False


def test_an_arena_needs_a_live_stream():
    session = in_state(State.OPEN)
    stream = session.open_stream(INFO)
    with pytest.raises(LocalProtocolError, match="is not open at the daemon"):
        offer(stream)
    hear(session, ArenaReply(1, True), msg.StreamOpened(1, 0, 0, 100))
    assert stream.arena is None


@pytest.mark.parametrize(("slot", "tiles"), [(2, 1), (63, 1), (0, 5)])
def test_a_frame_fits_a_slot_of_its_arena(slot, tiles):
    _, stream = with_arena()
    with pytest.raises(LocalProtocolError, match=f"{tiles} bytes in slot {slot} of 2 slots of 4 bytes"):
        stream.slot_frame(0, 1, (PIXEL,) * tiles, slot)
    assert stream.slot_frame(0, 1, (PIXEL,) * 4, 1)
    assert stream.credit == 96


def test_frames_in_slots_spend_credit_and_never_more_than_there_is():
    session, stream = with_arena(credit=2)
    assert stream.slot_frame(0, 1, (PIXEL,), 0)
    assert not stream.slot_frame(0, 2, (PIXEL, PIXEL), 1)
    assert not stream.slot_frame(1, 2, (PIXEL,), 1), "no such clip is open"
    assert stream.slot_frame(0, 3, (PIXEL,), 1)
    assert not stream.slot_frame(0, 4, (PIXEL,), 0)
    assert (stream.credit, session.held, session.take()) == (0, 2, [])
    session.flush_slots()
    session.flush_slots()
    assert (sent(session), session.held) == ([held((1, 0), (3, 1))], 0)


def test_frames_are_held_until_a_message_is_full():
    session, stream = with_arena(credit=1000)
    most = limits.MAX_SLOT_FRAMES
    for index in range(1, most + 1):
        assert stream.slot_frame(0, index, (PIXEL,), index % 2)
    assert (session.take(), session.held) == ([], most)
    assert stream.slot_frame(0, most + 1, (PIXEL,), 0)
    (full,) = sent(session)
    assert full == held(*((index, index % 2) for index in range(1, most + 1)))
    assert session.held == 1


def test_a_frame_of_another_clip_or_layout_is_not_held_back_and_goes_behind_what_was():
    """It tells the daemon how those lie that follow, should the client be killed before it names them."""
    session, stream = with_arena()
    stream.open_clip(clip(1))
    session.take()
    wide = FrameLayout((1, 2), (2, 1), 0, 2)
    shown = [(0, 1, PIXEL), (1, 0, PIXEL), (1, 1, PIXEL), (1, 2, wide), (1, 3, wide), (0, 2, PIXEL), (0, 3, PIXEL)]
    for number, index, layout in shown:
        assert stream.slot_frame(number, index, (layout,), 0)
    assert session.held == 1
    assert sent(session) == [
        held((1, 0)), held((0, 0), number=1), held((1, 0), number=1), held((2, 0), number=1, layouts=(wide,)),
        held((3, 0), number=1, layouts=(wide,)), held((2, 0)),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("say", "expected"),
    [
        pytest.param(lambda _, stream: stream.end_clip(0, complete=True), msg.EndClip(1, 0, True), id="end-clip"),
        pytest.param(lambda _, stream: stream.open_clip(clip(1)), clip(1), id="open-clip"),
        pytest.param(lambda _, stream: offer(stream), ARENA, id="another-arena"),
        pytest.param(lambda _, stream: stream.close(), msg.CloseStream(1), id="close"),
        pytest.param(lambda session, _: session.flush(), msg.Flush(1), id="flush"),
        pytest.param(lambda session, _: session.request_stats(), msg.StatsRequest(1), id="stats"),
        pytest.param(lambda session, _: session.close(), msg.Goodbye("the client is done"), id="goodbye"),
        pytest.param(
            lambda _, stream: stream.record(episode()), msg.Records(1, 1, (codec.pack_record(episode()),)), id="record"
        ),
    ],
)
def test_what_is_held_goes_before_whatever_comes_next(say, expected):
    session, stream = with_arena()
    stream.slot_frame(0, 1, (PIXEL,), 0)
    say(session, stream)
    assert (sent(session), session.held) == ([held((1, 0)), expected], 0)


def test_what_is_held_goes_before_a_frame_that_found_no_slot():
    session, stream = with_arena()
    stream.slot_frame(0, 1, (PIXEL,), 0)
    assert stream.frame(0, 2, (PIXEL,), (b"x",)) is not None
    assert (sent(session), session.held) == ([held((1, 0))], 0)
    stream.slot_frame(0, 3, (PIXEL,), 1)
    assert stream.frame(1, 4, (PIXEL,), (b"x",)) is None, "what cannot be sent sends nothing else"
    assert (session.take(), session.held) == ([], 1)


@pytest.mark.parametrize(
    "breaks",
    [ClientSession.lost, *(lambda session, said=said: hear(session, said) for said in (msg.SayHello(), REFUSED))],
    ids=["lost", "say-hello", "refused"],
)
def test_what_is_held_is_not_said_to_another_daemon(breaks):
    session, stream = with_arena()
    stream.slot_frame(0, 1, (PIXEL,), 0)
    breaks(session)
    session.flush_slots()
    assert (session.take(), session.held, stream.arena) == ([], 0, None)


def test_a_reconnection_voids_the_arena_and_late_answers_about_it():
    session, stream = with_arena()
    offer(stream)  # its answer gets lost
    session.lost()
    hear(session, ArenaReply(1, True))
    session.connect()
    hear(session, ArenaReply(1, True), WELCOME, msg.StreamOpened(1, 0, 0, 100))
    assert stream.arena is None
    stream.open_clip(clip(1))
    with pytest.raises(LocalProtocolError, match="stream 1 has no arena"):
        stream.slot_frame(1, 0, (PIXEL,), 0)
    offer(stream)
    hear(session, ArenaReply(1, True))
    session.take()
    assert stream.slot_frame(1, 1, (PIXEL,), 0)
    assert sent(session) == [held((1, 0), number=1)], "the first of its epoch is not held back"


def test_an_answer_about_a_stream_that_is_closed_meanwhile_is_passed_over():
    session, stream = live_stream()
    stream.record(episode())
    offer(stream)
    stream.close()
    hear(session, ArenaReply(1, True))
    assert (stream.arena, session.state) == (None, State.OPEN)
