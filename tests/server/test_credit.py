"""Sharing memory among streams: bounded in sum, enough for each that sends, none kept by those that do not."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from offcam_proto.limits import MIB
from offcamd.credit import BEFORE_FIRST_CLIP, LEAST_FRAMES, MOST_PER_STREAM, CreditPool


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


@settings(deadline=None, max_examples=60)
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
