"""A frame as it is sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from offcam_proto.layout import FrameLayout


class Picture(NamedTuple):
    """One frame, ready to be copied out; `offcam.recorder.frames.picture` makes one of what an env renders.

    Attributes:
        layout: where the frame's pixels lie in ``dense``.
        dense: a C-contiguous uint8 view of (usually) the env's own memory. Valid until the env renders again.
    """

    layout: FrameLayout
    dense: NDArray[np.uint8]

    @property
    def pixels(self) -> memoryview:
        """The block's bytes, not copied: whoever takes them copies them before the env renders again."""
        return self.dense.data
