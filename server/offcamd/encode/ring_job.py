"""A ring that is being encoded: a clip without a file, of which videos are saved while it goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from offcamd.encode.job import ClipFinished, ClipJob, Pool
from offcamd.encode.ring_clip import RingClip

if TYPE_CHECKING:
    from offcamd.encode.budget import StreamMemory
    from offcamd.encode.clip_encoder import ClipSpec
    from offcamd.encode.packet_ring import RingMemory
    from offcamd.encode.saved_clip import SavedClip
    from offcamd.video.writer import PacketEncoderFactory


class RingPool(Pool, Protocol):
    """What a ring needs of its pool."""

    ring_factory: PacketEncoderFactory
    ring_memory: RingMemory


class RingJob(ClipJob):
    """A ring that is being encoded; made by `EncoderPool.open`. `offer`, `save`, `end` are for the service's thread."""

    def __init__(self, spec: ClipSpec, pool: RingPool, stream: StreamMemory | None = None) -> None:
        super().__init__(spec, pool, stream)
        self.apart = False  # its pictures are held in the daemon's memory
        self._poked = False
        self._ring = self._encoder = RingClip(
            spec,
            pool.ring_factory,
            pool.ring_memory,
            lambda saved, result: pool.on_event(ClipFinished(saved, result)),
            pool.health,
        )

    def save(self, saved: SavedClip) -> None:
        """Have a video saved once the frames that were offered before are encoded; `ClipFinished` tells of it."""
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
        """As `ClipJob.hurry`; videos are written even if their rows are not in the index."""
        super().hurry()
        self._ring.release()

    def turn(self, *, abandon: bool) -> None:
        """As `ClipJob.turn`, and go on with the videos saved from it."""
        self._poked = False
        super().turn(abandon=abandon)
        # Read before the queue's length, as a video that is asked for just now may need frames that just came, too.
        asked = self._ring.asked
        self._ring.settle(0 if len(self.queue) else asked)
