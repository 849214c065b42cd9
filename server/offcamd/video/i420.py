"""Converts one frame, or a grid of frames, into the I420 planes that an encoder reads."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import cv2
import numpy as np

from offcam_proto.errors import FrameError
from offcam_proto.limits import MAX_FRAME_SIDE
from offcamd.video.pixels import MAX_PICTURE_PIXELS, Pixels
from offcamd.video.planes import Tile, scale_down


class I420Converter:
    """Converts the frames of one clip into the planes of pictures, which all have the same size.

    Tiles are as large as the first frame that comes; a later frame of another size is cropped or padded with
    black at its right and bottom, so that a clip never changes its size. Only what differs from the picture before
    is converted. Not thread-safe.

    Args:
        rows: how many rows of tiles a picture has.
        cols: how many columns of tiles.
        max_width: largest width of a picture in pixels, to which larger ones are scaled down; 0 for no limit.
        max_height: largest height, likewise.
    """

    def __init__(self, rows: int, cols: int, max_width: int = 0, max_height: int = 0) -> None:
        self._rows = rows
        self._cols = cols
        self._most = max_width, max_height
        self._tile: tuple[int, int] = (0, 0)
        self._i420 = self._scaled = np.empty((0, 0), np.uint8)
        self._tiles: list[Tile] = []

    @property
    def size(self) -> tuple[int, int] | None:
        """``(width, height)`` of the pictures, both even, or None before the first one."""
        if not self._tiles:
            return None
        return self._scaled.shape[1], self._scaled.shape[0] * 2 // 3

    def convert(self, frames: Sequence[Pixels]) -> Pixels:
        """Convert frames into one picture, whose tiles they fill row by row.

        Tiles without a frame are black, frames without a tile are left out. An odd height or width is made
        even by repeating the last row or column. A picture that is too large is scaled down as a whole.

        Args:
            frames: at least one, uint8 ``(h, w)``, ``(h, w, 1)``, ``(h, w, 3)`` RGB or ``(h, w, 4)`` RGBA
                (alpha is ignored), any strides. They are only read, and not held on to.

        Returns:
            uint8 ``(height * 3 // 2, width)``, C-contiguous: planes Y, U, V as I420, BT.601, limited range. The
            array is the converter's own, and the next call overwrites it.

        Raises:
            FrameError: no frame, or a picture with a side longer than H.264 allows.
        """
        if not frames:
            raise FrameError("the client sent a picture without a frame in it")
        if not self._tiles:
            self._tile = self._checked_tile(frames[0])
            self._tiles = self._laid_out()
        try:
            if self._show(frames[: self._rows * self._cols]) and self._scaled is not self._i420:
                for plane, small in zip(_planes(self._i420), _planes(self._scaled), strict=True):
                    scale_down(plane, small)
        except cv2.error as error:
            self._tiles = self._laid_out()  # the tiles are in an unknown state after the error
            shapes = {frame.shape for frame in frames}
            raise FrameError(f"frames of shapes {shapes} could not be converted to I420: {error}") from error
        return self._scaled

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

    @property
    def _whole(self) -> tuple[int, int]:
        return self._tile[0] * self._rows, self._tile[1] * self._cols

    def _laid_out(self) -> list[Tile]:
        """Black tiles, each with its part of the planes; one for all frames where a tile has an odd side."""
        height, width = (side + side % 2 for side in self._whole)
        self._i420 = self._scaled = np.empty((height * 3 // 2, width), np.uint8)
        luma, blue, red = _planes(self._i420)
        fitted = fitted_size(width, height, *self._most)
        if fitted != (width, height):
            self._scaled = np.empty((fitted[1] * 3 // 2, fitted[0]), np.uint8)
        high, wide = self._tile
        if high % 2 or wide % 2 or self._rows == self._cols == 1:
            return [Tile(self._whole, luma, blue, red)]
        tiles: list[Tile] = []
        for top, left in itertools.product(range(0, height, high), range(0, width, wide)):
            halves = slice(top // 2, (top + high) // 2), slice(left // 2, (left + wide) // 2)
            tiles.append(Tile(self._tile, luma[top : top + high, left : left + wide], blue[halves], red[halves]))
        return tiles

    def _show(self, frames: Sequence[Pixels]) -> bool:
        """Show frames in their tiles; returns whether the picture changed."""
        fitted = [frame if frame.shape[:2] == self._tile else self._composed([frame], 1, 1) for frame in frames]
        if len(self._tiles) < self._rows * self._cols:
            fitted = [self._composed(fitted, self._rows, self._cols)]
        pairs = itertools.zip_longest(self._tiles, fitted)
        changed = [tile.clear() if frame is None else tile.show(frame) for tile, frame in pairs]
        return any(changed)

    def _composed(self, frames: Sequence[Pixels], rows: int, cols: int) -> Pixels:
        """One RGB picture of ``rows`` by ``cols`` tiles, frames cropped and padded where they have another size."""
        height, width = self._tile
        picture = np.zeros((height * rows, width * cols, 3), np.uint8)
        for place, frame in enumerate(frames):
            top, left = place // cols * height, place % cols * width
            part = frame[:height, :width] if frame.ndim == 3 else frame[:height, :width, np.newaxis]
            picture[top : top + part.shape[0], left : left + part.shape[1]] = part[..., :3]
        return picture


def fitted_size(width: int, height: int, max_width: int, max_height: int) -> tuple[int, int]:
    """A picture's size in pixels, scaled down to fit limits (0 for none): the ratio stays, and both sides are even."""
    sides = ((width, max_width), (height, max_height))
    scale = min([1.0, *(most / side for side, most in sides if most)])
    fitted = [max(2, min(2 * round(side * scale / 2), (most or side) // 2 * 2)) for side, most in sides]
    return fitted[0], fitted[1]


def _planes(i420: Pixels) -> tuple[Pixels, Pixels, Pixels]:
    """Views of a picture's planes: Y (luma), U (blue) and V (red)."""
    height, width = i420.shape[0] * 2 // 3, i420.shape[1]
    blue, red = i420[height:].reshape(2, height // 2, width // 2)
    return i420[:height], blue, red
