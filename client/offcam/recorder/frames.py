"""From what ``render()`` returned to a buffer and a layout, without making it contiguous."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from offcam.connection.shared_memory import Picture
from offcam_proto.errors import FrameError, ProtocolError
from offcam_proto.layout import CHANNELS, FrameLayout

if TYPE_CHECKING:
    from numpy.typing import NDArray


class _Plan(NamedTuple):
    layout: FrameLayout
    flips: tuple[slice, ...]
    order: tuple[int, ...]


def picture(frame: NDArray[np.generic]) -> Picture:
    """Describe a rendered frame without copying it where that is possible.

    A transposed or flipped view of a dense block (what classic-control, Box2D and MuJoCo return) is shipped
    as that block and its layout: making it contiguous here would cost more than encoding it. Any other view
    is copied.

    Args:
        frame: shape ``(height, width)``, ``(height, width, 1)``, ``(height, width, 3)`` or
            ``(height, width, 4)``; dtype uint8 in 0..255, bool, any other integer in 0..255, or float in 0..1.

    Raises:
        FrameError: another shape, dtype or range.
    """
    pixels = frame if frame.dtype == np.uint8 else _as_uint8(frame)
    plan = _plan(pixels.shape, pixels.strides)
    if plan is not None:
        return Picture(plan.layout, pixels[plan.flips].transpose(plan.order))
    contiguous = np.ascontiguousarray(pixels)
    plan = _plan(contiguous.shape, contiguous.strides)
    assert plan is not None, contiguous.strides  # noqa: S101 - contiguous memory is dense
    return Picture(plan.layout, contiguous)


@lru_cache(maxsize=64)
def _plan(shape: tuple[int, ...], strides: tuple[int, ...]) -> _Plan | None:
    """How to see a view's memory as one dense block, or None where it has holes or overlaps.

    Flipping each negative axis and ordering the axes by stride gives a C-contiguous array exactly where the
    view covers a block once.
    """
    _check_shape(shape)
    order = tuple(sorted(range(len(shape)), key=lambda axis: (-abs(strides[axis]), -shape[axis])))
    expected = 1
    for axis in reversed(order):
        if shape[axis] > 1 and abs(strides[axis]) != expected:
            return None
        expected *= shape[axis]
    flips = tuple(slice(None, None, -1 if stride < 0 else 1) for stride in strides)
    offset = sum((length - 1) * -stride for length, stride in zip(shape, strides, strict=True) if stride < 0)
    try:
        return _Plan(FrameLayout(shape, strides, offset, expected), flips, order)
    except ProtocolError as error:
        raise FrameError(f"a frame of shape {shape} cannot be recorded: {error}") from error


def _check_shape(shape: tuple[int, ...]) -> None:
    if len(shape) == 2 or (len(shape) == 3 and shape[2] in CHANNELS):
        if min(shape) > 0:
            return
        raise FrameError(f"the rendered frame is empty, its shape is {shape}: render at least one pixel.")
    hint = "return one such array from `render()`"
    if len(shape) == 3 and shape[0] in CHANNELS:
        hint = "the channels come first here: return `np.moveaxis(frame, 0, -1)` from `render()`"
    elif len(shape) == 4:
        hint = "this looks like a batch: use `offcam.vector.RecordVideo` for a vector env"
    raise FrameError(f"a frame must be (height, width), or (height, width, 1, 3 or 4), got {shape}: {hint}.")


def _as_uint8(frame: NDArray[np.generic]) -> NDArray[np.uint8]:
    _check_shape(frame.shape)
    kind = frame.dtype.kind
    if kind == "b":
        scaled: NDArray[np.uint8] = frame.astype(np.uint8) * np.uint8(255)
        return scaled
    if kind not in "iuf":
        raise FrameError(
            f"a frame must hold numbers, got dtype {frame.dtype}: return `frame.astype(np.uint8)` from `render()`."
        )
    low, high = float(frame.min()), float(frame.max())
    if kind == "f":
        if not (low >= 0.0 and high <= 1.0):  # also catches NaN
            raise FrameError(
                f"a frame of dtype {frame.dtype} must be within 0..1, got {low:g}..{high:g}: scale it, or return "
                "`np.clip(frame, 0, 255).astype(np.uint8)` from `render()` where 255 is white."
            )
        levels: NDArray[np.uint8] = np.rint(frame.astype(np.float64) * 255).astype(np.uint8)
        return levels
    if low < 0 or high > 255:
        raise FrameError(
            f"a frame of dtype {frame.dtype} must be within 0..255, got {low:g}..{high:g}: scale it, then return "
            "`frame.astype(np.uint8)` from `render()`."
        )
    return frame.astype(np.uint8)
