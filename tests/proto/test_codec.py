"""The codec under any input: what is valid survives, what is not is refused, and nothing else happens."""

from __future__ import annotations

import math
import tracemalloc

import msgpack
import pytest
import wire_strategies as some
from hypothesis import given
from hypothesis import strategies as st

from offcam_proto import codec, limits
from offcam_proto import messages as msg
from offcam_proto.errors import LimitExceeded, MalformedMessage, RemoteProtocolError
from offcam_proto.layout import FrameLayout
from offcam_proto.records import ClipRecord, EpisodeColumns, EpisodeRecord
from offcam_proto.resuming import RunReply, pack_episodes
from offcam_proto.server_session import ServerSession, State

HELLO = msg.Hello(msg.Hello.MAGIC, limits.PROTOCOL_VERSION, bytes(16), 1, "h", "c")
MIB = 2**20


def same(one: object, other: object) -> bool:
    """Equality that holds for NaN, too, and tells 1 from 1.0 and True."""
    return repr(one) == repr(other)


# --- what is valid survives -------------------------------------------------------------------------------


@given(some.client_messages)
def test_any_client_message_round_trips(message):
    assert same(codec.decode_client(codec.encode(message)), message)


@given(some.server_messages)
def test_any_server_message_round_trips(message):
    assert same(codec.decode_server(codec.encode(message)), message)


@given(some.records)
def test_any_record_round_trips(record):
    body = codec.pack_record(record)
    assert same(codec.unpack_record(body), record)
    assert len(body) <= limits.MAX_RECORD_BYTES


def test_the_largest_record_fits():
    name, key = "n" * limits.MAX_NAME_BYTES, "k" * (limits.MAX_COUNT_NAME_BYTES - 2)
    most = limits.MAX_INT
    dropped = {f"{number:02}{key}": most // limits.MAX_COUNTS for number in range(limits.MAX_COUNTS)}
    clip = ClipRecord(most, name, most, most, most, most, math.nan, most, dropped, 1.0, 1.0, True)
    seed = "9" * limits.MAX_SEED_BYTES
    for record in (clip, EpisodeRecord(most, most, 1.0, most, 1.0, 1.0, True, True, seed)):
        assert same(codec.unpack_record(codec.pack_record(record)), record)


def test_the_largest_frame_header_fits():
    shape, strides = (1, 1, 1), (-limits.MAX_INT,) * 3
    layouts = (FrameLayout(shape, strides, 2**30, 2**30 + 1),) * limits.MAX_PIXEL_PARTS
    header = (msg.Frame.TYPE, *(limits.MAX_INT,) * 3, [(lay.shape, lay.strides, lay.offset) for lay in layouts])
    assert len(msgpack.packb(header)) <= limits.MAX_HEADER_BYTES


def test_a_frame_s_pixels_are_never_copied():
    pixels = memoryview(bytearray(12))
    frame = msg.Frame(1, 0, 0, (FrameLayout((2, 2, 3), (6, 3, 1), 0, 12),), (pixels,))
    header, sent = codec.encode(frame)
    assert sent is pixels
    assert codec.decode_client([header, sent]).pixels[0] is pixels


def test_numbers_may_be_encoded_in_any_width():
    wide = b"\x93\x08\xcf\x00\x00\x00\x00\x00\x00\x00\x05\xc2"
    assert codec.decode_client([wide]) == msg.Flush(5)
    single = msgpack.packb(
        [3, 1, 0, "n", 1, 30.0, 1, 1, 0, 0, 1.0, 3, [], 0, 0, "", None, "", 0, 0.0, False], use_single_float=True
    )
    assert codec.decode_client([single]).fps == 30.0


# --- what is not is refused, and nothing else happens -----------------------------------------------------


def check_mutant(parts, decode):
    try:
        message = decode(parts)
    except RemoteProtocolError as error:
        words = str(error)
    else:
        words = ""
        assert same(decode(codec.encode(message)), message)
    assert len(words) < 2000


@given(some.mutated(some.client_messages))
def test_any_bytes_are_a_client_message_or_refused(parts):
    check_mutant(parts, codec.decode_client)


@given(some.mutated(some.server_messages))
def test_any_bytes_are_a_server_message_or_refused(parts):
    check_mutant(parts, codec.decode_server)


@given(st.lists(st.binary(max_size=64), max_size=3))
def test_noise_is_a_message_or_refused(parts):
    check_mutant(parts, codec.decode_client)
    check_mutant(parts, codec.decode_server)


@given(st.binary(max_size=64) | some.records.map(codec.pack_record).flatmap(some._scrambled))
def test_any_bytes_are_a_record_or_refused(body):
    try:
        record = codec.unpack_record(body)
    except RemoteProtocolError:
        return
    assert same(codec.unpack_record(codec.pack_record(record)), record)


@given(some.mutated(some.client_messages), st.booleans())
def test_a_session_takes_any_bytes_or_says_why_not(parts, greeted):
    session = ServerSession()
    if greeted:
        session.receive(codec.encode(HELLO))
    reason = None
    try:
        session.receive(parts)
    except RemoteProtocolError as error:
        reason = error.reason
    if reason is not None:
        (answer,) = session.take()
        refused = codec.decode_server(answer)
        assert (session.state, type(refused), refused.code) == (State.CLOSED, msg.Refused, reason)


HOSTILE = {
    "nested arrays that claim to be long": b"\xdc\x10\x00" * 80_000,
    "nested arrays": b"\x91" * limits.MAX_HEADER_BYTES,
    "empty maps": b"\xdc\x10\x00" + b"\x80" * 4095 + b"\x01",
    "arrays of empty maps": b"\xdc\x00\x3f" + (b"\xdc\x10\x00" + b"\x80" * 4096) * 63,
    "nested maps": b"\x81\xa1a" * 80_000,
    "arrays of empty texts": b"\xdc\x00\x3f" + (b"\xdc\x10\x00" + b"\xa0" * 4096) * 63,
    "arrays of numbers": b"\xdc\x00\x1f" + (b"\xdc\x10\x00" + b"\xcd\xff\xff" * 2700) * 31,
    "extension types": b"\xdc\x00\x1f" + (b"\xdc\x10\x00" + b"\xd4\x05\x00" * 4096) * 20,
    "timestamps": b"\xdc\x00\x0f" + (b"\xdc\x10\x00" + b"\xd6\xff\x00\x00\x00\x01" * 4096) * 10,
    "long text": b"\x92\x0a\xdb\x00\x03\xff\x00" + b"\xf0\x9f\x8e\xa5" * 65_472,
}


@pytest.mark.parametrize("header", HOSTILE.values(), ids=HOSTILE.keys())
def test_memory_is_bounded_whatever_a_header_claims(header):
    header = header[: limits.MAX_HEADER_BYTES]
    tracemalloc.start()
    try:
        with pytest.raises(RemoteProtocolError):
            codec.decode_client([header])
        assert tracemalloc.get_traced_memory()[1] < 64 * MIB
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("depth", [400, 900, 1023])
def test_a_value_nested_too_deep_to_be_shown_is_refused(depth):
    nested = b"\x91" * depth + b"\x01"
    with pytest.raises(MalformedMessage):
        codec.decode_client([b"\x92\x08" + nested])
    with pytest.raises(MalformedMessage):
        codec.unpack_record(
            b"\x9a\x01\x00\x00\xcb" + bytes(8) + b"\x00" + (b"\xcb" + bytes(8)) * 2 + b"\xc2\xc2" + nested
        )


# --- limits -----------------------------------------------------------------------------------------------


def test_a_header_s_size_is_checked_before_it_is_read():
    with pytest.raises(LimitExceeded, match="a header is at most"):
        codec.decode_client([b"\xc1" * (limits.MAX_HEADER_BYTES + 1)])
    with pytest.raises(LimitExceeded, match="a header is at most"):
        codec.decode_client([memoryview(bytearray(limits.MAX_HEADER_BYTES + 1))])


def test_a_message_that_is_too_large_is_not_sent_either():
    bodies = (bytes(limits.MAX_HEADER_BYTES // 4),) * 4
    with pytest.raises(LimitExceeded, match="a header is at most"):
        codec.encode(msg.Records(1, 1, bodies))


def told(**info: float) -> EpisodeRecord:
    return EpisodeRecord(0, 0, 0.0, 0, 0.0, 0.0, True, True, None, info)


def test_what_are_no_values_of_an_episode():
    for info in ([], {"a": 1}, {"a": True}, {"a": None}, {1: 1.0}, {"a\0": 1.0}, {"\ud800": 1.0}):
        with pytest.raises(MalformedMessage):
            EpisodeRecord(0, 0, 0.0, 0, 0.0, 0.0, True, True, None, info)
    for names in ("a", ["a"], (1,), ("a", "a"), None):
        with pytest.raises(MalformedMessage):
            EpisodeColumns(1, 0.0, bytes(46), names)
    for size, names in ((30, ("a",)), (38, ()), (47, ("a", "b")), (39, ("a",))):
        with pytest.raises(MalformedMessage, match="bytes for each"):
            EpisodeColumns(1, 0.0, bytes(size), names)


def test_what_no_clip_can_be_told():
    for told in (
        {"preset": "fastest"},
        {"preset": None},
        {"crf": 23.0},
        {"crf": -1},
        {"crf": True},
        {"max_width": None},
        {"ring_seconds": 30},
        {"ring_seconds": -0.5},
        {"ring_seconds": float("nan")},
        {"ring_seconds": limits.MAX_RING_SECONDS + 0.5},
        {"urgent": 1},
    ):
        with pytest.raises(MalformedMessage, match=next(iter(told))):
            msg.OpenClip(1, 0, "p", 1, 1.0, 1, 1, 0, 0, 0.0, 0, **told)


@pytest.mark.parametrize(
    ("make", "most"),
    [
        (lambda n: msg.Goodbye("x" * n), limits.MAX_TEXT_BYTES),
        (lambda n: msg.Goodbye("é" * (n // 2) + "x" * (n % 2)), limits.MAX_TEXT_BYTES),
        (
            lambda n: msg.OpenStream(1, bytes(16), "/" + "x" * (n - 1), "", 0, True, "E", 1, False, 0.0),
            limits.MAX_PATH_BYTES,
        ),
        (lambda n: msg.OpenStream(1, bytes(16), "/r", "p" * n, 0, True, "E", 1, False, 0.0), limits.MAX_NAME_BYTES),
        (lambda n: msg.OpenClip(1, 0, "p" * n, 1, 1.0, 1, 1, 0, 0, 0.0, 0), limits.MAX_NAME_BYTES),
        (lambda n: msg.OpenClip(1, 0, "p", 1, 1.0, n, 1, 0, 0, 0.0, 0), limits.MAX_PIXEL_PARTS),
        (lambda n: msg.OpenClip(1, 0, "p", 1, 1.0, 1, 1, 0, 0, 0.0, n), limits.MAX_FRAME_BYTES),
        (lambda n: msg.OpenClip(1, 0, "p", 1, 1.0, 1, 1, 0, 0, 0.0, 0, (), n), limits.MAX_FRAME_SIDE),
        (lambda n: msg.OpenClip(1, 0, "p", 1, 1.0, 1, 1, 0, 0, 0.0, 0, max_height=n), limits.MAX_FRAME_SIDE),
        (lambda n: msg.OpenClip(1, 0, "p", 1, 1.0, 1, 1, 0, 0, 0.0, 0, crf=n), limits.MAX_CRF),
        (lambda n: msg.Records(1, 1, (b"",) * n), limits.MAX_RECORDS_PER_MESSAGE),
        (lambda n: msg.Records(1, n - 1, (b"", b"")), limits.MAX_INT),
        (msg.Flush, limits.MAX_INT),
        (lambda n: msg.StatsReply(1, bytes(n)), limits.MAX_STATS_BYTES),
        (lambda n: RunReply(1, True, 0, n, "", "", b""), limits.MAX_INT),
        (lambda n: RunReply(1, True, 0, 0, "", "", pack_episodes({n: 0})), limits.MAX_INT),
        (lambda n: RunReply(1, True, 0, 0, "", "", bytes(n)), limits.MAX_EPISODES_BYTES),
        (lambda n: EpisodeRecord(0, 0, 0.0, 0, 0.0, 0.0, True, True, "9" * n), limits.MAX_SEED_BYTES),
        (lambda n: told(**dict.fromkeys(map(str, range(n)), 0.0)), limits.MAX_EPISODE_VALUES),
        (lambda n: told(**{"x" * n: 0.0}), limits.MAX_VALUE_NAME_BYTES),
        (lambda n: EpisodeColumns(1, 0.0, bytes(30 + 8 * n), tuple(map(str, range(n)))), limits.MAX_EPISODE_VALUES),
        (lambda n: FrameLayout((n, 1), (1, 1), 0, n), limits.MAX_FRAME_SIDE),
        (lambda n: FrameLayout((1, n), (n, 1), 0, n), limits.MAX_FRAME_SIDE),
        (lambda n: FrameLayout((1, 1), (-n, 1), 0, 1), limits.MAX_INT),
        (
            lambda n: ClipRecord(0, "n", 1, 0, 0, 0, 0.0, 0, {str(i): 0 for i in range(n)}, 1.0, 0.0, True),
            limits.MAX_COUNTS,
        ),
        (
            lambda n: ClipRecord(0, "n", 1, 0, 0, 0, 0.0, 0, {"k" * n: 0}, 1.0, 0.0, True),
            limits.MAX_COUNT_NAME_BYTES,
        ),
    ],
)  # fmt: skip
def test_a_limit_is_the_last_value_that_is_allowed(make, most):
    make(most)
    with pytest.raises(LimitExceeded, match=str(most)):
        make(most + 1)


def test_a_record_s_size_is_checked_before_it_is_read():
    with pytest.raises(LimitExceeded, match="a record is at most"):
        codec.unpack_record(b"\xc1" * (limits.MAX_RECORD_BYTES + 1))


def test_a_frame_is_no_larger_than_its_limit():
    pixels = memoryview(bytearray(MIB))
    layout = FrameLayout((1, 1), (1, 1), 0, MIB)
    parts = limits.MAX_FRAME_BYTES // MIB
    msg.Frame(1, 0, 0, (layout,) * parts, (pixels,) * parts)
    with pytest.raises(LimitExceeded, match="a frame is at most"):
        msg.Frame(1, 0, 0, (layout,) * (parts + 1), (pixels,) * (parts + 1))


def test_a_frame_has_no_more_parts_than_its_limit():
    row = [[1, 1], [1, 1], 0]
    header = msgpack.packb([msg.Frame.TYPE, 1, 0, 0, [row] * limits.MAX_PIXEL_PARTS])
    assert len(codec.decode_client([header, *[b"x"] * limits.MAX_PIXEL_PARTS]).pixels) == limits.MAX_PIXEL_PARTS
    with pytest.raises(LimitExceeded, match="pixel buffers"):
        codec.decode_client([header, *[b"x"] * (limits.MAX_PIXEL_PARTS + 1)])


@pytest.mark.parametrize("size", [17, 19])
def test_a_frame_whose_buffer_is_not_as_large_as_stated_cannot_be_made(size):
    with pytest.raises(MalformedMessage, match=f"a layout for 18 bytes, got {size}"):
        msg.Frame(1, 0, 0, (FrameLayout((2, 3, 3), (9, 3, 1), 0, 18),), (bytes(size),))


@pytest.mark.parametrize("drops", [{"credit": 3, "timeout": 2}, {"credit": -1}, {"credit": True}, {1: 1}, []])
def test_drops_must_be_counts_that_fit_what_was_offered(drops):
    with pytest.raises(MalformedMessage):
        ClipRecord(0, "n", 1, 0, 0, 0, 0.0, 4, drops, 1.0, 0.0, True)
