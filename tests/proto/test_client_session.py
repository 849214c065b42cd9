"""The client's session: every transition, and what it sends at each."""

from __future__ import annotations

import pytest
from client_scenes import ALL_STATES, INFO, INSTANCE, REFUSED, WELCOME, episode, hear, in_state, live_stream, sent

from offcam_proto import codec, limits
from offcam_proto import messages as msg
from offcam_proto.client_session import State
from offcam_proto.errors import LocalProtocolError, MalformedMessage, VersionMismatch
from offcam_proto.resuming import RunReply, RunRequest


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
        *[(state, RunReply(1, True, 0, 0, "", "", b""), state) for state in ALL_STATES],
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
        assert (session.flush(), session.request_stats(), session.ask_run("/r", "v")) == (1, 2, 3)
        assert sent(session) == [msg.Flush(1), msg.StatsRequest(2), RunRequest(3, "/r", "v")]
        return
    for ask in (session.flush, session.request_stats, lambda: session.ask_run("/r", "v")):
        with pytest.raises(LocalProtocolError, match=f"while {state.value}"):
            ask()


def test_a_refusal_is_kept_for_the_user():
    session = in_state(State.REFUSED)
    assert session.refused == REFUSED
    assert session.open_stream(INFO).record(episode())
    assert session.take() == []


def test_a_daemon_that_does_not_mind_another_version_is_not_trusted():
    session = in_state(State.GREETING)
    theirs = limits.PROTOCOL_VERSION + 1
    with pytest.raises(VersionMismatch, match=f"version {theirs} and the client {limits.PROTOCOL_VERSION}"):
        session.receive(codec.encode(msg.Welcome(theirs, INSTANCE, 7, 1)))
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
