"""A ring on its way through the encoders: a clip without a file, of which videos are made while it goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from offcamd.encode.job import ClipFinished, ClipJob, Pool
from offcamd.encode.ring_clip import RingClip

if TYPE_CHECKING:
    from offcamd.encode.clip_encoder import ClipSpec
    from offcamd.encode.packet_ring import RingMemory
    from offcamd.encode.saved_clip import SavedClip
    from offcamd.video.writer import PacketEncoderFactory


class RingPool(Pool, Protocol):
    """What a ring needs of its pool."""

    ring_factory: PacketEncoderFactory
    ring_memory: RingMemory


class RingJob(ClipJob):
    """A ring that is being filled; made by `EncoderPool.open`. `offer`, `save`, `end` are for the service's thread."""

    def __init__(self, spec: ClipSpec, pool: RingPool) -> None:
        super().__init__(spec, pool)
        self._poked = False
        self._ring = self._encoder = RingClip(
            spec,
            pool.ring_factory,
            pool.ring_memory,
            lambda saved, result: pool.on_event(ClipFinished(saved, result)),
            pool.health,
        )

    def save(self, saved: SavedClip) -> None:
        """Have a video made of it, behind the frames that were offered before; `ClipFinished` tells of it."""
        saved.wake = self._poke
        self._ring.save(saved)
        self._poke()

    def _poke(self) -> None:
        self._poked = True
        self._pool.wake(self)

    @property
    def complete(self) -> bool:
        """As `ClipJob.complete`. Under the pool's lock."""
        return super().complete and not self._ring.held

    @property
    def runnable(self) -> bool:
        """As `ClipJob.runnable`. Under the pool's lock."""
        return super().runnable or self._poked

    def hurry(self) -> None:
        """The pool closes: videos are written whether or not the index knows them."""
        super().hurry()
        self._ring.release()

    def turn(self, *, abandon: bool) -> None:
        """Encode a few frames, and go on with the videos that are made of it; on a worker."""
        self._poked = False
        super().turn(abandon=abandon)
        asked = (
            self._ring.asked
        )  # before the queue is looked at: the frames that go before a later one may come just now
        self._ring.settle(0 if len(self.queue) else asked)
