"""How the pixels of a frame lie in a buffer: what lets a client ship a view without making it contiguous."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

from offcam_proto import validation as check
from offcam_proto.errors import LimitExceeded, MalformedMessage
from offcam_proto.limits import MAX_FRAME_SIDE, MAX_INT

CHANNELS = (1, 3, 4)
"""Channels a frame may have: grey, RGB, RGBA (alpha is ignored)."""


class FrameLayout(msgspec.Struct, frozen=True):
    """Where each pixel of a uint8 frame lies in its buffer.

    The fields mean what they mean in numpy: element ``[y, x, c]`` is the byte at
    ``offset + y * strides[0] + x * strides[1] + c * strides[2]``. Strides may be negative (a flipped view)
    or in any order (a transposed one). Every element must lie inside ``nbytes``, which must be enough for all
    elements to have a byte of their own: what a frame costs in memory is then bounded by what was paid for it.

    Attributes:
        shape: ``(height, width)`` or ``(height, width, channels)``, channels 1, 3 or 4.
        strides: bytes from one element to the next along each axis.
        offset: byte offset of element ``[0, 0(, 0)]``.
        nbytes: size of the buffer that is shipped.

    Raises:
        MalformedMessage: the layout is not one, or reaches outside its buffer, or repeats bytes of it.
        LimitExceeded: a side is longer than `MAX_FRAME_SIDE`, or a stride than 63 bits.
    """

    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int
    nbytes: int

    def __post_init__(self) -> None:
        if any(type(number) is not int for number in (*self.shape, *self.strides, self.offset, self.nbytes)):
            raise MalformedMessage(
                f"a layout holds integers, got {check.shown((self.shape, self.strides, self.offset))}"
            )
        if len(self.shape) not in (2, 3) or len(self.strides) != len(self.shape):
            raise MalformedMessage(f"a frame has 2 or 3 axes and a stride for each, got {self}")
        if min(self.shape) < 1 or (len(self.shape) == 3 and self.shape[2] not in CHANNELS):
            raise MalformedMessage(f"a frame is (height, width[, 1|3|4]) and not empty, got {self.shape}")
        if max(self.shape[:2]) > MAX_FRAME_SIDE:
            raise LimitExceeded(f"a frame's side is at most {MAX_FRAME_SIDE} pixels, got {self.shape}")
        if any(abs(stride) > MAX_INT for stride in self.strides):  # an axis of one element may claim any
            raise LimitExceeded(f"a stride is at most {MAX_INT}, got {self.strides}")
        low = high = self.offset
        for length, stride in zip(self.shape, self.strides, strict=True):
            reach = (length - 1) * stride
            low, high = (low + reach, high) if reach < 0 else (low, high + reach)
        if low < 0 or high >= self.nbytes:
            raise MalformedMessage(f"the layout reaches bytes {low}..{high} of a buffer of {self.nbytes}")
        if math.prod(self.shape) > self.nbytes:
            raise MalformedMessage(f"a frame of shape {self.shape} cannot lie in {self.nbytes} bytes without repeats")

    @property
    def size(self) -> tuple[int, int]:
        """``(height, width)`` in pixels."""
        return self.shape[0], self.shape[1]


def grid_shape(count: int, height: int, width: int, aspect: tuple[int, int]) -> tuple[int, int]:
    """Rows and columns that show ``count`` equal tiles closest to an aspect ratio.

    Any count fits: the last row may have empty tiles (Gymnasium only tries divisors, so 7 becomes a strip).
    Distance from the aspect is a ratio, so twice too wide is as far as twice too tall; it is weighed by the
    area that empty tiles waste. Among equals the one with fewer empty tiles wins, then with fewer rows.

    Args:
        count: number of tiles, at least 1.
        height: height of one tile, pixels.
        width: width of one tile, pixels.
        aspect: ``(width, height)`` of the whole that is aimed at, e.g. ``(16, 9)``.

    Returns:
        ``(rows, cols)`` with ``rows * cols >= count`` and no empty row.
    """
    target = aspect[0] / aspect[1]

    def cost(rows: int, cols: int) -> float:
        ratio = (cols * width) / (rows * height) / target
        return max(ratio, 1 / ratio) * rows * cols / count

    candidates: Sequence[tuple[int, int]] = [
        (rows, -(-count // rows)) for rows in range(1, count + 1) if (-(-count // rows)) * (rows - 1) < count
    ]
    return min(candidates, key=lambda rc: (round(cost(*rc), 9), rc[0] * rc[1] - count, rc[0]))
