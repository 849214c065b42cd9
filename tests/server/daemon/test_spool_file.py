"""Frames of a client's arena on the daemon's disk: within its budget, given back, and found by whoever has it open."""

from __future__ import annotations

import os

import pytest

from offcam.connection.spool import Spool
from offcam_proto.arena import HEAD_BYTES as SLOT_HEAD_BYTES
from offcam_proto.layout import FrameLayout
from offcam_proto.left_frames import pack_head, unpack_head
from offcam_proto.spool_file import HEAD_BYTES, place_bytes
from offcamd.daemon.spool_file import SpoolFile
from offcamd.encode.budget import Budget
from run_samples import open_clip

SIDE = 16
LAYOUT = FrameLayout((SIDE, SIDE), (SIDE, 1), 0, SIDE * SIDE)
SLOT_BYTES = 4096
PLACE = place_bytes(SLOT_BYTES)
TOKEN = bytes(range(16))


def pixels(value: int, tiles: int = 1) -> bytes:
    return b"".join(bytes([value + tile]) * SIDE * SIDE for tile in range(tiles))


@pytest.fixture
def budget():
    return Budget(2**30, 4 * PLACE)


@pytest.fixture
def spool(budget, tmp_path):
    return SpoolFile(budget, tmp_path, TOKEN, SLOT_BYTES)


def move(spool, index, clip=3, tiles=1):
    return spool.move(clip, index, (LAYOUT,) * tiles, pixels(index, tiles))


def opened(spool, token=TOKEN):
    """As a client of the same host opens it."""
    return Spool(os.getpid(), spool.descriptor, token, SLOT_BYTES)


def found(spool):
    client = opened(spool)
    return {(named.clip, named.frames[0][0]): b"".join(client.pixels(place, named.layouts))
            for place, named in client.frames()}  # fmt: skip


def test_a_frame_is_read_back_and_found_until_it_is_released(spool, budget):
    moved = move(spool, 7, tiles=3)
    assert [bytes(part) for part, _ in moved.read()] == [pixels(7), pixels(8), pixels(9)]
    assert found(spool) == {(3, 7): pixels(7, 3)}
    moved.release()
    assert found(spool) == {}
    assert budget.spool_bytes == 0
    assert os.fstat(spool.descriptor).st_size == HEAD_BYTES


def test_it_is_as_large_as_what_is_counted_of_it_and_never_larger_than_the_budget(spool, budget):
    moved = [move(spool, index) for index in range(4)]
    assert move(spool, 4) is None
    assert budget.spool_bytes == 4 * PLACE
    for gone, size in ((1, 4), (3, 3), (2, 1)):  # free ones at the end go, others are used next
        moved[gone].release()
        assert budget.spool_bytes == size * PLACE
        assert os.fstat(spool.descriptor).st_size <= HEAD_BYTES + size * PLACE
    assert move(spool, 5)
    assert found(spool) == {(3, 0): pixels(0), (3, 5): pixels(5)}


def test_what_has_no_room_in_a_places_head_is_not_moved(spool, budget):
    assert spool.move(0, 0, (FrameLayout((1, 1), (1, 1), 0, 1),) * 200, bytes(200)) is None
    assert budget.spool_bytes == 0


def test_a_file_that_the_disk_refuses_is_not_found(spool, budget, monkeypatch):
    def refuse(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("offcamd.daemon.spool_file.write_at", refuse)
    with pytest.raises(OSError, match="No space"):
        move(spool, 0)
    assert found(spool) == {}
    assert budget.spool_bytes == 0


def test_a_client_takes_no_other_file_for_it(spool):
    with pytest.raises(OSError, match="no spool"):
        opened(spool, token=bytes(16))
    with pytest.raises(FileNotFoundError):
        Spool(os.getpid(), 2**31 - 1, TOKEN, SLOT_BYTES)


def test_a_client_names_a_frame_anew(spool):
    for index in (0, 1):
        move(spool, index)
    opening = open_clip(9)
    opened(spool).rename(1, 9, 0, (LAYOUT,), pack_head(opening, (LAYOUT,)))
    assert found(spool) == {(3, 0): pixels(0), (9, 0): pixels(1)}
    head = os.pread(spool.descriptor, SLOT_HEAD_BYTES, 2 * HEAD_BYTES + PLACE)
    assert unpack_head(head) == (opening, (LAYOUT,))


def test_it_outlives_whoever_made_it(budget, tmp_path):
    spool = SpoolFile(budget, tmp_path, TOKEN, SLOT_BYTES)
    move(spool, 1)
    client = opened(spool)
    del spool
    ((place, named),) = client.frames()
    assert b"".join(client.pixels(place, named.layouts)) == pixels(1)
    assert list(tmp_path.iterdir()) == []


def test_one_with_a_name_leaves_the_frames_of_another_alone_until_nobody_needs_them(budget, tmp_path):
    """Its client offers the same arena over a new connection, while frames of the old one wait."""
    first = SpoolFile(budget, tmp_path, TOKEN, SLOT_BYTES, named=True)
    moved = move(first, 1)
    second = SpoolFile(budget, tmp_path, TOKEN, SLOT_BYTES, named=True)
    move(second, 2)
    del first
    assert [bytes(part) for part, _ in moved.read()] == [pixels(1)]
    assert found(second) == {(3, 2): pixels(2)}
    assert len(list(tmp_path.iterdir())) == 2
    moved.release()
    del moved
    assert len(list(tmp_path.iterdir())) == 1
