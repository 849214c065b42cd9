"""The last encoded pictures of a stream, in bounded memory. Knows of no video library and no clock."""

from __future__ import annotations

import threading
from array import array
from collections import deque
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from offcam_proto.limits import MIB

RING_BYTES = 64 * MIB
"""Most memory of one ring."""

RINGS_BYTES = 1024 * MIB
"""Most memory of all rings, which they share equally."""

PICTURE_BYTES = 16
"""Memory of a picture beside its data: its pts and where its data ends."""

GROUP_BYTES = 1024
"""Memory of a group beside its pictures."""

PARTS = 5
"""A group is at most a fifth of a ring, in time and in memory, as only whole groups are let go."""


class EncodedPicture(NamedTuple):
    """An encoded picture.

    Attributes:
        pts: when it is shown, in units of ``1 / fps`` since the ring began.
        data: its H.264 packet.
        key: whether it is a keyframe.
    """

    pts: int
    data: bytes
    key: bool


class PictureGroup:
    """A keyframe and the pictures after it that need it to be decoded. It only grows."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._times = array("q")
        self._ends = array("Q")

    def __len__(self) -> int:
        """How many pictures."""
        return len(self._times)

    @property
    def first(self) -> int:
        """The pts of its keyframe."""
        return self._times[0]

    @property
    def nbytes(self) -> int:
        """Bytes of memory."""
        return GROUP_BYTES + PICTURE_BYTES * len(self._times) + len(self._data)

    def add(self, picture: EncodedPicture) -> None:
        """Add the next picture."""
        self._data += picture.data
        self._times.append(picture.pts)
        self._ends.append(len(self._data))

    def pictures(self, begin: int = 0) -> Iterator[EncodedPicture]:
        """The pictures without the first ``begin``."""
        start = self._ends[begin - 1] if begin else 0
        for number in range(begin, len(self._times)):
            end = self._ends[number]
            yield EncodedPicture(self._times[number], bytes(self._data[start:end]), number == 0)
            start = end


class PacketRing:
    """Holds the pictures of the last ``span`` frames of time, and lets go of older ones, in whole groups.

    Args:
        span: how far it reaches back, in units of ``1 / fps``; at least 1.

    Attributes:
        nbytes: bytes of memory.
        shortened: whether pictures within ``span`` had to be let go for want of memory.
    """

    def __init__(self, span: int) -> None:
        self.nbytes = 0
        self.shortened = False
        self._span = span
        self._groups: deque[PictureGroup] = deque()
        self._newest = -1

    def __len__(self) -> int:
        """How many pictures it holds."""
        return sum(map(len, self._groups))

    def wants_key(self, pts: int, limit: int) -> bool:
        """Whether the next picture is to be a keyframe, as the last group has its part of the span or of ``limit``."""
        if not self._groups:
            return True
        last = self._groups[-1]
        return (pts - last.first) * PARTS >= self._span or last.nbytes * PARTS >= limit

    def add(self, picture: EncodedPicture, limit: int) -> None:
        """Add the next picture, and let go of old groups that are past the span or make it exceed ``limit`` bytes.

        The last group stays in any case. A picture is ignored if its keyframe is not there.
        """
        if picture.key:
            self._groups.append(PictureGroup())
            self.nbytes += GROUP_BYTES
        elif not self._groups:
            return
        self._groups[-1].add(picture)
        self.nbytes += PICTURE_BYTES + len(picture.data)
        self._newest = picture.pts
        while len(self._groups) > 1 and (self._outdated() or self.nbytes > limit):
            self.shortened = self.shortened or not self._outdated()
            self.nbytes -= self._groups.popleft().nbytes

    def since(self, begin: int) -> list[PictureGroup]:
        """The groups with the pictures from pts ``begin`` on, which may be within the first of them."""
        past = sum(group.first <= begin for group in self._groups)
        return list(islice(self._groups, max(past - 1, 0), None))

    @property
    def newest(self) -> PictureGroup:
        """The group that grows. There is one once a keyframe was added."""
        return self._groups[-1]

    def clear(self) -> None:
        """Let go of all groups."""
        self._groups.clear()
        self.nbytes = 0

    def _outdated(self) -> bool:
        """Whether the first group is past the span, as the second one begins no later than that."""
        return self._groups[1].first <= self._newest + 1 - self._span


class RingMemory:
    """The memory of all rings, which share it equally. Thread-safe."""

    def __init__(self, each: int = RING_BYTES, all_of_them: int = RINGS_BYTES) -> None:
        self._each, self._all = each, all_of_them
        self._rings = 0
        self._lock = threading.Lock()

    @property
    def share(self) -> int:
        """Bytes that each ring may take."""
        return min(self._each, self._all // (self._rings or 1))

    def enter(self) -> None:
        """Count a ring that begins."""
        with self._lock:
            self._rings += 1

    def leave(self) -> None:
        """Count a ring that ends."""
        with self._lock:
            self._rings -= 1
