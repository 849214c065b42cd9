"""One clip that is being encoded: its queue, its encoder and its events."""

from __future__ import annotations

import dataclasses
import logging
import threading
import time
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Protocol, TypeAlias

from offcam_proto.errors import EncodeError, LocalProtocolError
from offcam_proto.limits import MIB
from offcamd.encode.budget import StreamMemory
from offcamd.encode.clip_encoder import ClipEncoder, ClipSpec, PictureTaker
from offcamd.encode.frame_queue import FrameQueue, Spilled
from offcamd.encode.scheduler import LIGHT_BYTES
from offcamd.encode.workers.clip import RemoteClip
from offcamd.process.health import ENCODER, Health
from offcamd.video.h264 import FAST_PRESETS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from offcam_runs.accounts import EncodedResult
    from offcamd.encode.budget import Budget
    from offcamd.encode.frame import Frame
    from offcamd.encode.histogram import Histogram
    from offcamd.encode.saved_clip import SavedClip
    from offcamd.encode.workers.process import Worker
    from offcamd.video.writer import WriterFactory

log = logging.getLogger(__name__)

_numbers = count(1)

TURN_FRAMES = 8
TURN_BYTES = 4 * MIB
"""A clip's turn ends after so many frames or pixel bytes, whichever comes first."""

SPILLED_FRAMES = 4
"""So many frames of a clip move to disk before those of another do, and their credit is returned."""


@dataclass(frozen=True)
class Released:
    """Bytes of a clip's frames left memory: encoded, moved to disk or dropped. Their credit may be granted again."""

    job: ClipJob
    nbytes: int


@dataclass(frozen=True)
class Saturated:
    """Whether a clip's frames wait in memory because the disk takes no more, so that credit is long in coming."""

    job: ClipJob
    saturated: bool


@dataclass(frozen=True)
class ClipFinished:
    """A clip's last event, and the only one of a video that is saved from a ring."""

    job: ClipJob | SavedClip
    result: EncodedResult


Event: TypeAlias = Released | Saturated | ClipFinished


class Pool(Protocol):
    """What a clip needs of the pool that it belongs to, `offcamd.encode.pool.EncoderPool`."""

    budget: Budget
    spool_dir: Path
    writer_factory: WriterFactory
    health: Health
    on_event: Callable[[Event], None]
    encode_seconds: Histogram
    wait_seconds: Histogram
    apart: bool

    def wake(self, job: ClipJob) -> None:
        """See `EncoderPool.wake`."""

    def end(self, job: ClipJob, *, aborted: bool) -> None:
        """See `EncoderPool.end`."""

    def want(self, job: ClipJob) -> None:
        """See `EncoderPool.want`."""


class ClipJob:
    """One clip that is being encoded; made by `EncoderPool.open`. `offer` and `end` are for the service's thread.

    Attributes:
        spec: the video to be made.
        stream: what frames of its stream take of memory.
        queue: the frames not yet encoded.
        apart: whether it is to be made by an encoder process.
        assigned: whether it has one.
        worker: number of the only worker that may encode it; None for any, or if it has not begun.
    """

    def __init__(self, spec: ClipSpec, pool: Pool, stream: StreamMemory | None = None) -> None:
        self.spec = spec
        self.stream = stream or StreamMemory()
        self._pool = pool
        self._lock = threading.Lock()
        self._released = 0
        self._busy_seconds = 0.0
        self._small = False
        self.queue = FrameQueue(pool.budget, pool.spool_dir, self._count_released, self.stream)
        self._encoder: PictureTaker | RemoteClip = ClipEncoder(spec, pool.writer_factory, pool.health)
        self._fault: EncodeError | None = None
        # These belong to the pool and are guarded by its lock.
        self.apart = pool.apart
        self.assigned = False
        self.worker: int | None = None
        self.ended = self.aborted = self.scheduled = self.spilling = self.saturated = self.held = self.abandoned = False

    def assign(self, worker: Worker) -> bool:
        """Have the clip made by an encoder process from its first frame on; on the worker that asks that process.

        Returns False if it is made here, as the process cannot be started.
        """
        try:
            worker.start()
        except OSError as error:
            log.warning("%s is encoded in the daemon itself, as no process can be started: %s", self.spec.final, error)
            return False
        self._encoder = RemoteClip(self.spec, next(_numbers), worker, self._pool.health)
        return True

    def offer(self, frames: Sequence[Frame]) -> None:
        """Queue frames, at least one. Returns at once, whatever encoder and disk are doing.

        Raises:
            LocalProtocolError: the clip was ended before.
        """
        if self.ended:
            raise LocalProtocolError(f"frame {frames[0].index} was offered to {self.spec.final} after its end")
        self.queue.put(frames)
        self._small = frames[-1].nbytes <= LIGHT_BYTES
        if self.abandoned:
            self.queue.discard()
            self._report_released()
        self._pool.wake(self)

    def end(self, *, aborted: bool = False) -> None:
        """End the clip. What is queued is still encoded; then `ClipFinished` is sent.

        One that is ``aborted``, as its client went away without ending it, replaces no older file.
        """
        self._pool.end(self, aborted=aborted)

    def want(self) -> None:
        """Have the clip not give way to other programs any more, as somebody waits until it is final."""
        self._pool.want(self)

    @property
    def complete(self) -> bool:
        """Whether all that is left to do for the clip is to finish its file. Under the pool's lock."""
        return self.ended and not self.spilling and not len(self.queue)

    @property
    def light(self) -> bool:
        """Whether most of the clip's next turn will be Python's work here, not the encoder's. Under the pool's lock."""
        return not self.apart and self._small and self.spec.preset in FAST_PRESETS and not self.complete

    @property
    def runnable(self) -> bool:
        """Whether a worker has something to do for the clip. Under the pool's lock."""
        return not self.held and (self.queue.ready or self.complete)

    def hurry(self) -> None:
        """Have the clip wait for nothing any more, as the pool closes. Under the pool's lock."""
        self.held = False

    def fail(self, error: EncodeError) -> None:
        """Have the clip end with an error once a worker comes to it: its frames are dropped. From any thread."""
        self._fault = self._fault or error

    @property
    def failed(self) -> bool:
        """Whether the clip is to end with an error."""
        return self._fault is not None

    def broke(self, error: BaseException) -> None:
        """Have the clip end after an unexpected error. Raises a second one of the same clip, which ends the worker."""
        if self._fault is not None:
            raise error
        self.fail(EncodeError(f"unexpected {error!r} at {self.spec.final}: please report it"))

    def turn(self, *, abandon: bool) -> None:
        """Encode a few frames, or with ``abandon`` drop all that are queued; on a worker."""
        started = time.perf_counter()
        self._pass_on_fault()
        if abandon:
            self._encoder.drop(self.queue.discard(), "shutdown")
        else:
            self._encode_some()
        if self._encoder.error is not None:
            self._encoder.drop(self.queue.discard())
        self._busy_seconds += time.perf_counter() - started
        self._report_released()

    def _pass_on_fault(self) -> None:
        if self._fault is not None and self._encoder.error is None:
            self._encoder.fail(self._fault)

    def _encode_some(self) -> None:
        frames, nbytes = 0, 0
        while self._encoder.error is self._fault is None and frames < TURN_FRAMES and nbytes < TURN_BYTES:
            taken = self._take_some(min(self._encoder.together, TURN_FRAMES - frames), TURN_BYTES - nbytes)
            if not taken:
                return
            frames, nbytes = frames + len(taken), nbytes + sum([frame.nbytes for frame in taken])
            began = time.perf_counter()
            self._encoder.encode_all(taken, self._read, self.queue.done)
            each = (time.perf_counter() - began) / len(taken)
            for _ in taken:
                self._pool.encode_seconds.observe(each)

    def _take_some(self, most: int, most_bytes: int) -> list[Frame]:
        """The next frames, at least one if there is one."""
        taken: list[Frame] = []
        nbytes = 0
        while len(taken) < most and nbytes < most_bytes:
            try:
                frame = self.queue.take()
            except EncodeError as error:
                self.fail(error)
                break
            if frame is None:
                break
            taken.append(frame)
            nbytes += frame.nbytes
            self._pool.wait_seconds.observe(time.monotonic() - frame.arrived)
        if not taken:
            self._pass_on_fault()
        return taken

    def _read(self, frame: Frame) -> None:
        """Release a frame whose pixels were read.

        One whose pixels are where they outlive a daemon that is killed is released only once the muxer has it: until
        then the next daemon could encode it.
        """
        if frame.release is None:
            self.queue.done(frame)

    def finish(self) -> None:
        """Finish the file and send `ClipFinished`; on a worker, once."""
        started = time.perf_counter()
        self._pass_on_fault()
        results: list[EncodedResult] = []
        with self._pool.health.survive(
            ENCODER, str(self.spec.final), lambda error: results.append(self._encoder.abandon(error))
        ):
            results.append(self._encoder.finish(aborted=self.aborted))
        self._over(results[0], self._busy_seconds + time.perf_counter() - started)

    def abandon(self, error: BaseException) -> None:
        """End the clip without finishing its file; on a worker that dies, at this clip or as the last worker."""
        self.abandoned = True
        self._encoder.drop(len(self.queue))
        self._over(self._encoder.abandon(error), self._busy_seconds)

    def _over(self, result: EncodedResult, busy: float) -> None:
        self.queue.close()
        self._report_released()
        self._pool.on_event(ClipFinished(self, dataclasses.replace(result, encode_seconds=busy)))

    def spill(self) -> Spilled:
        """Move a few frames to disk, and return what became of the last one; on the spool thread."""
        outcome, moved = self.queue.spill(), 1
        while outcome is Spilled.MOVED and moved < SPILLED_FRAMES and self.queue.overflowing:
            outcome, moved = self.queue.spill(), moved + 1
        self._report_released()
        return outcome

    def _count_released(self, nbytes: int) -> None:
        with self._lock:
            self._released += nbytes

    def _report_released(self) -> None:
        with self._lock:
            nbytes, self._released = self._released, 0
        if nbytes:
            self._pool.on_event(Released(self, nbytes))
