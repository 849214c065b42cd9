from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from offcam_proto.errors import FrameError
from offcam_proto.layout import FrameLayout
from offcamd.video import pixels
from offcamd.video.i420 import I420Converter

BLACK, WHITE, NEUTRAL = 16, 235, 128  # limited range


def random_frame(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def stored_as(frame: np.ndarray, order: tuple[int, ...], flips: tuple[bool, ...]) -> np.ndarray:
    """The same pixels, but in a buffer with its axes in another order and some running backwards."""
    reverse = tuple(slice(None, None, -1 if flip else 1) for flip in flips)
    return np.ascontiguousarray(frame[reverse].transpose(order)).transpose(np.argsort(order))[reverse]


def luma(rgb: tuple[int, int, int]) -> float:
    """ITU-R BT.601, limited range."""
    return 16 + 219 / 255 * (0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2])


def test_view_shares_the_buffer_and_reads_any_layout() -> None:
    buffer = bytearray(range(24))
    frame = pixels.view(buffer, FrameLayout((2, 4, 3), (-12, 3, 1), 12, 24))
    assert frame[1, 0].tolist() == [0, 1, 2]
    assert frame[0, 0].tolist() == [12, 13, 14]
    buffer[0] = 99
    assert frame[1, 0, 0] == 99


def test_view_refuses_a_buffer_of_another_size() -> None:
    layout = FrameLayout((2, 4, 3), (12, 3, 1), 0, 24)
    for size in (23, 25):
        with pytest.raises(FrameError, match=f"{size} bytes"):
            pixels.view(bytes(size), layout)


ORDERS = [
    pytest.param(shape, order, flips, id=f"{len(shape)}d{shape[-1]}-{order}-{flips}")
    for shape in ((6, 10), (6, 10, 1), (6, 10, 3), (6, 10, 4))
    for order in itertools.permutations(range(len(shape)))
    for flips in itertools.product((False, True), repeat=len(shape))
]


@pytest.mark.parametrize(("shape", "order", "flips"), ORDERS)
def test_packed_gives_what_ascontiguousarray_gives(shape, order, flips) -> None:
    frame = stored_as(random_frame(*shape), order, flips)
    before = frame.copy()
    result = pixels.packed(frame)
    assert np.array_equal(result, before)
    assert result.shape == shape
    assert np.array_equal(frame, before), "the client's buffer was written to"


@pytest.mark.parametrize(
    ("order", "flips"),
    [
        (order, (*flips, channels))
        for order in itertools.permutations(range(3))
        for flips in itertools.product((False, True), repeat=2)
        for channels in (False, True)
    ],
)
def test_every_permuted_and_flipped_view_avoids_numpys_slow_copy(order, flips, monkeypatch) -> None:
    def slow(frame: np.ndarray) -> np.ndarray:
        pytest.fail(f"strides {frame.strides} were copied by numpy")

    monkeypatch.setattr(pixels, "_copied", slow)
    assert pixels.packed(stored_as(random_frame(6, 10, 3), order, flips)).strides[1:] == (3, 1)


AWKWARD = {
    "every second pixel": lambda a: a[::2, ::2],
    "rgb of rgbx": lambda a: a[..., :3],
    "bgr of xbgr": lambda a: a[..., 2::-1],
    "cut out": lambda a: a[2:-3, 1:-2],
    "cut out, flipped": lambda a: a[2:-3, 1:-2][::-1, ::-1],
    "one row": lambda a: a[3:4],
    "one column": lambda a: a[:, 3:4, ::-1],
    "one pixel": lambda a: a[3:4, 2:3],
    "one colour": lambda a: np.broadcast_to(a[0, 0], a.shape),
    "one row repeated": lambda a: np.broadcast_to(a[0], a.shape),
    "one channel": lambda a: a[..., 1:2],
    "a channel as grey": lambda a: a[..., 1],
}


@pytest.mark.parametrize("cut", AWKWARD.values(), ids=AWKWARD)
def test_packed_handles_views_with_gaps(cut) -> None:
    frame = cut(random_frame(12, 14, 4))
    assert np.array_equal(pixels.packed(frame), frame)


@given(
    st.tuples(st.integers(1, 5), st.integers(1, 5), st.sampled_from([1, 3, 4])),
    st.tuples(*[st.integers(-30, 30)] * 3),
    st.integers(0, 400),
)
def test_packed_reads_any_layout_a_client_can_send(shape, strides, offset) -> None:
    low = sum((n - 1) * s for n, s in zip(shape, strides, strict=True) if s < 0)
    buffer = random_frame(1000).tobytes()
    frame = pixels.view(buffer, FrameLayout(shape, strides, max(offset, -low), 1000))
    assert np.array_equal(pixels.packed(frame), frame.copy())


def test_colours_are_bt601_limited_range() -> None:
    for colour in ((0, 0, 0), (255, 255, 255), (255, 0, 0), (0, 255, 0), (0, 0, 255), (13, 200, 99)):
        planes = I420Converter(1, 1).convert([np.full((4, 6, 3), colour, np.uint8)])
        assert planes.shape == (6, 6)
        assert planes.flags.c_contiguous
        assert abs(planes[:4].astype(float) - luma(colour)).max() <= 1, colour


def test_grey_looks_as_if_it_had_come_in_rgb() -> None:
    grey = np.arange(256, dtype=np.uint8).reshape(8, 32)
    coloured = I420Converter(1, 1).convert([np.repeat(grey[..., np.newaxis], 3, axis=2)])
    assert np.array_equal(I420Converter(1, 1).convert([grey]), coloured)
    assert np.array_equal(I420Converter(1, 1).convert([grey[..., np.newaxis]]), coloured)
    assert (coloured[8:] == NEUTRAL).all()


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 0, 2), (2, 0, 1)])
def test_alpha_is_ignored(order) -> None:
    frame = random_frame(8, 6, 4)
    expected = I420Converter(1, 1).convert([np.ascontiguousarray(frame[..., :3])])
    assert np.array_equal(I420Converter(1, 1).convert([stored_as(frame, order, (False,) * 3)]), expected)


@pytest.mark.parametrize("size", [(1, 1), (37, 53), (1, 8), (8, 1), (84, 84), (3, 2)])
def test_odd_sizes_repeat_their_last_row_and_column(size) -> None:
    frame = random_frame(*size, 3)
    even = np.pad(frame, ((0, size[0] % 2), (0, size[1] % 2), (0, 0)), mode="edge")
    converter = I420Converter(1, 1)
    planes = converter.convert([frame])
    assert np.array_equal(planes, I420Converter(1, 1).convert([even]))
    assert converter.size == (even.shape[1], even.shape[0])
    assert planes.shape == (even.shape[0] * 3 // 2, even.shape[1])


def test_each_pixel_has_its_own_brightness_and_each_four_their_mean_colour() -> None:
    frame = random_frame(46, 34, 3)
    planes = I420Converter(1, 1).convert([frame]).astype(float)
    weights = np.array([0.299, 0.587, 0.114])
    assert abs(planes[:46] - (16 + 219 / 255 * (frame @ weights))).max() <= 1.5
    mean = frame.astype(float).reshape(23, 2, 17, 2, 3).mean(axis=(1, 3))
    u, v = planes[46:].reshape(2, 23, 17)
    assert abs(u - (128 + 224 / 255 * 0.5 / (1 - 0.114) * (mean[..., 2] - mean @ weights))).max() <= 2
    assert abs(v - (128 + 224 / 255 * 0.5 / (1 - 0.299) * (mean[..., 0] - mean @ weights))).max() <= 2


def test_tiles_fill_a_grid_row_by_row_and_the_rest_is_black() -> None:
    greys = [np.full((4, 6), level, np.uint8) for level in (50, 100, 150, 200, 250)]
    converter = I420Converter(2, 3)
    planes = converter.convert(greys)
    assert converter.size == (18, 8)
    middles = planes[[2, 6]][:, [3, 9, 15]]
    assert np.allclose(
        middles, [[luma((g,) * 3) for g in (50, 100, 150)], [luma((200,) * 3), luma((250,) * 3), BLACK]], atol=1
    )


def test_tiles_of_any_kind_share_a_picture() -> None:
    tiles = [np.full((2, 2), 255, np.uint8), np.full((2, 2, 1), 255, np.uint8), np.full((2, 2, 4), 255, np.uint8)]
    planes = I420Converter(1, 4).convert([*tiles, np.full((2, 2, 3), 255, np.uint8)])
    assert (planes[:2] == WHITE).all()


def test_a_frame_that_changes_its_size_is_cropped_or_padded_to_the_first() -> None:
    converter = I420Converter(1, 1)
    converter.convert([np.full((4, 4), 255, np.uint8)])
    larger, smaller = np.full((9, 7), 255, np.uint8), np.full((2, 3, 3), 255, np.uint8)
    assert (converter.convert([larger])[:4] == WHITE).all()
    planes = converter.convert([smaller])
    assert planes.shape == (6, 4)
    assert (planes[:2, :3] == WHITE).all()
    assert (planes[2:4] == BLACK).all()


def test_frames_without_a_tile_are_left_out() -> None:
    white, black = np.full((2, 2), 255, np.uint8), np.zeros((2, 2), np.uint8)
    assert (I420Converter(1, 1).convert([white, black])[:2] == WHITE).all()


def test_read_only_frames_are_fine() -> None:
    frame = np.frombuffer(random_frame(4 * 6 * 3).tobytes(), np.uint8).reshape(6, 4, 3).transpose(1, 0, 2)[::-1]
    assert I420Converter(1, 1).convert([frame]).shape == (6, 6)


def test_a_picture_larger_than_h264_allows_is_refused_before_memory_is_spent() -> None:
    wide = np.broadcast_to(np.zeros(3, np.uint8), (16_384, 16_384, 3))
    with pytest.raises(FrameError, match="32768x16384"):
        I420Converter(1, 2).convert([wide])
    with pytest.raises(FrameError, match="without a frame"):
        I420Converter(1, 2).convert([])
