"""Turns what ``render()`` returned into a buffer and a layout, without making it contiguous."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from offcam.connection.shared_memory import Picture
from offcam.recorder.readings import UNREADABLE, on_device, shape_of
from offcam_proto.errors import FrameError, ProtocolError
from offcam_proto.layout import CHANNELS, FrameLayout, grid_shape

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

Tiles: TypeAlias = tuple[tuple[Picture, ...], tuple[int, int]]
"""Pictures, and the rows and columns of the grid that they form."""

_grid_shape = lru_cache(maxsize=64)(grid_shape)


class _Plan(NamedTuple):
    layout: FrameLayout
    flips: tuple[slice, ...]
    order: tuple[int, ...]


_PLAIN_IMAGES = (None, "1", "L", "RGB", "RGBA")
"""Modes in which an image of Pillow's equals its array; an image with a palette, for example, does not."""

_COPY_IT = (
    "a frame lies in a device's memory, and to read it there would make each step wait for the device: return "
    "`frame.cpu().numpy()` from `render()` (of JAX, `jax.device_get(frame)`)."
)


def frames_of(rendered: Any) -> tuple[NDArray[Any], ...]:  # noqa: ANN401 - whatever an env renders
    """The frames of one picture: one, or if an env renders several cameras or envs, one tile for each.

    Args:
        rendered: an array, or what can become one (of torch's, JAX's, Pillow's); with four axes one frame for each
            entry of the first; or a tuple, list or dict of these.

    Raises:
        FrameError: it is not a picture, or lies in a device's memory.
    """
    if isinstance(rendered, dict):
        rendered = tuple(rendered.values())
    parts = rendered if isinstance(rendered, (list, tuple)) and rendered else (rendered,)
    frames: list[NDArray[Any]] = []
    for part in parts:
        frame = as_array(part)
        frames.extend(frame if frame.ndim == 4 else (frame,))
    if not frames:
        raise FrameError("the rendered batch is empty: render at least one frame.")
    return tuple(frames)


def as_array(value: Any) -> NDArray[Any]:  # noqa: ANN401 - as above
    """What was rendered as an array, without a copy if possible.

    Raises:
        FrameError: it cannot become an array, or lies in a device's memory.
    """
    if isinstance(value, np.ndarray):
        return value
    if on_device(value):
        raise FrameError(_COPY_IT)
    try:
        if hasattr(value, "detach"):  # numpy refuses a tensor of torch's that requires a gradient
            value = value.detach()
        if hasattr(value, "convert") and getattr(value, "mode", None) not in _PLAIN_IMAGES:
            value = value.convert("RGB")
        if hasattr(value, "__array__") or hasattr(value, "__array_interface__"):
            return np.asarray(value)
        if hasattr(value, "__dlpack__"):
            return np.from_dlpack(value)
    except UNREADABLE as error:
        raise FrameError(
            f"what `render()` returned, a {type(value)}, cannot be made a numpy array ({error}): return one."
        ) from error
    raise FrameError(
        f"expected type of frame returned by render to be a numpy array, got instead {type(value)}: return one "
        "of shape (height, width, 3) from `render()`."
    )


def observed(observation: Any) -> NDArray[Any]:  # noqa: ANN401 - whatever an env observes
    """The newest picture in one env's observation: the observation itself, or the last picture of a stack.

    Args:
        observation: ``(height, width)``, ``(height, width, 1 or 3)``, ``(1 or 3, height, width)``; or a stack of
            pictures along the first axis, or of four grey ones along the last; or a dict, whose first such value is
            used.

    Raises:
        FrameError: it has no picture.
    """
    if isinstance(observation, dict):
        observation = next((part for part in observation.values() if len(shape_of(part)) >= 2), None)
    frame = as_array(observation)
    if frame.ndim == 4:
        frame = frame[-1]
    if frame.ndim == 3 and frame.shape[2] == 4:
        return frame[:, :, 3]
    if frame.ndim == 3 and frame.shape[2] not in CHANNELS:
        return np.moveaxis(frame, 0, -1) if frame.shape[0] in {1, 3} else frame[-1]
    return frame


def white_of(frame: NDArray[Any]) -> float:
    """The value of white in a frame of floats: 1, or 255 if any value is above 1."""
    return 255.0 if frame.dtype.kind == "f" and frame.size and frame.max() > 1 else 1.0


def tiles(
    shown: Sequence[NDArray[np.generic]], white: float, aspect: tuple[int, int], *, copied: bool = False
) -> Tiles:
    """Frames as the tiles of one picture, close to an ``aspect`` of (width, height); see `picture`.

    Pass ``copied=True`` to keep the pixels longer than the env leaves its frames unchanged.
    """
    kept = [frame.copy(order="K") for frame in shown] if copied else shown
    pictures = tuple([picture(frame, white) for frame in kept])
    return pictures, (1, 1) if len(shown) == 1 else _grid_shape(len(shown), *shown[0].shape[:2], aspect)


def picture(frame: NDArray[np.generic], white: float = 1.0) -> Picture:
    """Describe a rendered frame without copying it where that is possible.

    A transposed or flipped view of a dense block (as classic-control, Box2D and MuJoCo return) is sent as that block
    with its layout: making it contiguous here would cost more than encoding it. Any other view is copied.

    Args:
        frame: shape ``(height, width)``, ``(height, width, 1)``, ``(height, width, 3)`` or
            ``(height, width, 4)``; dtype uint8 in 0..255, bool, any other integer in 0..255, or float in 0..``white``.
        white: 1 or 255.

    Raises:
        FrameError: another shape, dtype or range.
    """
    pixels = frame if frame.dtype == np.uint8 else _as_uint8(frame, white)
    plan = _plan(pixels.shape, pixels.strides)
    if plan is not None:
        return Picture(plan.layout, pixels[plan.flips].transpose(plan.order))
    contiguous = np.ascontiguousarray(pixels)
    plan = _plan(contiguous.shape, contiguous.strides)
    assert plan is not None, contiguous.strides  # noqa: S101 - contiguous memory is dense
    return Picture(plan.layout, contiguous)


@lru_cache(maxsize=64)
def _plan(shape: tuple[int, ...], strides: tuple[int, ...]) -> _Plan | None:
    """How to see a view's memory as one dense block; None if it has holes or overlaps.

    Flipping each negative axis and ordering the axes by stride gives a C-contiguous array exactly if the view covers a
    block once.
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
    raise FrameError(f"a frame must be (height, width), or (height, width, 1, 3 or 4), got {shape}: {hint}.")


def _as_uint8(frame: NDArray[np.generic], white: float) -> NDArray[np.uint8]:
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
        if not (low >= 0.0 and high <= white):  # also catches NaN
            raise FrameError(
                f"a frame of dtype {frame.dtype} must be within 0..1 or 0..255, got {low:g}..{high:g}: scale it, or "
                "return `np.clip(frame, 0, 255).astype(np.uint8)` from `render()` where 255 is white."
            )
        levels: NDArray[np.uint8] = np.rint(frame.astype(np.float64) * (255 / white)).astype(np.uint8)
        return levels
    if low < 0 or high > 255:
        raise FrameError(
            f"a frame of dtype {frame.dtype} must be within 0..255, got {low:g}..{high:g}: scale it, then return "
            "`frame.astype(np.uint8)` from `render()`."
        )
    return frame.astype(np.uint8)
