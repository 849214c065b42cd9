"""What was converted bit by bit is what one conversion of the last picture gives."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from offcamd.video import planes
from offcamd.video.i420 import I420Converter, fitted_size

CHANNELS = (0, 1, 3, 4)  # 0: no axis of channels
ORDERS = {channels: list(itertools.permutations(range(3 if channels else 2))) for channels in CHANNELS}


def shaped(height: int, width: int, channels: int) -> tuple[int, ...]:
    return (height, width, channels) if channels else (height, width)


def stored_as(frame: np.ndarray, order: tuple[int, ...], flips: tuple[bool, ...]) -> np.ndarray:
    """A copy of it in a buffer with its axes in another order and some running backwards."""
    reverse = tuple(slice(None, None, -1 if flip else 1) for flip in flips[: frame.ndim])
    return np.array(frame[reverse].transpose(order), order="C").transpose(np.argsort(order))[reverse]


def at_once(rows: int, cols: int, tile: tuple[int, int], frames: list[np.ndarray]) -> np.ndarray:
    converter = I420Converter(rows, cols)
    converter.convert([np.zeros(tile, np.uint8)])
    return converter.convert(frames)


@st.composite
def films(draw: st.DrawFn) -> tuple[tuple[int, int], list[list[np.ndarray]]]:
    """A grid, and pictures of one layout in which random boxes change."""
    rows, cols = draw(st.sampled_from([(1, 1), (1, 1), (2, 2), (1, 3)]))
    channels = draw(st.sampled_from(CHANNELS))
    height, width = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    order = draw(st.sampled_from(ORDERS[channels]))
    flips = tuple(draw(st.booleans()) for _ in range(3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    tiles = [rng.integers(0, 256, shaped(height, width, channels), np.uint8) for _ in range(rows * cols)]
    pictures = []
    for _ in range(draw(st.integers(2, 6))):
        for tile in tiles:
            top, left = draw(st.integers(0, height)), draw(st.integers(0, width))
            part = tile[top : draw(st.integers(0, height)), left : draw(st.integers(0, width))]
            part[...] = rng.integers(0, 256, part.shape, np.uint8)
        pictures.append([stored_as(tile, order, flips) for tile in tiles[: draw(st.integers(1, len(tiles)))]])
    return (rows, cols), pictures


@given(films())
def test_what_changed_suffices_for_every_layout_size_and_grid(film) -> None:
    (rows, cols), pictures = film
    converter = I420Converter(rows, cols)
    for frames in pictures:
        before = [frame.copy() for frame in frames]
        result = converter.convert(frames)
        assert np.array_equal(result, at_once(rows, cols, frames[0].shape[:2], frames))
        assert all(map(np.array_equal, frames, before)), "a client's buffer was written to"


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9), st.sampled_from(CHANNELS)), min_size=2, max_size=8))
def test_frames_may_change_their_size_and_kind(shapes) -> None:
    rng = np.random.default_rng(0)
    converter = I420Converter(1, 2)
    for height, width, channels in shapes:
        frames = [rng.integers(0, 256, shaped(height, width, channels), np.uint8) for _ in range(2)]
        assert np.array_equal(converter.convert(frames), at_once(1, 2, shapes[0][:2], frames))


@pytest.mark.parametrize("order", ORDERS[3])
@pytest.mark.parametrize("flips", list(itertools.product((False, True), repeat=3)))
def test_the_order_in_memory_makes_no_difference(order, flips) -> None:
    frame = np.random.default_rng(0).integers(0, 256, (46, 34, 3), np.uint8)
    assert np.array_equal(
        I420Converter(1, 1).convert([stored_as(frame, order, flips)]), at_once(1, 1, (46, 34), [frame])
    )


def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The pixels that are converted from now on, each time."""
    areas: list[int] = []
    real = planes._convert

    def count(source, luma, blue, red) -> None:
        areas.append(luma.size)
        real(source, luma, blue, red)

    monkeypatch.setattr(planes, "_convert", count)
    return areas


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 0, 2)])
@pytest.mark.parametrize("flips", [(False, False), (True, False), (False, True)])
def test_only_what_changed_is_converted(monkeypatch, order, flips) -> None:
    areas = counted(monkeypatch)
    frame = np.zeros((400, 600, 3), np.uint8)
    converter = I420Converter(1, 1)
    for _ in range(3):  # the later ones are identical
        converter.convert([stored_as(frame, order, (*flips, False))])
    assert areas == [400 * 600]
    frame[101:120, 301:330] = 200
    converter.convert([stored_as(frame, order, (*flips, False))])
    assert 19 * 29 <= areas[1] <= 28 * 38
    assert len(areas) == 2


def test_each_tile_is_compared_by_itself(monkeypatch) -> None:
    areas = counted(monkeypatch)
    tiles = [np.zeros((64, 64, 3), np.uint8) for _ in range(4)]
    converter = I420Converter(2, 2)
    converter.convert(tiles)
    tiles[0][:2], tiles[3][-2:] = 1, 1
    converter.convert(tiles)
    assert areas == [64 * 64] * 4 + [2 * 64] * 2


def test_frames_that_always_change_are_not_compared_each_time_and_those_that_cease_to_are(monkeypatch) -> None:
    rng = np.random.default_rng(0)
    compared = []
    real = np.not_equal

    def not_equal(*args, **options):
        compared.append(1)
        return real(*args, **options)

    monkeypatch.setattr(planes.np, "not_equal", not_equal)
    converter = I420Converter(1, 1)
    for _ in range(100):
        frame = rng.integers(0, 256, (8, 8, 3), np.uint8)
        assert np.array_equal(converter.convert([frame]), at_once(1, 1, (8, 8), [frame]))
    assert 0 < len(compared) <= planes.WHOLE_FRAMES + 100 // planes.REST_FRAMES
    areas = counted(monkeypatch)
    for _ in range(2 * planes.REST_FRAMES):
        converter.convert([frame])
    assert len(areas) <= planes.REST_FRAMES


def test_nothing_of_a_frame_is_kept() -> None:
    memory = np.zeros((8, 8, 3), np.uint8)
    converter = I420Converter(1, 1)
    converter.convert([memory])
    memory[2:4, 2:4] = 255  # as an env does that draws into one buffer
    assert (converter.convert([memory])[2:4, 2:4] == 235).all()


SIDES = st.integers(1, 200).map(lambda half: 2 * half)


@given(SIDES, SIDES, st.just(0) | st.integers(2, 500), st.just(0) | st.integers(2, 500))
def test_what_fits_is_even_no_larger_and_of_the_same_shape(width, height, max_width, max_height) -> None:
    wide, high = fitted_size(width, height, max_width, max_height)
    assert wide % 2 == high % 2 == 0
    assert 2 <= wide <= min(width, max_width or width)
    assert 2 <= high <= min(height, max_height or height)
    if width <= (max_width or width) and height <= (max_height or height):
        assert (wide, high) == (width, height)
    scale = min(1.0, max_width / width if max_width else 1.0, max_height / height if max_height else 1.0)
    assert abs(wide - width * scale) <= 2
    assert abs(high - height * scale) <= 2


@pytest.mark.parametrize("grid", [(1, 1), (1, 2)])
def test_what_is_scaled_bit_by_bit_is_what_is_scaled_at_once(grid) -> None:
    rng = np.random.default_rng(1)
    most = 31 * grid[1], 99
    converter = I420Converter(*grid, *most)
    frames = [rng.integers(0, 256, (46, 62, 3), np.uint8) for _ in range(grid[1])]
    for step in range(4):
        if step != 2:  # one that is as the one before
            frames[step % len(frames)][step : 10 + step, 3 : 20 + step] = 60 * step
        result = converter.convert(frames)
        assert converter.size == fitted_size(62 * grid[1], 46, *most) == (result.shape[1], result.shape[0] * 2 // 3)
        assert np.array_equal(result, I420Converter(*grid, *most).convert(frames))


@pytest.mark.parametrize("most", [(50, 50), (33, 99), (21, 21), (7, 7)])
def test_a_picture_scaled_by_any_factor_shows_the_same(most) -> None:
    """A gradient, and in it a box: its brightness, its middle and its colours are where they were."""
    large = np.zeros((120, 180, 3), np.uint8)
    large[..., 0] = np.linspace(0, 255, 180)
    large[40:80, 60:120, 1] = 200
    scaled = I420Converter(1, 1, *most).convert([large])
    exact = I420Converter(1, 1).convert([large])
    for whole, part in ((exact[:120], scaled[: len(scaled) * 2 // 3]), (exact[120:], scaled[len(scaled) * 2 // 3 :])):
        assert abs(whole.mean() - part.mean()) < 4
    luma = scaled[: len(scaled) * 2 // 3].astype(float)
    rows = np.arange(len(luma)) + 0.5
    bright = (luma - luma.min(axis=0)).sum(axis=1)
    assert (bright * rows).sum() / bright.sum() == pytest.approx(len(luma) / 2, abs=0.5)


def test_a_smaller_picture_has_the_means_of_a_larger_one_s() -> None:
    large = np.kron(np.random.default_rng(2).integers(0, 256, (8, 12, 3)), np.ones((4, 4, 1))).astype(np.uint8)
    small = large[::2, ::2]
    scaled, expected = I420Converter(1, 1, 24, 16).convert([large]), I420Converter(1, 1).convert([small])
    assert scaled.shape == expected.shape
    assert np.abs(scaled.astype(int) - expected).max() <= 1
