"""Pictures made to fit: scaled, on a black ground, with a line of text above them, or some over them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from offcamd.video.pixels import Pixels

LABEL_HEIGHT = 20
"""Height of the line of text in pixels, even."""

_FONT, _SCALE, _WHITE = cv2.FONT_HERSHEY_SIMPLEX, 0.45, (255, 255, 255)
_MARGIN, _LINE_HEIGHT = 4, 16  # of text over a picture, in pixels
_DIM = 0.3
"""What of a picture shines through beneath text."""


def resized(rgb: Pixels, width: int, height: int) -> Pixels:
    """A picture scaled to a size in pixels, uint8 ``(height, width, 3)``; the same array where it has that size."""
    if rgb.shape[:2] == (height, width):
        return rgb
    smaller = height <= rgb.shape[0] and width <= rgb.shape[1]
    found: Pixels = cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR)
    return found


def written(rgb: Pixels, text: str) -> Pixels:
    """A copy of a picture, uint8 ``(height, width, 3)``, with text over its top left.

    The text is broken at its commas into as many lines as the width asks for.
    """
    lines = [""]
    for part in text.split(", "):
        longer = f"{lines[-1]}, {part}" if lines[-1] else part
        if lines[-1] and _width_of(longer) > rgb.shape[1] - 2 * _MARGIN:
            lines.append(part)
        else:
            lines[-1] = longer
    found: Pixels = rgb.copy()
    height, width = len(lines) * _LINE_HEIGHT + _MARGIN, max(map(_width_of, lines)) + 2 * _MARGIN
    found[:height, :width] = cv2.convertScaleAbs(found[:height, :width], alpha=_DIM)
    for number, line in enumerate(lines, 1):
        cv2.putText(found, line, (_MARGIN, number * _LINE_HEIGHT - 3), _FONT, _SCALE, _WHITE, 1, cv2.LINE_AA)
    return found


def _width_of(text: str) -> int:
    (width, _), _ = cv2.getTextSize(text, _FONT, _SCALE, 1)
    return int(width)


class Ground:
    """A black picture of fixed size in whose middle others are shown. Not thread-safe.

    Args:
        width: of the picture, in pixels.
        height: of the room for other pictures, in pixels; a label adds `LABEL_HEIGHT`.
        label: a line of text above the room; empty for none. Text that does not fit is cut. Letters that OpenCV's font
            lacks are not shown, and bytes that are no UTF-8, as in a file's name, are escaped.

    Attributes:
        picture: uint8 ``(height, width, 3)`` RGB, which `show` changes.
    """

    def __init__(self, width: int, height: int, label: str = "") -> None:
        top = LABEL_HEIGHT if label else 0
        self.picture: Pixels = np.zeros((height + top, width, 3), np.uint8)
        self._room = self.picture[top:]
        if label:
            text = label.encode(errors="backslashreplace").decode()  # OpenCV crashes on text that is no UTF-8
            cv2.putText(self.picture, text, (4, LABEL_HEIGHT - 6), _FONT, _SCALE, _WHITE, 1, cv2.LINE_AA)
            self._room[:] = 0

    def show(self, rgb: Pixels) -> Pixels:
        """Show a picture, uint8 ``(h, w, 3)``, in the middle of the room; returns `picture`.

        It must not be larger than the room, and has to have the same size each time.
        """
        height, width = rgb.shape[:2]
        top, left = (self._room.shape[0] - height) // 2, (self._room.shape[1] - width) // 2
        self._room[top : top + height, left : left + width] = rgb
        return self.picture
