"""Converts the pixels of one frame to the planes that x264 reads, and only what changed since the frame before.

Rendered frames are often views of memory in another order (transposed, flipped, channels backwards). They are compared
and converted in the order of memory; then the planes, which are half as large, are transposed and flipped. All
operations are such that the result for a pixel depends only on its block of two by two pixels, so that a part of a
frame comes out as it would within the whole. (cv2 has this conversion in one call, but gives a block the colour of its
first pixel, so that small things lose their colour at every second place. Here a block gets its mean.)
"""

from __future__ import annotations

import math
import threading
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import cv2
import numpy as np

from offcamd.video.pixels import packed

if TYPE_CHECKING:
    from collections.abc import Callable

    from offcamd.video.pixels import Pixels

BLACK, NEUTRAL = 16, 128

WHOLE_SHARE = 0.8
"""A frame of which a larger share than this changed counts as whole: comparing it was not worth it."""
WHOLE_FRAMES = 3
"""After so many whole frames in a row, the next `REST_FRAMES` are converted without a comparison."""
REST_FRAMES = 30
"""So many frames are converted without a comparison after `WHOLE_FRAMES` whole ones."""

# From full to limited range (ITU-R BT.601): factor and offset of the luma (16..235); for the chroma (16..240), the
# factors of the difference between blue or red and the luma.
_LUMA = 219 / 255, float(BLACK)
_BLUE = 224 / 255 / 2 / (1 - 0.114)
_RED = 224 / 255 / 2 / (1 - 0.299)

_TO_GREY = {(3, False): cv2.COLOR_RGB2GRAY, (3, True): cv2.COLOR_BGR2GRAY, (4, False): cv2.COLOR_RGBA2GRAY}
_WORDS = (np.uint64, np.uint32, np.uint16, np.uint8)

Box: TypeAlias = tuple[int, int, int, int]  # top, bottom, left, right of a part of a frame


class Stored(NamedTuple):
    """A frame in the order in which it is in memory.

    Attributes:
        pixels: uint8 ``(rows, columns[, 3|4])``; the bytes of a row are without gaps.
        turned: whether the frame's rows are the columns of ``pixels``.
        up: whether the frame's rows run backwards in memory.
        left: whether the frame's columns run backwards in memory.
        bgr: whether the frame's channels run backwards in memory.
    """

    pixels: Pixels
    turned: bool = False
    up: bool = False
    left: bool = False
    bgr: bool = False

    @property
    def upright(self) -> bool:
        """Whether the order in memory is the order in which the frame is shown."""
        return not (self.turned or self.up or self.left)

    def turn(self, plane: Pixels, target: Pixels) -> None:
        """Copy a plane in the order of memory into ``target``, in the order of the frame."""
        code = (-1 if self.left else 0) if self.up else 1
        if not self.turned:
            cv2.flip(plane, code, target)
        elif self.up or self.left:
            cv2.flip(cv2.transpose(plane, _scratch("turned", *plane.shape[::-1])), code, target)
        else:
            cv2.transpose(plane, target)


def stored(frame: Pixels) -> Stored:
    """View a frame in the order in which it is in memory; copies it only where its pixels have gaps.

    Args:
        frame: uint8 ``(height, width)`` or ``(height, width, 1|3|4)``, any strides.
    """
    if frame.ndim == 3 and frame.shape[2] == 1:
        frame = frame[..., 0]
    up, left = frame.strides[0] < 0, frame.strides[1] < 0
    memory = frame[:: -1 if up else 1, :: -1 if left else 1]
    turned = memory.strides[0] < memory.strides[1]
    if turned:
        memory = memory.swapaxes(0, 1)
    bgr = frame.ndim == 3 and frame.strides[2] == -1 and frame.shape[2] == 3
    if bgr:
        memory = memory[..., ::-1]
    channels = memory.shape[2] if memory.ndim == 3 else 1
    in_order = memory.strides[1] == channels and memory.strides[0] >= channels * memory.shape[1]
    if in_order and (memory.ndim == 2 or memory.strides[2] == 1) and min(memory.shape[:2]) > 1:
        return Stored(pixels=memory, turned=turned, up=up, left=left, bgr=bgr)
    if channels == 4 and abs(frame.strides[2]) != 1:  # channels first: leave the alpha plane where it is
        frame = frame[..., :3]
    return Stored(packed(frame))


class Tile:
    """One frame's part of the planes of a picture. Not thread-safe.

    It keeps a copy of the frame that it shows, and no reference to the frames that it is given.

    Args:
        size: ``(height, width)`` of the frames in pixels; where one is odd, the last row or column is repeated.
        luma: the Y plane, uint8 ``(height, width)`` of the next even numbers. The tile writes to all three planes.
        blue: the U plane, uint8, half as high and wide.
        red: the V plane, uint8, half as high and wide.
    """

    def __init__(self, size: tuple[int, int], luma: Pixels, blue: Pixels, red: Pixels) -> None:
        self._size = size
        self._luma, self._blue, self._red = luma, blue, red
        self._changes = _Changes()
        self._blank = False
        self.clear()

    def clear(self) -> bool:
        """Make the tile black; returns whether it was not black before."""
        if self._blank:
            return False
        self._luma[...], self._blue[...], self._red[...] = BLACK, NEUTRAL, NEUTRAL
        self._changes = _Changes()
        self._blank = True
        return True

    def show(self, frame: Pixels) -> bool:
        """Convert what differs from the frame before; returns whether anything does.

        Args:
            frame: uint8 of the tile's size, ``(h, w)`` or ``(h, w, 1|3|4)``, any strides.
        """
        self._blank = False
        source = stored(frame)
        box = self._changes.since(source)
        if box is None:
            return False
        top, bottom, left, right = _even(_in_picture(box, source, self._size), self._size)
        if (bottom - top, right - left) != self._size:
            frame = frame[top:bottom, left:right]
            source = stored(frame)
        height, width = frame.shape[:2]
        if height % 2 or width % 2:
            edged = cv2.copyMakeBorder(packed(frame), 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
            source = stored(edged)
        bottom, right = bottom + bottom % 2, right + right % 2
        halves = slice(top // 2, bottom // 2), slice(left // 2, right // 2)
        _convert(source, self._luma[top:bottom, left:right], self._blue[halves], self._red[halves])
        return True


def _in_picture(box: Box, source: Stored, size: tuple[int, int]) -> Box:
    """Turn a box in the order of memory into one in the order of the frame."""
    top, bottom, left, right = box
    if source.turned:
        top, bottom, left, right = left, right, top, bottom
    if source.up:
        top, bottom = size[0] - bottom, size[0] - top
    if source.left:
        left, right = size[1] - right, size[1] - left
    return top, bottom, left, right


def _even(box: Box, size: tuple[int, int]) -> Box:
    """The smallest box around a box that has only whole blocks of two by two pixels."""
    top, bottom, left, right = box
    return top - top % 2, min(bottom + bottom % 2, size[0]), left - left % 2, min(right + right % 2, size[1])


class _Changes:
    """Finds what differs between a frame and the one before; pauses where most of each frame changes."""

    def __init__(self) -> None:
        self._order: tuple[object, ...] = ()
        self._word: type[Any] = np.uint8
        self._before = self._differs = np.empty((0, 0), np.uint8)
        self._whole = 0
        self._rest = 0

    def since(self, source: Stored) -> Box | None:
        """The box (in the order of memory) outside of which nothing changed since the last frame; None if none did."""
        pixels = source.pixels
        rows = pixels.reshape(pixels.shape[0], -1)
        whole = (0, pixels.shape[0], 0, pixels.shape[1])
        order = (pixels.shape, *source[1:])
        if order != self._order:
            self._order, self._rest, self._whole = order, 0, 0
            self._word = next(word for word in _WORDS if rows.shape[1] % np.dtype(word).itemsize == 0)
            words = rows.view(self._word)
            self._before, self._differs = words.copy(), np.empty(words.shape, np.bool_)
            return whole
        words = rows.view(self._word)
        if self._rest:
            self._rest -= 1
            if not self._rest:
                self._before[...] = words
            return whole
        np.not_equal(words, self._before, out=self._differs)
        left, top, width, height = cv2.boundingRect(self._differs.view(np.uint8))
        if not width:
            self._whole = 0
            return None
        part = slice(top, top + height), slice(left, left + width)
        self._before[part] = words[part]
        self._note(width * height > WHOLE_SHARE * words.size)
        pixel = math.prod(pixels.shape[2:])
        first, end = left * words.itemsize // pixel, -(-(left + width) * words.itemsize // pixel)
        return top, top + height, first, end

    def _note(self, whole: bool) -> None:
        self._whole = self._whole + 1 if whole else 0
        if self._whole >= WHOLE_FRAMES:
            self._rest = REST_FRAMES


_memory = threading.local()


def _scratch(name: str, height: int, width: int) -> Pixels:
    """An array that this thread uses again under that name, as fresh memory costs as much as the conversion."""
    flat: Pixels | None = getattr(_memory, name, None)
    if flat is None or flat.size < height * width:
        flat = np.empty(height * width, np.uint8)
        setattr(_memory, name, flat)
    return flat[: height * width].reshape(height, width)


def _convert(source: Stored, luma: Pixels, blue: Pixels, red: Pixels) -> None:
    """Convert an even-sized frame, or part of one, into its part of the planes."""
    pixels = source.pixels
    height, width = pixels.shape[:2]
    if pixels.ndim == 2:
        _placed(source, luma, partial(_limited, pixels))
        blue[...], red[...] = NEUTRAL, NEUTRAL
        return
    channels = pixels.shape[2]
    grey = cv2.cvtColor(pixels, _TO_GREY[channels, source.bgr], _scratch("grey", height, width))
    _placed(source, luma, partial(_limited, grey))
    # Channels are halved one by one, as cv2 halves single planes at three times the speed.
    split = cv2.split(pixels, list(_scratch("channels", channels * height, width).reshape(channels, height, width)))
    grey = _halved(grey, "grey halved")
    blue_split, red_split = (split[0], split[2]) if source.bgr else (split[2], split[0])
    for channel, factor, plane in ((blue_split, _BLUE, blue), (red_split, _RED, red)):
        half = _halved(channel, "channel halved")
        _placed(source, plane, partial(cv2.addWeighted, half, factor, grey, -factor, float(NEUTRAL)))


def _limited(plane: Pixels, target: Pixels) -> None:
    cv2.convertScaleAbs(plane, target, *_LUMA)


def _halved(plane: Pixels, name: str) -> Pixels:
    height, width = plane.shape[0] // 2, plane.shape[1] // 2
    halved: Pixels = cv2.resize(plane, (width, height), _scratch(name, height, width), interpolation=cv2.INTER_AREA)
    return halved


def scale_down(plane: Pixels, target: Pixels) -> None:
    """Scale a plane down into a smaller one.

    It is halved, by means of two by two pixels, while it is more than twice too large; the rest is bilinear. Means of
    areas of other sizes would take cv2 longer than the encoder takes for the picture.
    """
    height, width = target.shape
    times = 0
    while plane.shape[0] > 2 * height and plane.shape[1] > 2 * width:
        plane, times = _halved(plane, f"scaled {times}"), times + 1
    cv2.resize(plane, (width, height), target, interpolation=cv2.INTER_LINEAR)


def _placed(source: Stored, plane: Pixels, make: Callable[[Pixels], object]) -> None:
    """Have a plane made in the order of memory, then write it into ``plane`` in the order of the frame."""
    if source.upright:
        make(plane)
        return
    shape = plane.shape[::-1] if source.turned else plane.shape
    made = _scratch("made", *shape)
    make(made)
    source.turn(made, plane)
