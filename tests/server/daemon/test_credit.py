"""Sharing memory among streams: bounded in sum, enough for each that sends, none kept by those that do not."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from offcam_proto.limits import MIB
from offcamd.daemon.credit import BEFORE_FIRST_CLIP, KEPT_FOR_STREAMS, LEAST_FRAMES, MOST_PER_STREAM, CreditPool


def test_streams_that_record_nothing_keep_little_from_the_others():
    pool = CreditPool(512 * MIB)
    accounts = [pool.open() for _ in range(100)]
    granted = [pool.grant(account, 0) for account in accounts]
    assert all(nbytes == pool.share // BEFORE_FIRST_CLIP for nbytes in granted)
    assert sum(granted) <= pool.limit // BEFORE_FIRST_CLIP


def test_a_stream_gets_its_share_with_its_first_clip():
    pool = CreditPool(512 * MIB)
    account = pool.open()
    granted = pool.grant(account, 0)
    account.frame_bytes = 720_000
    assert granted + pool.grant(account, granted) == MOST_PER_STREAM


def test_streams_that_have_recorded_and_rest_leave_something_for_those_that_come():
    pool = CreditPool(512 * MIB)
    for _ in range(30):
        account = pool.open()
        account.frame_bytes = 100_000
        assert pool.grant(account, 0) >= LEAST_FRAMES * account.frame_bytes


def test_large_frames_get_room_at_once():
    pool = CreditPool(512 * MIB)
    account = pool.open()
    account.frame_bytes = 8 * MIB
    assert pool.grant(account, 0) >= LEAST_FRAMES * 8 * MIB


def test_what_is_plenty_is_not_topped_up():
    pool = CreditPool(512 * MIB)
    account = pool.open()
    granted = pool.grant(account, 0)
    assert pool.grant(account, granted) == 0


def rest(pool: CreditPool, frame_bytes: int) -> tuple[int, int]:
    """A stream begins to record, takes all it can get, and keeps it; returns its first credit, and with a clip."""
    account = pool.open()
    first = granted = pool.grant(account, 0)
    account.frame_bytes = frame_bytes
    while more := pool.grant(account, granted):
        granted += more
    return first, granted


@pytest.mark.parametrize("frame_bytes", [100_800, 720_000])
def test_the_last_of_many_that_rest_starts_as_well_as_the_first(frame_bytes):
    pool = CreditPool(512 * MIB)
    starts = [rest(pool, frame_bytes) for _ in range(KEPT_FOR_STREAMS)]
    assert pool.granted <= pool.limit
    for first, granted in starts:
        assert first >= 2 * frame_bytes, "the first frames leave before the daemon has heard of the clip"
        assert granted >= LEAST_FRAMES * frame_bytes
        assert granted > pool.kept - frame_bytes


def test_large_frames_of_many_that_rest_leave_room_for_one_frame_more():
    pool = CreditPool(512 * MIB)
    frame_bytes = 1920 * 1080 * 3
    starts = [rest(pool, frame_bytes)[1] for _ in range(32)]
    assert all(granted >= frame_bytes for granted in starts)
    assert pool.granted <= pool.limit


def test_who_has_much_gives_way_as_it_records():
    pool = CreditPool(512 * MIB)
    early = pool.open()
    early.frame_bytes = 100_800
    unspent = pool.grant(early, 0)
    assert unspent == MOST_PER_STREAM
    for _ in range(KEPT_FOR_STREAMS - 1):
        rest(pool, 100_800)
    for _ in range(2 * MOST_PER_STREAM // 100_800):
        if unspent >= 100_800:  # a frame is sent and encoded
            unspent -= 100_800
            pool.released(early, 100_800)
        unspent += pool.grant(early, unspent)
    assert LEAST_FRAMES * 100_800 <= early.exposure <= pool.share


@settings(max_examples=60)
@given(st.data())
def test_the_sum_is_bounded_and_balances(data):
    limit = data.draw(st.sampled_from([16 * MIB, 64 * MIB, 512 * MIB]))
    pool = CreditPool(limit)
    streams: list[list] = []  # account, unspent, in memory
    for _ in range(data.draw(st.integers(1, 80))):
        action = data.draw(st.sampled_from(["open", "send", "release", "grant", "close"]))
        if action == "open":
            streams.append([pool.open(), 0, 0])
            streams[-1][0].frame_bytes = data.draw(st.sampled_from([10, MIB, 3 * MIB]))
        elif streams:
            stream = data.draw(st.sampled_from(streams))
            account, unspent, in_memory = stream
            if action == "send" and unspent >= account.frame_bytes:
                stream[1:] = [unspent - account.frame_bytes, in_memory + account.frame_bytes]
            elif action == "release" and in_memory:
                pool.released(account, in_memory)
                stream[2] = 0
            elif action == "grant":
                stream[1] += pool.grant(account, unspent)
            elif action == "close":
                pool.close(account, in_memory)
                pool.released(account, in_memory)
                streams.remove(stream)
        assert 0 <= pool.granted <= limit
        assert pool.granted == sum(unspent + in_memory for _, unspent, in_memory in streams)
