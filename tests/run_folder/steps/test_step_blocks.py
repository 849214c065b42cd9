"""Blocks of steps: what comes out is what went in, and what is damaged is said to be."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from offcam_proto.errors import MalformedMessage, RemoteProtocolError
from offcam_proto.limits import MAX_RECORD_BYTES
from offcam_proto.records import StepRecord
from offcam_runs.steps import blocks
from offcam_runs.steps.layout import HEAP, TABLES, TAPE, Column, Layout
from offcam_runs.steps.rows import of_env
from step_samples import episodes

DTYPES = ("|b1", "|u1", "|i1", "<i2", "<u4", "<i8", "<f2", "<f4", "<f8", HEAP)


@st.composite
def records(draw):
    """Records of the tape, whose columns are anybody's: random bytes as rows, and a heap that fits their lengths."""
    kinds = draw(st.lists(st.sampled_from(DTYPES), min_size=1, max_size=6))
    shapes = [() if kind == HEAP else tuple(draw(st.lists(st.integers(1, 3), max_size=2))) for kind in kinds]
    columns = tuple(
        Column(f"c{place}", kind, shape) for place, (kind, shape) in enumerate(zip(kinds, shapes, strict=True))
    )
    layout = Layout(columns, draw(st.integers(0, 3)))
    count = draw(st.integers(1, 9))
    rows = np.frombuffer(
        draw(st.binary(min_size=count * layout.row_bytes, max_size=count * layout.row_bytes)), layout.dtype
    )
    rows = rows.copy()
    heap = 0
    for name, kind, _ in columns:
        if kind == HEAP:
            rows[name] %= 20
            heap += int(rows[name].sum())
    return StepRecord(
        TAPE, draw(st.integers(0, 9)), draw(st.integers(0, 2**40)), count, 3, 7, layout.text, rows.tobytes(),
        draw(st.binary(min_size=heap, max_size=heap)),
    )  # fmt: skip


@given(records())
def test_what_comes_out_is_what_went_in(record):
    assert blocks.unpack(blocks.pack(record)) == record


@given(records(), st.data())
def test_what_is_damaged_is_said_to_be_or_is_another_record(record, data):
    block = bytearray(blocks.pack(record))
    place = data.draw(st.integers(0, len(block) - 1))
    block[place] ^= data.draw(st.integers(1, 255))
    cut = data.draw(st.integers(0, len(block)))
    for damaged in (bytes(block), bytes(block[:cut])):
        try:
            found = blocks.unpack(damaged)
        except RemoteProtocolError:
            continue
        assert len(found.rows) + len(found.heap) <= MAX_RECORD_BYTES


def test_no_more_is_decompressed_than_a_record_can_have():
    zstandard = pytest.importorskip("zstandard")
    record = episodes(0)
    block = blocks.pack(record)
    head = blocks.HEAD.unpack_from(block)
    bomb = zstandard.ZstdCompressor().compress(bytes(2**28))
    assert len(bomb) < 2**16
    packed = blocks.HEAD.pack(blocks.ZSTD, *head[1:]) + record.layout.encode() + bomb
    with pytest.raises(MalformedMessage, match="instead of"):
        blocks.unpack(packed)
    many = list(head)
    many[3] = 2**31
    with pytest.raises(MalformedMessage, match="at most"):
        blocks.unpack(blocks.HEAD.pack(blocks.ZSTD, *many[1:]) + record.layout.encode() + bomb)


def test_many_alike_rows_take_few_bytes():
    record = episodes(0, 20, 100)
    assert len(blocks.pack(record)) < len(record.rows) / 10


def test_noise_does_not_make_the_rest_take_more():
    """In one piece a random mantissa and the exponent beside it are coded alike, and both take more bytes."""
    zstandard = pytest.importorskip("zstandard")
    layout = Layout((Column("action", "<f4", (6,)), Column("flags", "|u1")))
    rows = np.zeros(1_000, layout.dtype)
    rows["action"] = np.random.default_rng(0).uniform(-1, 1, (1_000, 6))
    record = StepRecord(TAPE, 0, 0, 1_000, 0, 0, layout.text, rows.tobytes(), b"")
    in_one = zstandard.ZstdCompressor(level=blocks.LEVEL).compress(
        rows.view(np.uint8).reshape(1_000, layout.row_bytes).T.tobytes()
    )
    block = blocks.pack(record)
    assert len(block) - blocks.HEAD.size - len(layout.text) < 0.96 * len(in_one)
    assert blocks.unpack(block) == record


@pytest.mark.parametrize(
    "changes",
    [
        {"table": max(TABLES) + 1},
        {"layout": '[0, [["reward", "<f8"]]]', "rows": bytes(4 * 8)},
        {"rows": bytes(4 * 7)},
        {"heap": b"x"},
    ],
    ids=["of no table", "of steps without their columns", "of other rows", "with a heap that nobody has"],
)
def test_a_record_that_is_none_is_refused(changes):
    with pytest.raises(MalformedMessage):
        blocks.pack(episodes(0, **changes))


def test_of_several_sub_environments_each_has_its_own_values():
    layout = Layout((Column("n", "<i4"), Column("text", HEAP), Column("box", "<f4", (2,))), 2)
    rows = np.zeros(2, layout.dtype)
    rows["n"] = [[1, 2], [3, 4]]
    rows["text"] = [[1, 2], [0, 3]]
    rows["box"] = np.arange(8).reshape(2, 2, 2)
    record = StepRecord(TAPE, 5, 10, 2, 0, 0, layout.text, rows.tobytes(), b"abbddd")
    found = [of_env(blocks.unpack(blocks.pack(record)), env_index) for env_index in (5, 6)]
    assert [each.column("n").tolist() for each in found] == [[1, 3], [2, 4]]
    assert [each.column("text").tolist() for each in found] == [[b"a", b""], [b"bb", b"ddd"]]
    assert [each.column("box").tolist() for each in found] == [[[0, 1], [4, 5]], [[2, 3], [6, 7]]]
    assert [each.first_row for each in found] == [10, 10]


def test_a_frame_of_zstandard_is_of_one_record():
    block = bytearray(blocks.pack(episodes(0, 9)))
    assert block[0] == blocks.ZSTD
    struct.pack_into("<I", block, 4, 35)  # one row fewer than are there
    with pytest.raises(MalformedMessage):
        blocks.unpack(bytes(block))
