"""Frame layouts, held against numpy; and the grid that tiles are shown in."""

from __future__ import annotations

import math

import numpy as np
import pytest
import wire_strategies as some
from hypothesis import example, given
from hypothesis import strategies as st

from offcam_proto.errors import LimitExceeded, MalformedMessage, ProtocolError
from offcam_proto.layout import CHANNELS, FrameLayout, grid_shape
from offcam_proto.limits import MAX_FRAME_SIDE


def fits(layout: tuple, nbytes: int) -> bool:
    """numpy's opinion: it checks bounds when it is given the buffer."""
    shape, strides, offset = layout
    try:
        np.ndarray(shape, np.uint8, bytes(nbytes), offset, strides)
    except (TypeError, ValueError):
        return False
    return True


@given(
    st.tuples(st.integers(1, 4), st.integers(1, 4), st.sampled_from(CHANNELS)),
    st.tuples(*[st.integers(-20, 20)] * 3),
    st.integers(-2, 60),
    st.integers(1, 80),
)
@example((1, 1, 1), (2**63 - 1, -(2**63) + 1, 5), 0, 1)
@example((2, 3, 3), (9, 3, 1), 0, 18)
@example((2, 3, 3), (9, 3, 1), 0, 17)
def test_a_layout_is_valid_where_numpy_can_read_it_and_no_byte_need_be_shared(shape, strides, offset, nbytes):
    expected = offset >= 0 and fits((shape, strides, offset), nbytes) and math.prod(shape) <= nbytes
    try:
        FrameLayout(shape, strides, offset, nbytes)
    except ProtocolError:
        assert not expected
    else:
        assert expected


@given(some.layouts())
def test_every_element_of_a_valid_layout_lies_in_the_buffer(layout):
    places = np.full(layout.shape, layout.offset)
    for axis, stride in enumerate(layout.strides):
        steps = np.arange(layout.shape[axis]) * stride
        places = places + steps.reshape([-1 if other == axis else 1 for other in range(len(layout.shape))])
    assert 0 <= places.min() <= places.max() < layout.nbytes
    pixels = np.arange(layout.nbytes, dtype=np.uint8)
    frame = np.ndarray(layout.shape, np.uint8, pixels, layout.offset, layout.strides)
    assert np.array_equal(frame, pixels[places])


@pytest.mark.parametrize(
    "view",
    [
        lambda block: block,
        lambda block: block[::-1],
        lambda block: block[:, ::-1],
        lambda block: block[::-1, ::-1],
        lambda block: np.transpose(block, (1, 0, 2)),
        lambda block: np.transpose(block, (1, 0, 2))[::-1],
        lambda block: block[..., ::-1],
        lambda block: np.moveaxis(block.reshape(3, 4, 5), 0, -1),
        np.rot90,
        lambda block: block[..., 0],
        lambda block: block[::2, 1:],
        lambda block: block[:1, :1],
    ],
)
def test_any_view_of_a_block_has_a_layout(view):
    block = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
    frame = view(block)
    offset = frame.__array_interface__["data"][0] - block.__array_interface__["data"][0]
    layout = FrameLayout(frame.shape, frame.strides, offset, block.nbytes)
    again = np.ndarray(layout.shape, np.uint8, block.tobytes(), layout.offset, layout.strides)
    assert np.array_equal(again, frame)
    assert layout.size == frame.shape[:2]


@pytest.mark.parametrize(
    ("shape", "strides"),
    [
        ((), ()),
        ((6,), (1,)),
        ((1, 1, 1, 6), (6, 6, 6, 1)),
        ((2, 3), (3, 1, 1)),
        ((2, 3, 2), (6, 2, 1)),
        ((0, 3), (3, 1)),
        ((2, 3.0), (3, 1)),
        ((True, 3), (3, 1)),
        ((2, 3), (None, 1)),
    ],
)
def test_what_is_no_layout(shape, strides):
    with pytest.raises(MalformedMessage):
        FrameLayout(shape, strides, 0, 100)


def test_one_byte_cannot_be_a_large_frame():
    with pytest.raises(MalformedMessage, match="without repeats"):
        FrameLayout((MAX_FRAME_SIDE, MAX_FRAME_SIDE, 3), (0, 0, 0), 0, 1)


def test_a_stride_beyond_64_bits_is_refused_even_where_it_is_never_taken():
    with pytest.raises(LimitExceeded, match="stride"):
        FrameLayout((1, 3), (2**64 - 1, 1), 0, 3)


# --- the grid ---------------------------------------------------------------------------------------------

tiles = st.integers(1, 300)
side = st.integers(1, 2000)
aspects = st.tuples(st.integers(1, 50), st.integers(1, 50))


def waste(rows: int, cols: int, count: int, height: int, width: int, aspect: tuple[int, int]) -> float:
    """What `grid_shape` says it weighs: distance from the aspect, times the area in units of full tiles."""
    ratio = cols * width / (rows * height) / (aspect[0] / aspect[1])
    return max(ratio, 1 / ratio) * rows * cols / count


@given(tiles, side, side, aspects)
def test_every_tile_has_a_place_and_no_row_or_column_is_empty(count, height, width, aspect):
    rows, cols = grid_shape(count, height, width, aspect)
    assert rows * cols >= count
    assert (rows - 1) * cols < count
    assert rows * (cols - 1) < count


@given(st.integers(1, 40), side, side, aspects)
def test_no_other_grid_is_better(count, height, width, aspect):
    best = waste(*grid_shape(count, height, width, aspect), count, height, width, aspect)
    for rows in range(1, count + 1):
        for cols in range(-(-count // rows), count + 1):
            assert best <= waste(rows, cols, count, height, width, aspect) * (1 + 1e-8)


@given(tiles, side, side, aspects)
def test_what_is_turned_on_its_side_gets_a_grid_as_good(count, height, width, aspect):
    rows, cols = grid_shape(count, height, width, aspect)
    turned = grid_shape(count, width, height, aspect[::-1])
    one = waste(rows, cols, count, height, width, aspect)
    other = waste(*turned, count, width, height, aspect[::-1])
    assert math.isclose(one, other, rel_tol=1e-8)


@pytest.mark.parametrize(
    ("count", "height", "width", "expected"),
    [(1, 84, 84, (1, 1)), (4, 90, 160, (2, 2)), (9, 90, 160, (3, 3)), (7, 84, 84, (2, 4)), (7, 400, 600, (3, 3))],
)
def test_some_grids(count, height, width, expected):
    assert grid_shape(count, height, width, (16, 9)) == expected


@pytest.mark.parametrize("count", [5, 7, 11, 13, 31, 127])
def test_a_prime_number_of_tiles_is_no_strip(count):
    rows, cols = grid_shape(count, 84, 84, (16, 9))
    assert rows > 1
    assert cols > 1
