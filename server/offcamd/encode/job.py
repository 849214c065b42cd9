"""One clip that is being encoded: its queue, its encoder and its events."""

from __future__ import annotations

import dataclasses
import functools
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

from offcam_proto.errors import EncodeError, LocalProtocolError
from offcam_proto.limits import MIB
from offcamd.encode.clip_encoder import ClipEncoder, ClipSpec, PictureTaker
from offcamd.encode.frame_queue import FrameQueue, Spilled
from offcamd.encode.scheduler import LIGHT_BYTES
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
    from offcamd.video.writer import WriterFactory

TURN_FRAMES = 8
TURN_BYTES = 2 * MIB
"""A clip's turn ends after so many frames or pixel bytes, whichever comes first."""


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


def _nothing() -> None:
    """Do not release a frame's pixels when they were read, but later."""


class Pool(Protocol):
    """What a clip needs of the pool that it belongs to, `offcamd.encode.pool.EncoderPool`."""

    budget: Budget
    spool_dir: Path
    writer_factory: WriterFactory
    health: Health
    on_event: Callable[[Event], None]
    encode_seconds: Histogram
    wait_seconds: Histogram

    def wake(self, job: ClipJob) -> None:
        """See `EncoderPool.wake`."""

    def end(self, job: ClipJob, *, aborted: bool) -> None:
        """See `EncoderPool.end`."""


class ClipJob:
    """One clip that is being encoded; made by `EncoderPool.open`. `offer` and `end` are for the service's thread.

    Attributes:
        spec: the video to be made.
        queue: the frames not yet encoded.
    """

    def __init__(self, spec: ClipSpec, pool: Pool) -> None:
        self.spec = spec
        self._pool = pool
        self._lock = threading.Lock()
        self._released = 0
        self._busy_seconds = 0.0
        self._small = False
        self.queue = FrameQueue(pool.budget, pool.spool_dir, self._count_released)
        self._encoder: PictureTaker = ClipEncoder(spec, pool.writer_factory, pool.health)
        self._fault: EncodeError | None = None
        # These belong to the pool and are guarded by its lock.
        self.ended = self.aborted = self.scheduled = self.spilling = self.saturated = self.held = self.abandoned = False

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

    @property
    def complete(self) -> bool:
        """Whether all that is left to do for the clip is to finish its file. Under the pool's lock."""
        return self.ended and not self.spilling and not len(self.queue)

    @property
    def light(self) -> bool:
        """Whether most of the clip's next turn will be Python's work, not the encoder's. Under the pool's lock."""
        return self._small and self.spec.preset in FAST_PRESETS and not self.complete

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
        frames = nbytes = 0
        while self._encoder.error is None and frames < TURN_FRAMES and nbytes < TURN_BYTES:
            try:
                frame = self.queue.take()
            except EncodeError as error:
                self._encoder.fail(error)
                return
            if frame is None:
                return
            frames, nbytes = frames + 1, nbytes + frame.nbytes
            self._pool.wait_seconds.observe(time.monotonic() - frame.arrived)
            began = time.perf_counter()
            lent = frame.release is not None  # its pixels are where they outlive a daemon that is killed
            self._encoder.encode(frame, functools.partial(self.queue.done, frame) if not lent else _nothing)
            if lent:
                self.queue.done(frame)  # only now that the muxer has it: until then the next daemon could encode it
            self._pool.encode_seconds.observe(time.perf_counter() - began)

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
        """Move one frame to disk; on the spool thread."""
        outcome = self.queue.spill()
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
