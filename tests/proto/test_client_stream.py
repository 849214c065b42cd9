"""The client's streams: when they are asked for, what they may send, and what is sent again."""

from __future__ import annotations

import math

import pytest
from client_scenes import ALL_STATES, INFO, PIXEL, WELCOME, clip, episode, hear, in_state, live_stream, reconnect, sent
from wire_samples import COLUMNS

from offcam_proto import codec, limits
from offcam_proto import messages as msg
from offcam_proto.backlog import Backlog
from offcam_proto.client_session import State
from offcam_proto.errors import LocalProtocolError, RemoteProtocolError
from offcam_proto.records import EpisodeRecord

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


def test_columns_are_as_many_records_and_are_sent_again_as_they_were():
    session, stream = live_stream()
    stream.record(episode(0), COLUMNS, episode(1))
    (message,) = sent(session)
    assert (message.first_seq, message.last_seq, len(message.bodies)) == (1, 4, 3)
    assert (stream.unacked, stream.backlog.in_memory) == (4, 4)
    hear(session, msg.Ack(1, 1))
    stream.record(episode(2))
    session.take()
    replayed = reconnect(session, msg.StreamOpened(1, 1, 0, 0))
    assert replayed == [stream.info, msg.Records(1, 2, (*message.bodies[1:], codec.pack_record(episode(2))))]
    hear(session, msg.Ack(1, 3))
    assert (stream.unacked, stream.backlog.in_memory) == (2, 2)
    hear(session, msg.Ack(1, 5))
    assert (stream.unacked, session.settled) == (0, True)


def test_columns_that_there_is_no_room_for_are_lost_whole_and_counted(monkeypatch):
    monkeypatch.setattr("offcam_proto.backlog.MAX_UNACKED_RECORDS", 4)
    session = in_state(State.IDLE)
    stream = session.open_stream(INFO)
    assert not stream.record(COLUMNS, episode(0), COLUMNS, episode(1))
    assert (stream.unacked, stream.lost_records) == (3, 3)


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


def test_no_more_records_are_sent_than_may_be_on_their_way(monkeypatch):
    """Those that wait follow as they are acked, in order, the new ones behind; a closed stream leaves after all."""
    monkeypatch.setattr("offcam_proto.client_stream.MAX_RECORDS_IN_FLIGHT", 4)
    session, stream = live_stream()
    for number in range(3):
        stream.record(episode(number))
    stream.keep(*map(episode, range(3, 6)))
    for number in range(6, 10):
        stream.record(episode(number))
    arrived = []

    def take() -> list[type]:
        messages = sent(session)
        for message in messages:
            if isinstance(message, msg.Records):
                assert message.first_seq == len(arrived) + 1
                arrived.extend(codec.unpack_record(body).episode for body in message.bodies)
        return [type(message) for message in messages]

    take()
    assert arrived == list(range(6))
    stream.close()
    assert take() == []
    for acked, expected in ((2, 6), (3, 6), (4, 8), (6, 10)):
        hear(session, msg.Ack(1, acked))
        left = take()
        assert (arrived, stream.live) == (list(range(expected)), expected < 10)
    assert left == [msg.Records, msg.CloseStream]
    hear(session, msg.Ack(1, 10))
    assert session.streams == {}


def test_no_more_bytes_of_records_are_sent_than_may_be_on_their_way(monkeypatch):
    """The others follow once all are acked, be the stream opened anew or not."""
    monkeypatch.setattr("offcam_proto.client_stream.MAX_BYTES_IN_FLIGHT", 2 * len(codec.pack_record(episode(0))))
    session, stream = live_stream()

    def numbers() -> list[int]:
        batches = [message for message in sent(session) if isinstance(message, msg.Records)]
        return [seq for each in batches for seq in range(each.first_seq, each.first_seq + len(each.bodies))]

    for number in range(9):
        stream.record(episode(number))
    assert numbers() == [1, 2, 3]
    hear(session, msg.Ack(1, 2))
    assert numbers() == []
    hear(session, msg.Ack(1, 3))
    assert numbers() == [4, 5, 6]
    stream.record(episode(9))
    stream.close()
    assert numbers() == []
    reconnect(session, msg.StreamOpened(1, 4, 0, 0))
    hear(session, msg.Ack(1, 7))
    assert numbers() == [8, 9, 10]
    hear(session, msg.Ack(1, 10))
    assert stream.unacked == 0


def test_in_memory_no_more_bytes_are_kept_than_may_be(monkeypatch):
    monkeypatch.setattr("offcam_proto.backlog.MAX_UNACKED_BYTES", 100)
    backlog = Backlog()
    assert backlog.append(1, [bytes(40)] * 3) == 2
    backlog.acked(1)
    assert backlog.append(3, [bytes(60), b"x"]) == 1
    assert [seq for seq, _ in backlog.after(0)] == [2, 3]
    backlog.acked(3)
    assert backlog.append(4, [bytes(100)]) == 1


def test_after_a_reconnection_too_the_rest_follows_as_it_is_acked(monkeypatch):
    monkeypatch.setattr("offcam_proto.client_stream.MAX_RECORDS_IN_FLIGHT", 4)
    session, stream = live_stream()
    stream.record(*map(episode, range(10)))
    session.take()
    (_, records) = reconnect(session, msg.StreamOpened(1, 3, 0, 0))
    assert (records.first_seq, len(records.bodies)) == (4, 4)
    hear(session, msg.Again(1))
    assert [(message.first_seq, len(message.bodies)) for message in sent(session)] == [(4, 4)]
    hear(session, msg.Ack(1, 7))
    assert [(message.first_seq, len(message.bodies)) for message in sent(session)] == [(8, 3)]


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
    monkeypatch.setattr("offcam_proto.backlog.MAX_UNACKED_RECORDS", 3)
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
