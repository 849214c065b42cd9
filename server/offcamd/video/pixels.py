"""From the bytes that a client sent to an array of pixels in C order.

Rendered frames are often views of a buffer in another order (transposed, flipped, channels first). numpy
copies such views element by element; cv2 reorders them at a small part of that cost, so it is used for every view that
is a permutation and a flip of packed pixels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from offcam_proto.errors import FrameError

if TYPE_CHECKING:
    from offcam_proto.layout import FrameLayout
    from offcam_proto.messages import Buffer

Pixels: TypeAlias = npt.NDArray[np.uint8]

MAX_PICTURE_PIXELS = 139_264 * 16 * 16
"""Largest picture: level 6.2 of H.264, its highest (ITU-T H.264, table A-1). x264 takes 13 bytes a pixel and more."""

_ROTATED = (1, 0, 2)

cv2.setNumThreads(1)  # one, as many clips are encoded in parallel; more threads would only cost CPU


def view(buffer: Buffer, layout: FrameLayout) -> Pixels:
    """The frame in a buffer, as a view without a copy.

    Args:
        buffer: exactly ``layout.nbytes`` contiguous bytes. The array keeps it alive and shares its memory.
        layout: shape and strides of the frame in it.

    Returns:
        uint8 of ``layout.shape``, with the layout's strides; read-only if the buffer is.

    Raises:
        FrameError: the buffer has another size than the layout states.
    """
    size = memoryview(buffer).nbytes
    if size != layout.nbytes:
        raise FrameError(f"the client sent {size} bytes of pixels and a layout for {layout.nbytes}")
    frame: Pixels = np.ndarray(layout.shape, np.uint8, buffer, layout.offset, layout.strides)
    return frame


def packed(frame: Pixels) -> Pixels:
    """The same pixels in C order, as ``np.ascontiguousarray`` gives them, but faster.

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
    # The flip is in place where `rows` is a copy already, as fresh memory costs more than the flip.
    ours = None if np.may_share_memory(rows, frame) else rows
    flipped: Pixels = cv2.flip(rows, -1 if down == right else int(down), ours)
    return flipped


def _reordered(frame: Pixels) -> Pixels:
    """Pack a frame whose rows and columns run forwards in memory; its axes may be in any order there."""
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
    """Pack pixels that have gaps between them (every second pixel, RGB of RGBX), one channel at a time."""
    copy = np.empty(frame.shape, np.uint8)
    for channel in range(frame.shape[2] if frame.ndim == 3 else 0):
        copy[..., channel] = frame[..., channel]
    if frame.ndim == 2:
        copy[...] = frame
    return copy
