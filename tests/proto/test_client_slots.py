"""The client's frames in slots: when they may be used, and what is held back behind what."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from client_scenes import INFO, INSTANCE, PIXEL, REFUSED, WELCOME, clip, episode, hear, in_state, live_stream, sent

from offcam_proto import codec, limits
from offcam_proto import messages as msg
from offcam_proto.client_session import ClientSession, State
from offcam_proto.errors import LocalProtocolError
from offcam_proto.layout import FrameLayout

if TYPE_CHECKING:
    from offcam_proto.client_stream import ClientStream

ARENA = msg.OpenArena(1, 9, INSTANCE, 4, 2)


def offer(stream: ClientStream, arena: msg.OpenArena = ARENA) -> None:
    stream.offer_arena(arena.descriptor, arena.token, arena.slot_bytes, arena.slots)


def with_arena(credit: int = 100) -> tuple[ClientSession, ClientStream]:
    """A live stream with an arena that may be used and a clip, so that its frames are held back from now on."""
    session, stream = live_stream(credit + 1)
    stream.open_clip(clip())
    offer(stream)
    hear(session, msg.ArenaReply(1, True, 0))
    session.take()
    assert stream.slot_frame(0, 0, (PIXEL,), 0)
    assert (sent(session), session.held) == ([held((0, 0))], 0)
    return session, stream


def held(*frames: tuple[int, int], number: int = 0, layouts: tuple[FrameLayout, ...] = (PIXEL,)) -> msg.SlotFrames:
    return msg.SlotFrames(1, number, layouts, frames)


def test_an_arena_is_used_once_the_daemon_says_so():
    session, stream = live_stream()
    stream.open_clip(clip())
    with pytest.raises(LocalProtocolError, match="stream 1 has no arena"):
        stream.slot_frame(0, 0, (PIXEL,), 0)
    offer(stream)
    assert (sent(session), stream.arena) == ([clip(), ARENA], None)
    with pytest.raises(LocalProtocolError, match="stream 1 has no arena"):
        stream.slot_frame(0, 0, (PIXEL,), 0)
    hear(session, msg.ArenaReply(1, False, 0))
    assert stream.arena is False
    with pytest.raises(LocalProtocolError, match="stream 1 has no arena"):
        stream.slot_frame(0, 0, (PIXEL,), 0)
    hear(session, msg.ArenaReply(1, True, 0))
    assert stream.arena is False, "nothing was offered"
    offer(stream)
    hear(session, msg.ArenaReply(1, True, 0))
    assert stream.slot_frame(0, 0, (PIXEL,), 0)


def test_the_last_of_several_answers_counts():
    session, stream = live_stream()
    offer(stream)
    offer(stream)
    hear(session, msg.ArenaReply(1, True, 0))
    assert stream.arena is None, "it is the answer about the first"
    hear(session, msg.ArenaReply(1, False, 0))
    assert stream.arena is False


def test_an_arena_needs_a_live_stream():
    session = in_state(State.OPEN)
    stream = session.open_stream(INFO)
    with pytest.raises(LocalProtocolError, match="is not open at the daemon"):
        offer(stream)
    hear(session, msg.ArenaReply(1, True, 0), msg.StreamOpened(1, 0, 0, 100))
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
    hear(session, msg.ArenaReply(1, True, 0))
    session.connect()
    hear(session, msg.ArenaReply(1, True, 0), WELCOME, msg.StreamOpened(1, 0, 0, 100))
    assert stream.arena is None
    stream.open_clip(clip(1))
    with pytest.raises(LocalProtocolError, match="stream 1 has no arena"):
        stream.slot_frame(1, 0, (PIXEL,), 0)
    offer(stream)
    hear(session, msg.ArenaReply(1, True, 0))
    session.take()
    assert stream.slot_frame(1, 1, (PIXEL,), 0)
    assert sent(session) == [held((1, 0), number=1)], "the first of its epoch is not held back"


def test_an_answer_about_a_stream_that_is_closed_meanwhile_is_passed_over():
    session, stream = live_stream()
    stream.record(episode())
    offer(stream)
    stream.close()
    hear(session, msg.ArenaReply(1, True, 0))
    assert (stream.arena, session.state) == (None, State.OPEN)
