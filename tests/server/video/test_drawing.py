from __future__ import annotations

import numpy as np
import pytest

from offcamd.video.drawing import written

TEXT = "episode 7, step 12, reward -1.5, return 230"


def boxes(width):
    """The rows and columns that text over a grey picture changes."""
    grey = np.full((120, width, 3), 120, np.uint8)
    found = written(grey, TEXT)
    assert (grey == 120).all(), "the picture itself is left"
    changed = (found != 120).any(axis=2)
    return changed.any(axis=1).sum(), changed.any(axis=0).sum(), found


def test_text_stands_at_the_top_left_in_as_many_lines_as_the_width_asks_for():
    heights = []
    for width in (600, 200, 120, 90):
        height, wide, found = boxes(width)
        assert (found[:height, :wide] != 120).all(axis=2).mean() > 0.9, "it is one box"
        assert found.max() > 200, "white letters"
        assert wide <= width
        heights.append(int(height))
    assert heights == sorted(heights)
    assert heights[0] < 25 < heights[-1]


@pytest.mark.parametrize("size", [(2, 2), (10, 40), (84, 84)])
def test_a_small_picture_has_what_fits(size):
    rgb = np.full((*size, 3), 200, np.uint8)
    assert written(rgb, TEXT).shape == rgb.shape
    assert (written(rgb, TEXT) != rgb).any()
