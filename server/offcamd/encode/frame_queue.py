"""The frames of one clip that wait for its encoder: in order, some in memory and the others on disk.

::

    put() -> tail (memory) -> spool (disk) -> take()
         `-> head (memory), while there is room and nothing waits before it -> take()

Frames go on to the head while their stream's share of memory lasts. From then on they stay in the tail, from which the
pool's spool thread moves them to the spool, which is read back in order; the encoder takes one from the tail if it
has come to that sooner. The spool is files without a name or, for frames in a client's arena, a file that the client
can read, too. No frame overtakes another.
"""

from __future__ import annotations

import enum
import logging
import threading
from collections import deque
from typing import TYPE_CHECKING

from offcamd.encode.budget import StreamMemory
from offcamd.encode.spool import Spool

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from offcamd.encode.budget import Budget
    from offcamd.encode.frame import Frame

log = logging.getLogger(__name__)


class Spilled(enum.Enum):
    """What became of an attempt to move a frame to disk."""

    MOVED = enum.auto()
    NOTHING_TO_MOVE = enum.auto()
    NO_ROOM = enum.auto()


class FrameQueue:
    """The frames of one clip. One thread puts, one at a time takes, one at a time spills; properties are for any.

    Args:
        budget: shared by all clips.
        spool_dir: folder for the temporary files, which are created when needed and have no name.
        on_release: called with a frame's ``nbytes`` once it has left memory, on the thread that calls `done`, `spill`
            or `discard`.
        stream: what its stream's frames that wait take of memory; its own by default.
    """

    def __init__(
        self, budget: Budget, spool_dir: Path, on_release: Callable[[int], None], stream: StreamMemory | None = None
    ) -> None:
        self._budget = budget
        self._stream = stream or StreamMemory()
        self._on_release = on_release
        self._lock = threading.Lock()
        self._head: deque[Frame] = deque()
        self._tail: deque[Frame] = deque()
        self._head_bytes = 0
        self._moving: Frame | None = None
        self._spool = Spool(budget, spool_dir, self._lock)
        self._since = 0.0  # when what was taken last arrived, or the first that is on disk
        budget.begin_clip(self._stream)

    def __len__(self) -> int:
        """Frames put and not yet taken."""
        with self._lock:
            return len(self._head) + self._spool.records + (self._moving is not None) + len(self._tail)

    @property
    def ready(self) -> bool:
        """Whether `take` has a frame to give."""
        with self._lock:
            return bool(self._head or self._spool.records or (self._tail and self._moving is None))

    def has(self, frames: int, nbytes: int) -> bool:
        """Whether so many frames, or bytes, or as many as memory has room for, wait to be taken."""
        with self._lock:
            many = len(self._head) >= frames or self._head_bytes >= nbytes
            return many or bool(self._spool.records or self._tail)

    @property
    def overflowing(self) -> bool:
        """Whether `spill` has a frame to move."""
        with self._lock:
            return bool(self._tail)

    @property
    def oldest(self) -> float | None:
        """When the next frame arrived (``time.monotonic()``), or earlier if it is on disk; None if no frame waits."""
        with self._lock:
            if self._spool.records and not self._head:
                return self._since
            waiting = self._head or ([self._moving] if self._moving else self._tail)
            return waiting[0].arrived if waiting else None

    def put(self, frames: Sequence[Frame]) -> None:
        """Add frames, in order. Never refuses any, and blocks on nothing but a lock.

        Their buffers must not change until they are released.
        """
        self._budget.count_memory(sum([frame.nbytes for frame in frames]))
        with self._lock:
            self._tail.extend(frames)
            self._refill()

    def take(self) -> Frame | None:
        """The next frame, or None if there is none, or it is just being moved to disk. Call `done` with it later.

        Raises:
            EncodeError: a frame could not be read back from disk. It is still counted, until `discard`.
        """
        with self._lock:
            if self._head:
                frame = self._head.popleft()
                self._head_bytes -= frame.nbytes
                self._stream.count(0, -1)
                self._since = frame.arrived
                self._refill()
                return frame
            if not self._spool.records:
                if self._moving is not None or not self._tail:
                    return None
                frame = self._at_hand(self._tail.popleft())
                self._since = frame.arrived
                self._refill()
                return frame
        frame = self._spool.read()
        with self._lock:
            self._since = frame.arrived
            self._refill()
        return frame

    def done(self, frame: Frame) -> None:
        """Release the buffers of a frame that was taken."""
        frame.parts, frame.place = (), None
        if frame.release is not None:
            frame.release()
            frame.release = None
        if frame.at_hand:
            frame.at_hand = False
            self._stream.count(-frame.nbytes, 0)
            with self._lock:
                self._refill()
        if frame.charged:
            frame.charged = False
            self._budget.count_memory(-frame.nbytes)
            self._on_release(frame.nbytes)

    def spill(self) -> Spilled:
        """Move the oldest frame of the tail to disk."""
        with self._lock:
            if not self._tail:
                return Spilled.NOTHING_TO_MOVE
            frame = self._moving = self._tail.popleft()
            if not self._spool.records:
                self._since = max(self._since, frame.arrived)
        try:
            stored = self._spool.append(frame)
        except OSError as error:
            log.warning("the spool could not be written, frames wait in memory: %s", error)
            self._budget.pause_spool()
            stored = False
        except BaseException:
            self._put_back(frame)
            raise
        if not stored:
            self._put_back(frame)
            return Spilled.NO_ROOM
        self.done(frame)
        with self._lock:
            self._moving = None
            self._refill()  # `take` may have read the frame already
        return Spilled.MOVED

    def _put_back(self, frame: Frame) -> None:
        with self._lock:
            self._tail.appendleft(frame)
            self._moving = None
            self._refill()

    def discard(self) -> int:
        """Drop the queued frames, but not one that is just being moved to disk. Returns how many were dropped."""
        with self._lock:
            frames = [*self._head, *self._tail]
            self._stream.count(0, -len(self._head))
            self._head.clear()
            self._tail.clear()
            self._head_bytes = 0
            spooled, elsewhere = self._spool.clear()
            count = len(frames) + spooled
        for frame in (*frames, *elsewhere):
            self.done(frame)
        return count

    def close(self) -> None:
        """Drop all frames and give up the share of memory. No other method may run meanwhile, nor be called later."""
        self.discard()
        self._budget.end_clip(self._stream)

    def _refill(self) -> None:
        """Move frames from the tail to the head while that has room and nothing is between them. Under the lock."""
        while self._tail and self._moving is None and not self._spool.records and self._fits(self._tail[0]):
            frame = self._at_hand(self._tail.popleft())
            self._head.append(frame)
            self._head_bytes += frame.nbytes
            self._stream.count(0, 1)

    def _at_hand(self, frame: Frame) -> Frame:
        frame.at_hand = True
        self._stream.count(frame.nbytes, 0)
        return frame

    def _fits(self, frame: Frame) -> bool:
        """Whether a frame may wait in memory. A head may stay empty: many clips, each with a frame, would take much."""
        share = self._budget.share if frame.release is None else self._budget.lent_share(frame.nbytes)
        return self._stream.fits(frame.nbytes, share)
