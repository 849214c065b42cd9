"""From the bytes a client shipped to the planes x264 reads. The one place that uses cv2.

Rendered frames are often views of a buffer in another order (transposed, flipped, channels first). numpy
copies such views element by element; reordering them with cv2 costs a small part of that, so every view that
is a permutation and a flip of packed pixels takes that way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from offcam_proto.errors import FrameError
from offcam_proto.limits import MAX_FRAME_SIDE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from offcam_proto.layout import FrameLayout

Pixels: TypeAlias = npt.NDArray[np.uint8]
Buffer: TypeAlias = bytes | bytearray | memoryview

MAX_PICTURE_PIXELS = 139_264 * 16 * 16
"""Largest picture: level 6.2 of H.264, its highest (ITU-T H.264, table A-1). x264 takes 13 bytes a pixel and more."""

_ROTATED = (1, 0, 2)

# From full to limited range, factor and offset: luma 16..235, chroma 16..240 around 128.
_LUMA = 219 / 255, 16.0
_CHROMA = 224 / 255, 128 * (1 - 224 / 255)

cv2.setNumThreads(1)  # clips are encoded side by side; on top of that its threads only cost CPU


def view(buffer: Buffer, layout: FrameLayout) -> Pixels:
    """The frame that lies in a buffer, without copying a byte.

    Args:
        buffer: exactly ``layout.nbytes`` contiguous bytes. The array keeps it alive and shares its memory.
        layout: where each pixel lies.

    Returns:
        uint8 of ``layout.shape``, with the layout's strides; read-only if the buffer is.

    Raises:
        FrameError: the buffer has another size than the layout states.
    """
    with memoryview(buffer) as bytes_:
        size = bytes_.nbytes
    if size != layout.nbytes:
        raise FrameError(f"the client sent {size} bytes of pixels and a layout for {layout.nbytes}")
    frame: Pixels = np.ndarray(layout.shape, np.uint8, buffer, layout.offset, layout.strides)
    return frame


def packed(frame: Pixels) -> Pixels:
    """The same pixels in C order: what ``np.ascontiguousarray`` gives, sooner.

    Args:
        frame: uint8 ``(height, width)`` or ``(height, width, 1|3|4)``, any strides.

    Returns:
        The frame itself if its rows are packed already (the rows may have gaps between them), else a copy.
    """
    if frame.flags.c_contiguous or min(frame.shape[:2]) == 1:
        return np.ascontiguousarray(frame)
    if frame.ndim == 3 and frame.shape[2] == 1:
        return packed(frame[..., 0])[..., np.newaxis]
    down, right = frame.strides[0] >= 0, frame.strides[1] >= 0
    upright = frame[:: 1 if down else -1, :: 1 if right else -1]
    rows = _reordered(upright)
    if down and right:
        return rows
    # In place where that is our own copy already: fresh memory costs more than the flip.
    ours = None if np.may_share_memory(rows, frame) else rows
    flipped: Pixels = cv2.flip(rows, -1 if down == right else int(down), ours)
    return flipped


def _reordered(frame: Pixels) -> Pixels:
    """Pack a frame that runs downwards and to the right; its axes may lie in any order in memory."""
    if frame.ndim == 3 and abs(frame.strides[2]) != 1:
        planes = [packed(frame[..., channel]) for channel in range(frame.shape[2])]
        merged: Pixels = cv2.merge(planes)
        return merged
    if frame.ndim == 3 and frame.strides[2] == -1:
        return _swapped_channels(_reordered(frame[..., ::-1]))
    pixel = 1 if frame.ndim == 2 else frame.shape[2]
    if frame.strides[1] == pixel and frame.strides[0] >= pixel * frame.shape[1]:
        return frame
    if frame.strides[0] == pixel and frame.strides[1] >= pixel * frame.shape[0]:
        turned: Pixels = cv2.transpose(frame.transpose(_ROTATED[: frame.ndim]))
        return turned
    return _copied(frame)


def _swapped_channels(frame: Pixels) -> Pixels:
    """Reverse the order of the channels of a packed frame."""
    if frame.shape[2] == 3:
        reversed_: Pixels = cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
        return reversed_
    return cv2.merge(cv2.split(frame)[::-1])  # type: ignore[no-any-return]  # cv2's stubs are skipped


def _copied(frame: Pixels) -> Pixels:
    """Pack pixels that have gaps between them (every second pixel, RGB of RGBX), a channel at a time."""
    copy = np.empty(frame.shape, np.uint8)
    for channel in range(frame.shape[2] if frame.ndim == 3 else 0):
        copy[..., channel] = frame[..., channel]
    if frame.ndim == 2:
        copy[...] = frame
    return copy


class I420Converter:
    """Turns the frames of one clip into the planes of one picture, all of one size.

    Tiles are as large as the first frame that comes; a later frame of another size is cropped or padded with
    black at its right and bottom, so that a clip never changes its size. Not thread-safe.

    Args:
        rows: tiles above each other.
        cols: tiles beside each other.
    """

    def __init__(self, rows: int, cols: int) -> None:
        self._rows = rows
        self._cols = cols
        self._tile: tuple[int, int] | None = None
        self._planes: _Planes | None = None

    @property
    def size(self) -> tuple[int, int] | None:
        """``(width, height)`` of the pictures, both even, or None before the first one."""
        if self._tile is None:
            return None
        height, width = self._tile[0] * self._rows, self._tile[1] * self._cols
        return width + width % 2, height + height % 2

    def convert(self, frames: Sequence[Pixels]) -> Pixels:
        """One picture of all frames, row by row.

        Tiles without a frame are black, frames without a tile are left out. An odd height or width is made
        even by repeating its last row or column.

        Args:
            frames: at least one, uint8 ``(h, w)``, ``(h, w, 1)``, ``(h, w, 3)`` RGB or ``(h, w, 4)`` RGBA
                (alpha is ignored), any strides. They are only read.

        Returns:
            uint8 ``(height * 3 // 2, width)``, C-contiguous: planes Y, U, V as I420, BT.601, limited range. The
            array is the converter's own, and the next call overwrites it.

        Raises:
            FrameError: no frame, or a picture with a side longer than H.264 allows.
        """
        if not frames:
            raise FrameError("the client sent a picture without a frame in it")
        if self._tile is None:
            self._tile = self._checked_tile(frames[0])
        try:
            return self._convert([_colour_or_grey(frame) for frame in frames[: self._rows * self._cols]], self._tile)
        except cv2.error as error:
            shapes = {frame.shape for frame in frames}
            raise FrameError(f"frames of shapes {shapes} could not be converted to I420: {error}") from error

    def _checked_tile(self, frame: Pixels) -> tuple[int, int]:
        height, width = frame.shape[:2]
        sides = height * self._rows, width * self._cols
        if max(sides) > MAX_FRAME_SIDE or sides[0] * sides[1] > MAX_PICTURE_PIXELS:
            raise FrameError(
                f"{self._rows} x {self._cols} tiles of {width}x{height} make a picture of {sides[1]}x{sides[0]}, but "
                f"H.264 ends at {MAX_FRAME_SIDE} pixels a side and {MAX_PICTURE_PIXELS:,} altogether: record fewer "
                "sub-environments or smaller frames"
            )
        return height, width

    def _convert(self, frames: list[Pixels], tile: tuple[int, int]) -> Pixels:
        fits = self._rows == self._cols == 1 and frames[0].shape[:2] == tile
        picture = frames[0] if fits else self._tiled(frames, tile)
        height, width = picture.shape[:2]
        if height % 2 or width % 2:
            picture = cv2.copyMakeBorder(picture, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
        if self._planes is None:
            self._planes = _Planes(*picture.shape[:2])
        return self._planes.fill(picture)

    def _tiled(self, frames: list[Pixels], tile: tuple[int, int]) -> Pixels:
        height, width = tile
        depth = max(frame.ndim for frame in frames)
        picture = np.zeros((height * self._rows, width * self._cols, 3)[:depth], np.uint8)
        for place, frame in enumerate(frames):
            top, left = place // self._cols * height, place % self._cols * width
            part = frame[:height, :width]
            if part.ndim < depth:
                part = part[..., np.newaxis]
            picture[top : top + part.shape[0], left : left + part.shape[1]] = part
        return picture


def _colour_or_grey(frame: Pixels) -> Pixels:
    """The frame packed, as ``(h, w)`` grey or ``(h, w, 3)`` RGB."""
    if frame.ndim == 3 and frame.shape[2] == 1:
        frame = frame[..., 0]
    if frame.ndim == 3 and frame.shape[2] == 4:
        # Channels first: the alpha plane need not be moved at all.
        if abs(frame.strides[2]) != 1:
            return packed(frame[..., :3])
        colour: Pixels = cv2.cvtColor(packed(frame), cv2.COLOR_RGBA2RGB)
        return colour
    return packed(frame)


class _Planes:
    """The planes of one picture after the other, in memory that is used again: fresh memory costs as much as the work.

    cv2 has this conversion in one call, but gives four pixels the colour of the first, so that a small thing loses
    its colour at every second place. Here they get their mean.
    """

    def __init__(self, height: int, width: int) -> None:
        half = height // 2, width // 2
        self.i420 = np.empty((height + half[0], width), np.uint8)
        self._luma = self.i420[:height]
        self._chroma = self.i420[height:].reshape(2, *half)  # U, V
        self._grey = np.empty((height, width), np.uint8)
        self._half = np.empty((*half, 3), np.uint8)
        self._ycrcb = np.empty((*half, 3), np.uint8)
        self._plane = np.empty(half, np.uint8)

    def fill(self, picture: Pixels) -> Pixels:
        """Convert an even-sized grey or RGB picture."""
        if picture.ndim == 2:
            cv2.convertScaleAbs(picture, self._luma, *_LUMA)
            self._chroma.fill(128)
            return self.i420
        cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY, self._grey)
        cv2.convertScaleAbs(self._grey, self._luma, *_LUMA)
        cv2.resize(picture, self._plane.shape[::-1], self._half, interpolation=cv2.INTER_AREA)
        cv2.cvtColor(self._half, cv2.COLOR_RGB2YCrCb, self._ycrcb)
        for channel, plane in zip((2, 1), self._chroma, strict=True):
            cv2.extractChannel(self._ycrcb, channel, self._plane)
            cv2.convertScaleAbs(self._plane, plane, *_CHROMA)
        return self.i420
