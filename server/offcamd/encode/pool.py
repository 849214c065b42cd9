"""A few threads that encode the frames of many clips.

The service opens a `ClipJob` for each clip and offers it frames. Workers encode a few frames of one clip, then a
few of the next; one more thread moves to disk the frames that do not fit in memory. The pool reports by events.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from offcam_proto.errors import EncodeError
from offcamd.encode.budget import Budget
from offcamd.encode.clip_encoder import ClipSpec
from offcamd.encode.frame_queue import Spilled
from offcamd.encode.histogram import ENCODE_BOUNDS, WAIT_BOUNDS, Histogram
from offcamd.encode.job import ClipFinished, ClipJob, Event, Released, Saturated
from offcamd.encode.malloc import MallocTrimmer
from offcamd.encode.packet_ring import RingMemory
from offcamd.encode.ring_job import RingJob
from offcamd.encode.scheduler import Scheduler
from offcamd.process.health import ENCODER, SPOOL, GuardedThread, Health
from offcamd.video.late_writers import ring_encoder, software

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from offcamd.video.writer import PacketEncoderFactory, WriterFactory

__all__ = [
    "ClipFinished",
    "ClipJob",
    "ClipSpec",
    "EncoderBacklog",
    "EncoderPool",
    "Event",
    "Released",
    "RingJob",
    "Saturated",
]

STOP_SECONDS = 5.0
"""How long a hard stop waits for pictures that are being encoded and for files to be finished."""


@dataclass(frozen=True)
class EncoderBacklog:
    """Frames that wait to be encoded: their bytes in memory and on disk, and how long the oldest has waited."""

    memory_bytes: int
    spool_bytes: int
    lag_seconds: float


class EncoderPool:
    """Encodes many clips at once, each in order and by one thread at a time, turn by turn. Thread-safe.

    Args:
        workers: number of threads that encode.
        memory_limit, spool_limit, clip_memory: bytes, as of `offcamd.encode.budget.Budget`.
        spool_dir: folder of the spool's files.
        on_event: called on the pool's threads with each event, one clip's in order. It must be quick, and not raise.
        writer_factory: makes a clip's writer.
        health: is told of unexpected errors.
        ring_factory: makes a ring's encoder.

    Attributes:
        budget: counts the bytes of frames.
        ring_memory: counts the rings, whose memory is not in ``budget``.
        closed: why no clip is begun any more, or None.
        encode_seconds: how long frames took to encode.
        wait_seconds: how long frames had waited for that.
    """

    def __init__(
        self,
        *,
        workers: int,
        memory_limit: int,
        spool_limit: int,
        spool_dir: Path,
        on_event: Callable[[Event], None],
        clip_memory: int | None = None,
        writer_factory: WriterFactory = software,
        health: Health | None = None,
        ring_factory: PacketEncoderFactory = ring_encoder,
    ) -> None:
        self.health = health or Health()
        self.ring_factory = ring_factory
        self.ring_memory = RingMemory()
        self.closed: EncodeError | None = None
        self.budget = Budget(memory_limit, spool_limit, clip_memory)
        self.spool_dir = spool_dir
        self.on_event = on_event
        self.writer_factory = writer_factory
        self.encode_seconds = Histogram(ENCODE_BOUNDS)
        self.wait_seconds = Histogram(WAIT_BOUNDS)
        self._lock = threading.Lock()
        self._resting: list[threading.Condition] = []  # idle workers; the last one is woken first: its caches are warm
        self._spillable = threading.Condition(self._lock)
        self._idle = threading.Condition(self._lock)
        self._jobs: set[ClipJob] = set()
        self._scheduler: Scheduler[ClipJob] = Scheduler()
        self._watched = False  # whether an idle worker waits for `Scheduler.patience`
        self._spills: deque[ClipJob] = deque()
        self._blocked: set[ClipJob] = set()
        self._trimmer = MallocTrimmer()
        self._abandon = self._stop = False
        self._refused: EncodeError | None = None
        self._alive = workers
        self._spooling = True
        self._threads = [
            GuardedThread(ENCODER, self._work, self.health, name=f"offcam-encode-{number}") for number in range(workers)
        ]
        self._threads.append(GuardedThread(SPOOL, self._spool, self.health, name="offcam-spool"))
        for thread in self._threads:
            thread.start()

    def open(self, spec: ClipSpec, *, held: bool = False) -> ClipJob:
        """Begin a clip. No file is touched before its first frame.

        Args:
            spec: the video to be made.
            held: only queue its frames until `start` is called.

        Raises:
            EncodeError: the pool is closed, or has no thread left.
        """
        with self._lock:
            if self.closed is not None:
                raise self.closed
            job = RingJob(spec, self) if spec.ring_frames else ClipJob(spec, self)
            job.held = held
            if self._refused is not None:
                job.fail(self._refused)
            self._jobs.add(job)
        return job

    def refuse(self, error: EncodeError) -> None:
        """Encode nothing any more: all clips, open ones included, end with this error."""
        with self._lock:
            self._refused = error
            for job in self._jobs:
                job.fail(error)
                self._schedule(job)

    @property
    def unfinished(self) -> list[Path]:
        """The videos that are not final."""
        with self._lock:
            return sorted(job.spec.final for job in self._jobs)

    def start(self, job: ClipJob) -> None:
        """Let a clip that was opened ``held`` be encoded."""
        with self._lock:
            job.held = False
            self._schedule(job)

    def backlog(self) -> EncoderBacklog:
        """What waits to be encoded, in all clips. From any thread."""
        with self._lock:
            jobs = list(self._jobs)
        arrivals = [job.queue.oldest for job in jobs]
        now = time.monotonic()
        lag = max((now - arrived for arrived in arrivals if arrived is not None), default=0.0)
        return EncoderBacklog(self.budget.memory_bytes, self.budget.spool_bytes, lag)

    def close(self, timeout: float) -> bool:
        """End all clips as aborted that are not ended yet, wait until they are final, and stop the threads.

        Args:
            timeout: seconds to wait. Then frames that still wait are dropped (reason ``shutdown``) and the files
                finished without them; 0 is a hard stop.

        Returns:
            Whether everything was encoded. If not, each clip has got its `ClipFinished` all the same, unless a
            thread hung in the encoder or the disk for longer than `STOP_SECONDS`.
        """
        with self._lock:
            self.closed = self.closed or EncodeError("the recorder is shutting down and starts no video", "shutdown")
            for job in list(self._jobs):
                job.aborted, job.ended = job.aborted or not job.ended, True
                job.hurry()
                self._schedule(job)
            complete = self._idle.wait_for(lambda: not self._jobs, timeout)
            if not complete:
                self._abandon = True
                for job in self._jobs:
                    self._schedule(job)
                self._idle.wait_for(lambda: not self._jobs, STOP_SECONDS)
            self._stop = True
            for worker in self._resting:
                worker.notify()
            self._spillable.notify_all()
        deadline = time.monotonic() + STOP_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        return complete

    def wake(self, job: ClipJob) -> None:
        """Have a worker look at a clip, as there is a frame for it."""
        with self._lock:
            self._schedule(job)

    def end(self, job: ClipJob, *, aborted: bool) -> None:
        """End a clip: no more frames will be queued for it."""
        with self._lock:
            if not job.ended:
                job.ended, job.aborted = True, aborted
                self._schedule(job)

    def _schedule(self, job: ClipJob) -> None:
        """As `_line_up`, and wake a worker if that is needed. Under the lock."""
        if self._line_up(job):
            self._call_worker()

    def _line_up(self, job: ClipJob) -> bool:
        """Queue a clip for workers and spool thread as it needs. Returns whether it is new in the workers' line.

        Under the lock.
        """
        new = not job.scheduled and job.runnable and job in self._jobs
        if new:
            job.scheduled = True
            self._scheduler.add(job, light=job.light)
        if self._spooling and job.queue.overflowing and job not in self._blocked:
            self._line_up_spill(job)
        return new

    def _line_up_spill(self, job: ClipJob) -> None:
        if not job.spilling and not job.failed:
            job.spilling = True
            self._spills.append(job)
            self._spillable.notify()

    def _call_worker(self) -> None:
        """Wake a worker if there is something for it to do. Under the lock."""
        now = time.monotonic()
        unwatched = not self._watched and self._scheduler.patience(now) is not None
        if self._resting and (unwatched or self._scheduler.ready(now)):
            self._resting.pop().notify()

    def _work(self) -> None:
        """Give clips their turns, until the pool stops."""
        own = threading.Condition(self._lock)
        job: ClipJob | None = None
        try:
            while True:
                with self._lock:
                    if job is not None:
                        self._turn_over(job)
                    job = self._next(own)
                    if job is None:
                        return
                    complete, abandon = job.complete, self._abandon
                with self.health.survive(ENCODER, str(job.spec.final), job.broke):
                    if complete:
                        self._finish(job)
                    else:
                        job.turn(abandon=abandon)
        except BaseException as error:
            self._lose_worker(job, error)
            raise

    def _lose_worker(self, job: ClipJob | None, error: BaseException) -> None:
        """End the clip of a worker that dies, and all clips if it is the last worker."""
        with self._lock:
            self._alive -= 1
            left = {each for each in self._jobs if each is job or not self._alive}
            if not self._alive:
                self.closed = EncodeError(
                    f"no encoder thread is left, the last one was ended by {error!r}: restart the daemon, with "
                    "`offcam stop` and `offcam start`"
                )
        for each in left:
            with self.health.survive(ENCODER, str(each.spec.final)):
                each.abandon(error)
            self._forget(each)

    def _next(self, own: threading.Condition) -> ClipJob | None:
        """Wait for the clip whose turn it is; None once the pool stops. Under the lock."""
        while (job := self._scheduler.take(time.monotonic())) is None:
            if self._stop:
                return None
            patience = None if self._watched else self._scheduler.patience(time.monotonic())
            self._watched = self._watched or patience is not None
            self._resting.append(own)
            own.wait(patience)
            if own in self._resting:  # it was not woken, the wait timed out
                self._resting.remove(own)
            if patience is not None:
                self._watched = False
        self._call_worker()
        return job

    def _turn_over(self, job: ClipJob) -> None:
        """A worker is done with a clip for now. Under the lock."""
        self._scheduler.done(job)
        job.scheduled = False
        self._line_up(job)  # no other worker is woken: this one takes its next clip now
        while self._blocked:  # the turn may have made room on disk
            self._line_up_spill(self._blocked.pop())

    def _finish(self, job: ClipJob) -> None:
        if job.saturated:
            self.on_event(Saturated(job, saturated=False))
        job.finish()
        self._trimmer.trim()
        self._forget(job)

    def _forget(self, job: ClipJob) -> None:
        with self._lock:
            self._blocked.discard(job)
            self._jobs.discard(job)
            self._idle.notify_all()

    def _spool(self) -> None:
        """Move frames of overflowing clips to disk, one of each clip at a time, until the pool stops."""
        try:
            while True:
                with self._lock:
                    self._spillable.wait_for(lambda: self._spills or self._stop)
                    if self._stop:
                        return
                    job = self._spills.popleft()
                full = False
                with self.health.survive(SPOOL, str(job.spec.final), job.broke):
                    full = self._spill(job)
                with self._lock:
                    job.spilling = False
                    if full:
                        self._blocked.add(job)
                    self._schedule(job)
        except BaseException:
            with self._lock:  # frames wait in memory from now on
                self._spooling = False
                for each in self._jobs:
                    each.spilling = False
                    self._schedule(each)
            raise

    def _spill(self, job: ClipJob) -> bool:
        """Move one frame of a clip; returns whether the disk has no room for it."""
        full = job.spill() is Spilled.NO_ROOM
        # It ends only when no frame waits for the disk, or the client might be told of a change with every frame.
        if full != job.saturated and (full or not job.queue.overflowing):
            job.saturated = full
            self.on_event(Saturated(job, full))
        return full
