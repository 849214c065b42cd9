"""A few threads that encode the frames of many clips.

The service opens a `ClipJob` for each clip and offers it frames. Workers encode a few frames of one clip, then a
few of the next; one more thread moves to disk the frames that do not fit in memory. The pool reports by events.
"""

from __future__ import annotations

import dataclasses
import threading
import time
from collections import Counter, deque
from contextlib import contextmanager, suppress
from functools import partial
from itertools import takewhile
from typing import TYPE_CHECKING

from offcam_proto.errors import EncodeError
from offcamd.encode.budget import Budget, EncoderBacklog
from offcamd.encode.clip_encoder import ClipSpec
from offcamd.encode.frame_queue import Spilled
from offcamd.encode.histogram import ENCODE_BOUNDS, WAIT_BOUNDS, Histogram
from offcamd.encode.job import TURN_BYTES, TURN_FRAMES, ClipFinished, ClipJob, Event, Released, Saturated
from offcamd.encode.malloc import MallocTrimmer
from offcamd.encode.pace import PaceKeeper
from offcamd.encode.packet_ring import RingMemory
from offcamd.encode.ring_job import RingJob
from offcamd.encode.scheduler import Scheduler
from offcamd.encode.stream_order import StreamOrder
from offcamd.encode.workers.process import Worker
from offcamd.encode.workers.wire import SelfTest
from offcamd.process.health import ENCODER, SPOOL, GuardedThread, Health
from offcamd.video.late_writers import ring_encoder, software

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from offcamd.encode.budget import StreamMemory
    from offcamd.encode.workers.wire import Setup
    from offcamd.video.writer import PacketEncoderFactory, WriterFactory

__all__ = ["ClipFinished", "ClipJob", "ClipSpec", "EncoderPool", "Event", "Released", "RingJob", "Saturated"]

IDLE_SECONDS = 60.0
"""How long an encoder process that is not the only one has nothing to do before it is ended."""

STOP_SECONDS = 5.0
"""How long a hard stop waits for pictures that are being encoded and for files to be finished."""


class EncoderPool:
    """Encodes many clips at once, each in order and by one thread at a time, turn by turn. Thread-safe.

    Args:
        workers: number of threads that encode.
        memory_limit, spool_limit, stream_memory: bytes, as of `offcamd.encode.budget.Budget`.
        spool_dir: folder of the spool's files.
        on_event: called on the pool's threads with each event, one clip's in order. It must be quick, and not raise.
        writer_factory: makes a clip's writer.
        health: is told of unexpected errors.
        ring_factory: makes a ring's encoder.
        setup: if given, each thread has clips made by a process of its own that is set up so; rings are made here.

    Attributes:
        budget: counts the bytes of frames.
        pace: whether encoding gives way to other programs; without processes of their own encoders never do.
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
        stream_memory: int | None = None,
        writer_factory: WriterFactory = software,
        health: Health | None = None,
        ring_factory: PacketEncoderFactory = ring_encoder,
        setup: Setup | None = None,
    ) -> None:
        self.health = health or Health()
        self.ring_factory = ring_factory
        self.ring_memory = RingMemory()
        self.closed: EncodeError | None = None
        self.budget = Budget(memory_limit, spool_limit, stream_memory)
        self.spool_dir = spool_dir
        self.on_event = on_event
        self.writer_factory = writer_factory
        self.encode_seconds = Histogram(ENCODE_BOUNDS)
        self.wait_seconds = Histogram(WAIT_BOUNDS)
        self._lock = threading.Lock()
        self._resting: dict[int, threading.Condition] = {}  # idle workers, by number
        self._spillable = threading.Condition(self._lock)
        self._idle = threading.Condition(self._lock)
        self._jobs: set[ClipJob] = set()
        self._scheduler: Scheduler[ClipJob] = Scheduler()
        self._order = StreamOrder()
        self._idle_workers: set[int] = set()  # those that had nothing to do for `IDLE_SECONDS`
        self._timed: set[int] = set()  # resting workers that look at the clock, for a clip that came too early
        self._watched = False  # whether an idle worker waits for `Scheduler.patience`
        self._spills: deque[ClipJob] = deque()
        self._blocked: set[ClipJob] = set()
        self._saturated: set[ClipJob] = set()
        self.pace = PaceKeeper(self.budget, pressed=setup is None)
        self._trimmer = MallocTrimmer()
        self._abandon = self._stop = False
        self._refused: EncodeError | None = None
        self._alive = set(range(workers))
        self._spooling = True
        self.apart = setup is not None
        self._workers = [Worker(setup, self.health) for _ in range(workers)] if setup else []
        self._threads = [
            GuardedThread(ENCODER, partial(self._work, number), self.health, name=f"offcam-encode-{number}")
            for number in range(workers)
        ]
        self._threads.append(GuardedThread(SPOOL, self._spool, self.health, name="offcam-spool"))
        self.budget.sparing = self.gives_way
        for thread in self._threads:
            thread.start()

    def open(self, spec: ClipSpec, stream: StreamMemory | None = None, *, held: bool = False) -> ClipJob:
        """Begin a clip. No file is touched before its first frame.

        Args:
            spec: the video to be made.
            stream: what frames of its stream take of memory; by default it shares that with no other clip.
            held: only queue its frames until `start` is called.

        Raises:
            EncodeError: the pool is closed, or has no thread left.
        """
        with self._lock:
            if self.closed is not None:
                raise self.closed
            job = (RingJob if spec.ring_frames else ClipJob)(spec, self, stream)
            job.held = held
            if self._refused is not None:
                job.fail(self._refused)
            self._jobs.add(job)
            self._order.add(job)
        if spec.urgent:
            job.want()
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

    def self_test(self, folders: tuple[Path, ...]) -> tuple[str, str, float]:
        """Make and read a tiny video as those of clips are. Returns state, text and seconds; see `self_test`.

        Raises:
            WorkerLost: the process did not survive that.
        """
        if self._workers:
            with suppress(OSError):  # no process can be started, so clips are made here
                answer = self._workers[0].ask(SelfTest(folders))
                assert answer.test is not None  # noqa: S101 - what the process answers
                return answer.test
        from offcamd.encode.self_test import self_test  # noqa: PLC0415 - loads the video libraries

        return dataclasses.astuple(self_test(self.writer_factory, folders))

    @property
    def pids(self) -> list[int]:
        """The processes that encode, which are running."""
        return [pid for worker in self._workers if (pid := worker.pid) is not None]

    @property
    def gives_way(self) -> bool:
        """Whether encoding gives way to other programs."""
        return self.apart and not self.pace.urgent

    def want(self, job: ClipJob) -> None:
        """Have encoding not give way any more until a clip is final, as somebody waits for that."""
        with self._lock:
            if job in self._jobs:
                self.pace.wanted.add(job)
        self._keep_pace()

    @contextmanager
    def hurried(self) -> Iterator[None]:
        """While it lasts encoding does not give way, as somebody watches what is recorded."""
        watcher = object()
        self.pace.wanted.add(watcher)
        self._keep_pace()
        try:
            yield
        finally:
            self.pace.wanted.discard(watcher)
            self._keep_pace()

    def _keep_pace(self) -> None:
        """Have the processes give way to other programs, or not."""
        if self._workers:
            with self._lock:
                rises = self.pace.look(saturated=bool(self._saturated), closing=self.closed is not None)
                self.budget.sparing = not self.pace.urgent
                if rises:
                    self._scheduler.hasten_all()
                    self._begin_next(*self._order)
                    self._call_worker()
            for worker in self._workers:
                worker.pace(urgent=self.pace.urgent)

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
        self.closed = self.closed or EncodeError("the recorder is shutting down and starts no video", "shutdown")
        self._keep_pace()
        with self._lock:
            for job in list(self._jobs):
                job.aborted, job.ended = job.aborted or not job.ended, True
                job.hurry()
                self._schedule(job)
            complete = self._idle.wait_for(lambda: not self._jobs, timeout)
            if not complete:
                self._abandon = True
                for job in self._jobs:
                    self._schedule(job)
                if not self._idle.wait_for(lambda: not self._jobs, STOP_SECONDS) and self._workers:
                    for each in self._workers:  # hung in a library or in the disk
                        each.kill()
                    self._idle.wait_for(lambda: not self._jobs, STOP_SECONDS)
            self._stop = True
            for resting in self._resting.values():
                resting.notify()
            self._spillable.notify_all()
        deadline = time.monotonic() + STOP_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        for worker in self._workers:
            worker.rest()
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
        new = not job.scheduled and job.runnable and job in self._jobs and self._may_begin(job)
        # To ask a process takes CPU, for a turn of one frame as much as for a full one.
        full = job.ended or job.failed or job.queue.has(TURN_FRAMES, TURN_BYTES)
        worthwhile = full or self.pace.urgent or not job.apart
        if new:
            job.scheduled = True
            if job.apart and job.worker is None:
                job.worker = self._least_loaded()
            if worthwhile:
                self._scheduler.add(job, light=job.light, worker=job.worker)
            else:
                self._scheduler.add_early(job, time.monotonic(), job.worker)
        elif job.scheduled and worthwhile:
            new = self._scheduler.hasten(job, job.worker)
        if self._spooling and job.queue.overflowing and job not in self._blocked:
            self._line_up_spill(job)
        return new

    def _may_begin(self, job: ClipJob) -> bool:
        """Whether a clip may have a process, or has one. Under the lock."""
        begun = not job.apart or job.assigned or job.worker is not None
        return begun or self._order.may_begin(job, len(self.pids), urgent=self.pace.urgent)

    def _begin_next(self, *streams: StreamMemory) -> None:
        """Schedule the clips of streams that may begin now. Under the lock."""
        for stream in streams:
            for job in takewhile(self._may_begin, self._order.waiting(stream)):
                self._schedule(job)

    def _least_loaded(self) -> int | None:
        """The worker with the fewest clips, if possible one whose process runs. Under the lock."""
        loads = Counter(job.worker for job in self._jobs)
        return min(self._alive, key=lambda each: (loads[each], self._cold(each)), default=None)

    def _line_up_spill(self, job: ClipJob) -> None:
        if not job.spilling and not job.failed:
            job.spilling = True
            self._spills.append(job)
            self._spillable.notify()

    def _call_worker(self) -> None:
        """Wake a worker if there is something for it to do. Under the lock."""
        now = time.monotonic()
        unwatched = not self._watched and self._scheduler.patience(now) is not None
        for number in sorted(self._resting, key=self._cold):
            untimed = number not in self._timed and self._scheduler.due(number) is not None
            if unwatched or untimed or self._scheduler.ready(now, number):
                self._resting.pop(number).notify()
                return

    def _cold(self, number: int) -> bool:
        """Whether a worker has a process that would have to be started."""
        return self.apart and self._workers[number].pid is None

    def _work(self, number: int) -> None:
        """Give clips their turns, until the pool stops."""
        own = threading.Condition(self._lock)
        job: ClipJob | None = None
        try:
            while True:
                with self._lock:
                    if job is not None:
                        self._turn_over(job)
                    job = self._next(number, own)
                    if job is None and self._stop:
                        return
                if job is None:
                    self._workers[number].rest()
                    continue
                with self._lock:
                    complete, abandon, new = job.complete, self._abandon, job.apart and not job.assigned
                    job.assigned = job.assigned or new
                with self.health.survive(ENCODER, str(job.spec.final), job.broke):
                    if new and not job.assign(self._workers[number]):
                        job.apart = False
                    if not complete:
                        job.turn(abandon=abandon)
                        with self._lock:
                            complete = job.complete
                    if complete:  # at once, as its encoder can make the next clip then
                        self._finish(job)
                if self.pace.pressed:
                    self._keep_pace()  # there may be room again
        except BaseException as error:
            self._lose_worker(number, job, error)
            raise

    def _lose_worker(self, number: int, job: ClipJob | None, error: BaseException) -> None:
        """End the clip of a worker that dies, and all clips if it is the last worker."""
        with self._lock:
            self._alive.discard(number)
            self._scheduler.give_up(number)  # its process goes on with the other clips, asked by other threads
            for each in self._jobs:
                each.worker = None if each.worker == number else each.worker
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

    def _next(self, number: int, own: threading.Condition) -> ClipJob | None:
        """Wait for the clip whose turn at a worker it is; None once the pool stops, or its process is to be ended.

        Under the lock.
        """
        while (job := self._scheduler.take(time.monotonic(), number)) is None:
            if self._stop or self._superfluous(number):
                return None
            patience = None if self._watched else self._scheduler.patience(time.monotonic())
            self._watched = self._watched or patience is not None
            self._resting[number] = own
            if not self._rest(number, own, patience) and patience is None:
                self._idle_workers.add(number)
            self._resting.pop(number, None)  # still there if it was not woken, but the wait timed out
            if patience is not None:
                self._watched = False
        self._idle_workers.discard(number)
        self._call_worker()
        return job

    def _rest(self, number: int, own: threading.Condition, patience: float | None) -> bool:
        """Wait until a worker may have something to do; False if it had nothing for `IDLE_SECONDS`. Under the lock."""
        due = self._scheduler.due(number)
        if due is None:
            return own.wait(IDLE_SECONDS if patience is None else patience)
        self._timed.add(number)
        own.wait(max(0.0, min(due - time.monotonic(), IDLE_SECONDS if patience is None else patience)))
        self._timed.discard(number)
        return True

    def _superfluous(self, number: int) -> bool:
        """Whether a worker's process has had nothing to do for long, and is not the only one. Under the lock."""
        if number not in self._idle_workers or not self.apart or any(job.worker == number for job in self._jobs):
            return False
        return sum([not self._cold(each) for each in range(len(self._workers))]) > 1 and not self._cold(number)

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
            for jobs in (self._blocked, self._saturated, self.pace.wanted, self._jobs):
                jobs.discard(job)
            self._order.remove(job)
            self._begin_next(job.stream)
            self._idle.notify_all()
        self._keep_pace()

    def _spool(self) -> None:
        """Move frames of overflowing clips to disk, a few of each clip at a time, until the pool stops."""
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
                self._keep_pace()
        except BaseException:
            with self._lock:  # frames wait in memory from now on
                self._spooling = False
                for each in self._jobs:
                    each.spilling = False
                    self._schedule(each)
            raise

    def _spill(self, job: ClipJob) -> bool:
        """Move a few frames of a clip; returns whether the disk has no room for one."""
        full = job.spill() is Spilled.NO_ROOM
        # It ends only when no frame waits for the disk, or the client might be told of a change with every frame.
        if full != job.saturated and (full or not job.queue.overflowing):
            job.saturated = full
            with self._lock:
                (self._saturated.add if full else self._saturated.discard)(job)
            self.on_event(Saturated(job, full))
        return full
