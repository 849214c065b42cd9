"""The store: one thread that writes the indexes of all run folders, in batches, and their totals.

The service hands it tasks and gets events back; a record is acked only when its event has come.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import defaultdict
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from offcam_proto.errors import DaemonAlreadyRunning, DaemonError, OffcamError, RunFolderError
from offcam_proto.limits import MIB
from offcam_runs.database import IndexLocked
from offcam_runs.folder_lock import FolderLock, await_helpers
from offcam_runs.journal_reader import journals
from offcamd.process.health import STORE, GuardedThread, Health
from offcamd.process.log_throttle import Throttle
from offcamd.process.logs import Logger
from offcamd.store import tasks
from offcamd.store.apply import apply, apply_alone, unexpected
from offcamd.store.index import RunIndex
from offcamd.store.index_file import IndexGone
from offcamd.store.journals import take_in
from offcamd.store.left_frames import arenas_of, record_left
from offcamd.store.recovery import recover
from offcamd.store.run_state import RunState
from offcamd.store.step_files import STEPS_LIMIT

if TYPE_CHECKING:
    from collections.abc import Callable


log = Logger(__name__)

BATCH_TASKS = 4096
"""Most tasks between two commits."""

MOST_WAITING_BYTES = 1 << 18
"""With more bytes of waiting tasks than this the store is behind, and the service reads no more messages. It takes the
store a moment to work them off, so that acks stay prompt."""

COUNT_EPISODES = 5000
"""How many episodes are counted between two batches of tasks, for a run whose index does not keep its totals yet."""

MOST_ENDED_RUNS = 200
"""Most runs without a live stream whose statistics are kept in memory; everything stays in their folders."""

MOST_STUCK_BYTES = 32 * MIB
"""Most bytes of tasks that are kept in memory for indexes that cannot be written, of all runs together. Beyond that the
clients keep their records, and send them once the index can be written."""

RETRY_SECONDS = 1.0
"""Seconds between two tries to write an index that cannot be written."""

TAKE_IN_SECONDS = 0.5
"""How long a folder that is opened may take in what dead clients left, before its first stream is opened; the rest is
taken in between two batches of tasks."""

FLUSH_SECONDS = 10.0
"""How long, in seconds, a stopping daemon goes on trying to write an index that cannot be written."""


class StoreDead(DaemonError):
    """The store's thread has ended: nothing is stored any more. No folder is at fault."""


class Store:
    """Owns the indexes. `put`, `runs` and `live_streams` may be called on any thread; all else happens on its own.

    Args:
        on_event: called on the store's thread with each event, in the order of the tasks of one run.
        owner: the daemon's endpoint, for whoever finds a folder locked.
        health: is told of unexpected errors.
        steps_limit: most bytes of a run's steps on the disk, unless a stream sets another bound.
    """

    def __init__(
        self,
        on_event: Callable[[tasks.Event], None],
        owner: str,
        health: Health | None = None,
        steps_limit: int = STEPS_LIMIT,
    ) -> None:
        self._on_event = on_event
        self._owner = owner
        self._health = health or Health()
        self._steps_limit = steps_limit
        self._dead: StoreDead | None = None
        self._tasks: queue.SimpleQueue[tasks.Task | None] = queue.SimpleQueue()
        self._runs: dict[str, RunState] = {}
        self._lock = threading.Lock()  # guards _runs and the totals against `runs`
        self._full: frozenset[str] = frozenset()
        self._unusable = Throttle()
        self._waiting = 0
        self._waiting_lock = threading.Lock()
        self._thread = GuardedThread(STORE, self._work, self._health, name="offcam-store")
        self._thread.start()

    def put(self, task: tasks.Task) -> None:
        """Hand over a task. If the store is dead, the task's failure is reported at once."""
        with self._waiting_lock:
            dead = self._dead
            if dead is None:
                self._waiting += tasks.cost(task)
                self._tasks.put(task)
        if dead is not None:
            self._refuse(task, dead)

    @property
    def behind(self) -> bool:
        """Whether so much waits that the caller should read no more of clients' messages for now."""
        return self._waiting > MOST_WAITING_BYTES

    def takes(self, folder: str) -> bool:
        """Whether a run's index takes tasks; not if it cannot be written and too much waits for it already."""
        return folder not in self._full

    def runs(self) -> list[dict[str, Any]]:
        """Statistics of every run that this daemon has written, of its newest session as all readers show it.

        JSON-ready. Streams are those of that session, and others that are open. For a run whose index does not keep
        totals yet, as an earlier version wrote it, they are of the episodes counted so far: some hundred thousand
        are counted in a second.
        """
        with self._lock:
            return [
                {
                    "folder": folder,
                    "live_streams": len(run.live),
                    "problem": run.problem,
                    "session": run.totals.session or None,
                    **run.totals.as_dict(),
                    "streams": {
                        stream: totals.as_dict()
                        for stream, totals in run.totals.streams.items()
                        if run.totals.shows(stream) or bytes.fromhex(stream) in run.live
                    },
                }
                for folder, run in self._runs.items()
            ]

    def live_streams(self) -> dict[str, int]:
        """How many streams are live in each run folder that this daemon has written; cheap."""
        with self._lock:
            return {folder: len(run.live) for folder, run in self._runs.items()}

    def close(self) -> None:
        """Commit everything that was handed over, and stop."""
        self._tasks.put(None)
        self._thread.join()

    @property
    def unfinished(self) -> list[str]:
        """The run folders whose indexes lack something that was handed over. Call it once this is closed, or dead."""
        return sorted(folder for folder, run in list(self._runs.items()) if run.stuck or (self._dead and run.index))

    # --- the store's thread -------------------------------------------------------------------------------

    def _work(self) -> None:
        batch: list[tasks.Task] = []
        try:
            stopping = False
            while not stopping:
                batch, stopping = self._next_batch()
                with self._waiting_lock:
                    self._waiting -= sum(map(tasks.cost, batch))
                self._perform(batch)
                self._go_on()
            self._leave()
        except BaseException as error:
            self._die(batch, error)
            raise

    def _die(self, batch: list[tasks.Task], error: BaseException) -> None:
        """Nothing is stored any more: fail all waiting tasks. Locks are kept, as videos are still being written."""
        dead = StoreDead(
            f"the daemon's store is dead ({error!r}), and nothing is stored any more: restart the daemon with `offcam "
            "stop` and `offcam start`"
        )
        with self._waiting_lock:
            self._dead, self._waiting = dead, 0
        with suppress(queue.Empty):
            while True:
                if (task := self._tasks.get_nowait()) is not None:
                    batch.append(task)
        for task in batch:
            self._refuse(task, dead)

    def _refuse(self, task: tasks.Task, error: OffcamError) -> None:
        if (event := tasks.failed(task, error)) is not None:
            self._on_event(event)

    def _leave(self) -> None:
        """Try for a while to write stuck tasks, then close the indexes."""
        deadline = time.monotonic() + FLUSH_SECONDS
        while any(run.stuck for run in self._runs.values()) and time.monotonic() < deadline:
            time.sleep(RETRY_SECONDS / 10)
            self._perform([], retry=True)
        for folder, run in self._runs.items():
            if run.stuck:
                log.error("records could not be stored", folder=folder, tasks=len(run.stuck), problem=run.problem)
            self._close_index(run)

    def _next_batch(self) -> tuple[list[tasks.Task], bool]:
        runs = self._runs.values()
        timeout = 0 if any(run.busy for run in runs) else RETRY_SECONDS if any(run.stuck for run in runs) else None
        try:
            task = self._tasks.get(timeout=timeout)
        except queue.Empty:
            return [], False
        batch: list[tasks.Task] = []
        while task is not None:
            batch.append(task)
            if len(batch) == BATCH_TASKS or self._tasks.empty():
                return batch, False
            task = self._tasks.get()
        return batch, True

    def _perform(self, batch: list[tasks.Task], *, retry: bool = False) -> None:
        """Do tasks; with ``retry``, or from time to time, also those that are stuck."""
        by_run: dict[str, list[tasks.Task]] = defaultdict(list)
        barriers = [task for task in batch if isinstance(task, tasks.BarrierTask)]
        for task in batch:
            if not isinstance(task, tasks.BarrierTask):
                by_run[task.folder].append(task)
        for folder, run in list(self._runs.items()):
            if run.stuck and (retry or time.monotonic() >= run.retry_at):
                self._perform_run(folder, by_run.pop(folder, []))
        for folder, new in by_run.items():
            known = self._runs.get(folder)
            if known is not None and known.stuck:
                self._hold(known, new)
            else:
                self._perform_run(folder, new)
        gone = self._look_for_indexes() if barriers else frozenset()
        stuck = frozenset(folder for folder, run in self._runs.items() if barriers and run.stuck)
        for barrier in barriers:
            self._on_event(tasks.Passed(barrier.reply, gone, stuck))

    def _perform_run(self, folder: str, new: list[tasks.Task]) -> None:
        """Do all tasks of a run in one transaction; if that fails they stay, in order, for the next try."""
        run = self._runs.get(folder) or RunState()
        batch = run.stuck + new
        if run.index is None and all(isinstance(task, tasks.CloseStreamTask) for task in batch):
            return  # tasks of streams that could not be opened
        index = run.index or self._open(folder, run, new)
        if index is None:
            return
        try:
            try:
                events = self._commit(folder, index, batch)
            except IndexGone as error:
                events = self._commit(folder, self._make_anew(folder, run, index, error), batch)
        except (RunFolderError, DaemonAlreadyRunning, OSError) as error:
            self._stuck(folder, run, new, str(error))
            return
        if run.problem is not None:
            log.info("the index can be written again", folder=folder)
            run.problem, run.stuck, run.stuck_bytes = None, [], 0
            self._see_what_is_full()
        self._after_commit(run, batch, events)

    def _commit(self, folder: str, index: RunIndex, batch: list[tasks.Task]) -> list[tasks.Event]:
        try:
            with index.transaction():
                return [event for task in batch if (event := apply(index, task))]
        except RunFolderError:
            raise
        except BaseException:  # whatever made one task fail must not keep the others from going on
            log.warning("a task of a run failed, each is tried alone", folder=folder, exc_info=True)
            with index.transaction():
                return [event for task in batch if (event := apply_alone(index, task, self._health))]

    def _make_anew(self, folder: str, run: RunState, index: RunIndex, problem: IndexGone) -> RunIndex:
        """Make a run's index anew in its folder, with everything that the old one has of the streams that are open.

        So everything acked is in the folder again. If that fails, the waiting tasks are stuck, and their records not
        acked.
        """
        if run.problem is None:
            log.error("the index is made anew", folder=folder, problem=str(problem))
        if run.lock is None or not run.lock.in_place:
            lock, old = FolderLock.acquire(Path(folder), self._owner), run.lock
            run.lock = lock
            if old is not None:
                old.release()
        if index.came_back():
            return index
        index.leave()
        heir = RunIndex.open(Path(folder), self._steps_limit)
        try:
            heir.take_over(index, run.live)
        except BaseException:
            heir.close()
            raise
        for generator in (run.taking_in, run.left):
            if generator is not None:
                generator.close()
        index.close()
        run.index, run.taking_in, run.journals = heir, None, journals(Path(folder))
        run.left, run.arenas = None, arenas_of(folder)
        with self._lock:
            run.totals = heir.totals
        self._count_episodes(run)
        return heir

    def _look_for_indexes(self) -> frozenset[str]:
        """Make indexes anew that are not in their folders any more; returns the folders where that fails."""
        for folder, run in list(self._runs.items()):
            if run.index is not None and not run.stuck and not run.index.in_place:
                self._perform_run(folder, [])
        return frozenset(folder for folder, run in self._runs.items() if run.index and not run.index.in_place)

    def _stuck(self, folder: str, run: RunState, batch: list[tasks.Task], problem: str) -> None:
        if run.problem != problem:
            log.error("the index cannot be written, trying again", folder=folder, problem=problem)
        run.problem = problem
        run.retry_at = time.monotonic() + RETRY_SECONDS
        self._hold(run, batch)

    def _hold(self, run: RunState, batch: list[tasks.Task]) -> None:
        """Keep tasks until the run's index can be written; videos, and who waits for them, need not wait for that."""
        run.stuck += batch
        run.stuck_bytes += sum(map(tasks.cost, batch))
        self._see_what_is_full()
        for task in batch:  # answered now, as recording a video need not wait for the index
            if isinstance(task, tasks.ClipOpenedTask):
                self._on_event(tasks.ClipNoted(task.reply))
            elif isinstance(task, tasks.ClipEncodedTask):
                self._on_event(tasks.ClipStored(task.reply))

    def _see_what_is_full(self) -> None:
        held = {folder: run.stuck_bytes for folder, run in self._runs.items() if run.stuck}
        self._full = frozenset(held if sum(held.values()) > MOST_STUCK_BYTES else ())

    def _after_commit(self, run: RunState, batch: list[tasks.Task], events: list[tasks.Event]) -> None:
        new = [event.applied.episodes for event in events if isinstance(event, tasks.Committed) and event.applied]
        if any(new) or any(isinstance(task, tasks.OpenStreamTask) for task in batch):
            self._count_episodes(run, sum(new))
        with self._lock:
            for task in batch:
                if isinstance(task, tasks.OpenStreamTask):
                    run.live.add(task.message.stream)
                elif isinstance(task, tasks.CloseStreamTask):
                    run.live.discard(task.stream)
                    name = task.stream.hex()  # its client may have died with unsent records in it
                    run.journals += [path for path in journals(task.folder) if path.stem == name]
            self._forget_old_runs()
        self._tell_what_is_kept(run)  # before records are acked, so that what a flush waits for has its name
        if not run.live and not run.busy:
            self._close_index(run)
        for event in events:
            self._on_event(event)

    def _tell_what_is_kept(self, run: RunState) -> None:
        if run.index is not None:
            kept, run.index.keeping.kept = run.index.keeping.kept, []
            for each in kept:
                self._on_event(each)

    def _count_episodes(self, run: RunState, episodes: int = 0) -> None:
        """Count so many episodes into a run's totals, and some more if its index has uncounted ones."""
        run.uncounted = False
        with self._health.survive(STORE, "a run's totals"), self._lock:
            assert run.index is not None  # noqa: S101 - it is open while a run has uncounted episodes
            run.uncounted = run.index.advance_totals(episodes + COUNT_EPISODES)

    def _go_on(self) -> None:
        """Do a piece of background work: uncounted episodes, and journals that are to be taken in."""
        for run in self._runs.values():
            if run.busy:
                if run.uncounted:
                    self._count_episodes(run)
                self._take_in(run)
                self._record_left(run)
                if not run.live and not run.busy and not run.stuck:
                    self._close_index(run)

    def _take_in(self, run: RunState, seconds: float = 0.0) -> None:
        """Take in a piece of the waiting journals, or as many pieces as fit into ``seconds``."""
        deadline = time.monotonic() + seconds
        while run.journals or run.taking_in is not None:
            assert run.index is not None  # noqa: S101 - it is open while a run is busy
            if run.taking_in is None:
                run.taking_in, run.journals = take_in(run.index, run.journals), []
            taken = None
            with self._health.survive(STORE, "a run's journals"):
                try:
                    taken = next(run.taking_in, None)
                except RunFolderError as error:  # the journals stay where they are, for whoever opens the folder next
                    log.error("records in clients' journals wait, as the index cannot be written", problem=str(error))  # noqa: TRY400 - the reason says it all
            if taken is None:
                run.taking_in = None
                continue
            if taken.missing:
                log.error(
                    "records are lost with an index that was removed",
                    folder=str(run.index.folder),
                    records=taken.missing,
                )
            if taken.episodes:
                self._count_episodes(run, taken.episodes)
                self._on_event(tasks.Recovered([], taken.episodes))
            if time.monotonic() >= deadline:
                return

    def _record_left(self, run: RunState) -> None:
        """Record some frames that a dead client and its dead daemon left, once the records that count them are in.

        Frames in the arena of a stream that is open here belong to that stream, whether or not its client lives.
        """
        if run.journals or run.taking_in is not None:
            return
        if run.left is None:
            arena = next((arena for arena in run.arenas if arena.stream not in run.live), None)
            if arena is None:
                return
            run.arenas.remove(arena)
            assert run.index is not None  # noqa: S101 - it is open while a run is busy
            run.left = record_left(run.index, [arena])
        clips = None
        with self._health.survive(STORE, "frames that were left"):
            try:
                clips = next(run.left, None)
            except RunFolderError as error:  # the frames stay where they are, for whoever opens the folder next
                log.error("frames that clients left wait, as the index cannot be written", problem=str(error))  # noqa: TRY400 - as above
        if clips is None:
            run.left = None
        elif clips:
            self._on_event(tasks.Recovered(clips))

    def _forget_old_runs(self) -> None:
        """Keep only the latest runs' statistics: those of a year of experiments would fill the memory."""
        ended = [folder for folder, run in self._runs.items() if not run.live and not run.stuck]
        for folder in ended[: max(0, len(ended) - MOST_ENDED_RUNS)]:
            self._close_index(self._runs.pop(folder))

    def _open(self, folder: str, run: RunState, new: list[tasks.Task]) -> RunIndex | None:
        """Become a run's writer: finish what a dead daemon left, and read the totals. None if that fails."""
        try:
            run.lock = FolderLock.acquire(Path(folder), self._owner)
            await_helpers(Path(folder))
            index = run.index = RunIndex.open(Path(folder), self._steps_limit)
            clips = recover(index)
            with self._lock:
                run.totals = index.totals
            self._count_episodes(run)
            run.journals = journals(folder)
            self._take_in(run, TAKE_IN_SECONDS)
            run.arenas = arenas_of(folder)
        except IndexLocked as error:  # a process reads it, which may take long
            self._close_index(run)
            with self._lock:
                self._runs[folder] = run
            self._stuck(folder, run, new, str(error))
            return None
        except BaseException as error:  # noqa: BLE001 - a folder that cannot be used must not keep others from it
            self._close_index(run)
            failure = error if isinstance(error, OffcamError) else unexpected(error, folder)
            if failure is not error:
                self._health.unexpected(STORE, folder, error)
            elif self._unusable.admit(folder):  # logged once, as clients ask again and again
                log.error("a run folder cannot be used", folder=folder, problem=str(error))  # noqa: TRY400
            batch, run.problem, run.stuck, run.stuck_bytes = run.stuck + new, None, [], 0
            for task in batch:
                self._refuse(task, failure)
            return None
        with self._lock:
            self._runs[folder] = run
        if clips:
            self._on_event(tasks.Recovered(clips))
        return index

    def _close_index(self, run: RunState) -> None:
        """Close a run's index and release the folder's lock; work that was not done stays in the folder."""
        taking_in, run.taking_in, run.journals = run.taking_in, None, []
        left, run.left, run.arenas = run.left, None, []
        for generator in (taking_in, left):
            if generator is not None:
                generator.close()
        index, run.index, run.uncounted = run.index, None, False
        lock, run.lock = run.lock, None
        try:
            if index is not None:
                index.close()
        except RunFolderError as error:
            log.warning("an index was not closed cleanly", problem=str(error))
        finally:
            if lock is not None:
                lock.release()
