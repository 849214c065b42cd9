"""A frame on its way to its encoder."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from offcam_proto.layout import FrameLayout
from offcam_proto.messages import Buffer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Part: TypeAlias = tuple[Buffer, FrameLayout]


class Moved(NamedTuple):
    """How to get at a frame that was moved to a file which outlives this process.

    Attributes:
        read: reads its pixels back. Raises OSError.
        release: frees its place in the file.
    """

    read: Callable[[], Sequence[Part]]
    release: Callable[[], None]


@dataclass(slots=True)
class Frame:
    """One picture's pixels.

    Attributes:
        index: its place in the clip, in units of ``1 / fps``.
        parts: for each tile a buffer and the layout of the pixels in it; empty while the pixels are on disk.
        nbytes: bytes of all buffers together.
        arrived: ``time.monotonic()`` when the daemon received it.
        charged: whether its bytes count as queued memory (not once they were on disk).
        release: frees its pixels' place in a client's shared memory or a file; None if they are in neither.
        move: moves it to a file that outlives this process; returns None if there is no room. Raises OSError.
        read: reads its pixels back from there. Raises OSError.
    """

    index: int
    parts: Sequence[Part]
    nbytes: int
    arrived: float
    charged: bool = True
    release: Callable[[], None] | None = None
    move: Callable[[], Moved | None] | None = None
    read: Callable[[], Sequence[Part]] | None = None


def arrived(
    index: int,
    parts: Sequence[Part],
    release: Callable[[], None] | None = None,
    move: Callable[[], Moved | None] | None = None,
) -> Frame:
    """A frame that arrives now; the sizes of its buffers make its ``nbytes``."""
    nbytes = sum([memoryview(buffer).nbytes for buffer, _ in parts])
    return Frame(index, parts, nbytes, time.monotonic(), release=release, move=move)
