"""Rings on the wire: what may be saved of them, as the client and as the daemon see it."""

from __future__ import annotations

import pytest
from client_scenes import PIXEL, clip, hear, live_stream, reconnect, sent
from msgspec.structs import replace

from offcam_proto import codec
from offcam_proto import messages as msg
from offcam_proto.errors import LocalProtocolError, MalformedMessage
from offcam_proto.limits import PROTOCOL_VERSION
from offcam_proto.saving import SaveClip
from offcam_proto.server_session import ServerSession, State

HELLO = msg.Hello(msg.Hello.MAGIC, PROTOCOL_VERSION, bytes(16), 1, "h", "c")
STREAM = msg.OpenStream(1, bytes(16), "/r", "rl-video", 0, True, "CartPole-v1", 1, False, 0.0)
RING = replace(clip(0), ring_seconds=30.0)
SAVE = SaveClip(1, 0, 1, "v-error-step-3", "error", 0, 3, 1.0, 4, 900, 0)


def heard(*messages: msg.ClientMessage) -> ServerSession:
    session = ServerSession()
    for message in (HELLO, STREAM, *messages):
        assert session.receive(codec.encode(message)) == message
    session.take()
    return session


def refused(session: ServerSession, message: msg.ClientMessage, words: str) -> None:
    with pytest.raises(MalformedMessage, match=words):
        session.receive(codec.encode(message))
    assert session.state is State.CLOSED


def test_a_ring_can_be_saved_again_and_again_and_goes_on():
    session = heard(
        RING, SAVE, replace(SAVE, saved=2), replace(SAVE, saved=9), replace(clip(10)), msg.EndClip(1, 0, True)
    )
    assert session.streams[1].clips.keys() == {10}


@pytest.mark.parametrize("save", [replace(SAVE, clip=1), replace(SAVE, handle=2)])
def test_what_is_not_open_is_not_saved(save):
    refused(heard(RING), save, "is not open")


def test_a_ring_that_has_ended_is_not_saved():
    refused(heard(RING, msg.EndClip(1, 0, True)), SAVE, "is not open")


def test_what_is_no_ring_is_not_saved():
    refused(heard(clip(0)), SAVE, "clip 0 is no ring")


@pytest.mark.parametrize("saved", [0, 1])
def test_a_number_is_not_used_again_for_what_is_saved(saved):
    refused(heard(RING, SAVE), replace(SAVE, saved=saved), f"clip {saved} was opened before")


def test_a_number_of_what_was_saved_is_not_used_again():
    refused(heard(RING, SAVE), clip(1), "clip 1 was opened before")


def test_a_client_saves_behind_the_frames_that_it_sent():
    session, stream = live_stream()
    stream.open_clip(RING)
    stream.offer_arena(3, bytes(16), 8, 4)
    hear(session, msg.ArenaReply(1, True, 0))
    for index in range(3):
        assert stream.slot_frame(0, index, (PIXEL,), index)
    stream.save_clip(SAVE)
    kinds = [type(message) for message in sent(session)]
    assert kinds == [msg.OpenClip, msg.OpenArena, msg.SlotFrames, msg.SlotFrames, SaveClip]
    with pytest.raises(LocalProtocolError, match="never used again"):
        stream.save_clip(SAVE)
    with pytest.raises(LocalProtocolError, match="never used again"):
        stream.open_clip(clip(1))


def test_a_client_saves_nothing_of_an_earlier_epoch():
    session, stream = live_stream()
    stream.open_clip(RING)
    reconnect(session, msg.StreamOpened(1, 0, 0, 100))
    with pytest.raises(LocalProtocolError, match="is not open"):
        stream.save_clip(SAVE)
