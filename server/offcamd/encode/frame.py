"""A frame on its way to its encoder."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from offcam_proto.errors import EncodeError
from offcam_proto.layout import FrameLayout
from offcam_proto.messages import Buffer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Part: TypeAlias = tuple[Buffer, FrameLayout]


_numbers = count(1)


@dataclass(frozen=True, slots=True, eq=False)
class SharedFile:
    """An open file with frames, which another process may read, too.

    Attributes:
        descriptor: of the file, open as long as a frame in it is not released.
        mapped: whether it is memory, to be read without a copy; what was written of it stays there.
        number: which no other file has had: descriptors are given anew.
    """

    descriptor: int
    mapped: bool
    number: int = field(default_factory=lambda: next(_numbers), init=False)


class FramePlace(NamedTuple):
    """Where a frame's pixels are in a file, those of one tile behind those of the other.

    Attributes:
        file: the file.
        pixels_at: offset of the pixels.
        layouts: how those of each tile are laid out.
        mark_at: offset of what marks the frame as waiting.
        mark: what is written there once the frame is in its video, so that nobody records it again.
    """

    file: SharedFile
    pixels_at: int
    layouts: Sequence[FrameLayout]
    mark_at: int
    mark: bytes


class Moved(NamedTuple):
    """How to get at a frame that was moved to a file which outlives this process.

    Attributes:
        read: reads its pixels back. Raises OSError.
        release: frees its place in the file.
        place: where it lies for other processes; None if its pixels are read at once when its turn comes.
    """

    read: Callable[[], Sequence[Part]]
    release: Callable[[], None]
    place: FramePlace | None = None


@dataclass(slots=True)
class Frame:
    """One picture's pixels.

    Attributes:
        index: its place in the clip, in units of ``1 / fps``.
        parts: for each tile a buffer and the layout of the pixels in it; empty while the pixels are on disk.
        nbytes: bytes of all buffers together.
        arrived: ``time.monotonic()`` when the daemon received it.
        charged: whether its bytes count as queued memory (not once they were on disk).
        at_hand: whether they count as at hand for the encoder, see `offcamd.encode.budget.StreamMemory`.
        release: frees its pixels' place in a client's shared memory or a file; None if they are in neither.
        move: moves it to a file that outlives this process; returns None if there is no room. Raises OSError.
        read: reads its pixels back from there. Raises OSError.
        place: where its pixels lie for other processes; None if they are this process's alone.
    """

    index: int
    parts: Sequence[Part]
    nbytes: int
    arrived: float
    charged: bool = True
    at_hand: bool = False
    release: Callable[[], None] | None = None
    move: Callable[[], Moved | None] | None = None
    read: Callable[[], Sequence[Part]] | None = None
    place: FramePlace | None = None

    def pixels(self) -> Sequence[Part]:
        """For each tile a buffer and its layout, read back if they are on disk. Raises EncodeError if that refuses."""
        if self.parts or self.read is None:
            return self.parts
        try:
            return self.read()
        except OSError as error:
            raise not_read_back(error) from error


def not_read_back(error: OSError) -> EncodeError:
    """The error of a frame on disk that cannot be read."""
    return EncodeError(f"frames that waited on disk could not be read back: {error}", "io")


def arrived(
    index: int,
    parts: Sequence[Part],
    release: Callable[[], None] | None = None,
    move: Callable[[], Moved | None] | None = None,
) -> Frame:
    """A frame that arrives now; the sizes of its buffers make its ``nbytes``."""
    nbytes = sum([memoryview(buffer).nbytes for buffer, _ in parts])
    return Frame(index, parts, nbytes, time.monotonic(), release=release, move=move)
