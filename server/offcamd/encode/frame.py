"""One picture on its way to its encoder."""

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
    """A frame that was moved to disk, to where it outlives this process.

    Attributes:
        read: reads its pixels back. Raises OSError.
        release: called once it is not needed any more.
    """

    read: Callable[[], Sequence[Part]]
    release: Callable[[], None]


@dataclass(slots=True)
class Frame:
    """One picture's pixels.

    Attributes:
        index: its place in the clip, in units of ``1 / fps``.
        parts: pixel buffers and how the pixels lie in them, one for each tile.
        nbytes: size of all buffers together.
        arrived: ``time.monotonic()`` when it was put.
        charged: whether its bytes count as queued memory (not once they were on disk).
        release: called once its buffers are not needed any more, where they are somebody else's memory, or disk.
        move: moves it to disk, to where it outlives this process; returns None where there is no room for it. Raises
            OSError.
        read: reads it back from there.
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
    """One that arrives now, of as many bytes as its buffers have."""
    nbytes = sum([memoryview(buffer).nbytes for buffer, _ in parts])
    return Frame(index, parts, nbytes, time.monotonic(), release=release, move=move)
