"""The journal of a stream on a file system that may stall, as a network's: only a thread touches that.

A call to such a file system takes as long as its server is away. So the step that ended an episode waits only a moment
for the thread, and while that is behind no step waits. Records that are not in the file yet are in memory.
"""

from __future__ import annotations

import functools
import os
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import takewhile
from typing import TYPE_CHECKING

from offcam.recorder.journal import Journal
from offcam.recorder.tail import Tail
from offcam_proto.backlog import Backlog
from offcam_proto.limits import MAX_BYTES_IN_FLIGHT, MAX_UNACKED_RECORDS
from offcam_proto.records import count_all, count_records
from offcam_runs.filesystem import may_stall

if TYPE_CHECKING:
    from offcam_proto.messages import Hello, OpenStream

STALL_SECONDS = 0.05
"""Longest wait of a step until its records are in the file. One in vain counts for all steps of the process."""

PAUSE_SECONDS = 10.0
"""How long no step waits after a wait in vain; longer, if the thread has not caught up by then."""

TOLD_SECONDS = 1.0
"""A thread that has been behind for so long is warned of."""

LEAVE_SECONDS = 2.0
"""How long a stream's closing, or the process's end, waits until all is in the file."""

_READ_BYTES = 1024 * 1024


def journal_of(
    info: OpenStream, client: Hello, *, here: bool, said: Callable[[str, str], None]
) -> Journal | ThreadedJournal:
    """The journal of a stream, on a thread if the file system of its folder may stall; arguments as of `Journal`."""
    made = Journal(info, client, here=here, said=said)
    return ThreadedJournal(made, said) if may_stall(made.folder) else made


class ThreadedJournal(Backlog):
    """A journal for which a step waits at most `STALL_SECONDS`, and none for `PAUSE_SECONDS` after a wait in vain.

    Thread: any that holds the connection's lock; ``journal`` is used by the thread of this one only. A record is in
    memory until it is acked, so that it can be sent while the file cannot be read, but of records in the file no more
    than may be in flight at once.

    Args:
        journal: touches the file.
        said: called with a folder whose file system stalls, and for how long.
    """

    def __init__(self, journal: Journal, said: Callable[[str, str], None]) -> None:
        super().__init__()
        self._journal = journal
        self._said = said
        self._tail: Tail | None = None
        self._worker = _Worker()
        self._last = self._acked = 0  # numbers of records
        self._gone = 0  # by how much `renumber` lowered them
        self._taken = self._in_file = 0  # set on the thread, never lowered: last record of the journal, and of its file

    @property
    def in_memory(self) -> int:
        """How many records, the newest ones, are not in the file yet."""
        return count_all(body for seq, body in self._records if seq > self._in_file - self._gone)

    @property
    def nbytes(self) -> int:
        """Bytes of the records, about."""
        return max(super().nbytes, self._journal.nbytes)

    def begin(self) -> None:
        """Have the file made before there is a record."""
        self._hand_over(self._journal.begin)

    @property
    def has_tail(self) -> bool:
        """Whether there is a tail."""
        return self._tail is not None

    def tail(self) -> Tail:
        """As `Journal.tail`, but always in memory, as files on such a file system are not mapped."""
        if self._tail is None:
            self._tail = Tail(self._journal.tail_head(), None)
            self._tail.recorded(self._last)
        return self._tail

    def append(self, first_seq: int, bodies: Sequence[bytes]) -> int:
        """Keep the next records. They are in the file when this returns, unless that would take too long.

        Returns how many of the bodies are kept.
        """
        self._settle()
        kept = super().append(first_seq, bodies)
        if kept:
            self._wait(self._hand_over(functools.partial(self._write, first_seq, bodies[:kept], self._gone)))
            self._settle()
        self._last = first_seq + count_all(bodies[:kept]) - 1
        if self._tail is not None:
            self._tail.recorded(self._last)
        return kept

    def after(self, seq: int) -> Iterator[tuple[int, bytes]]:
        """As `Journal.after`; ends early, too, if the file system stalls."""
        seq = max(seq, self._acked)
        while seq < self._in_file - self._gone and not (self._records and self._records[0][0] <= seq + 1):
            found: list[tuple[int, bytes]] = []
            job = self._hand_over(functools.partial(self._read, seq, found))
            if not self._wait(job) or not found:
                return
            yield from found
            seq = found[-1][0] + count_records(found[-1][1]) - 1
        yield from super().after(seq)

    def acked(self, seq: int) -> None:
        """Forget the records up to ``seq``."""
        super().acked(seq)
        self._acked = seq
        self._hand_over(functools.partial(self._forget, seq, self._gone))

    def renumber(self, gone: int) -> None:
        """Lower the number of each record that is left by ``gone``."""
        super().renumber(gone)
        self._hand_over(functools.partial(self._journal.renumber, gone))
        self._gone += gone
        self._last -= gone
        self._acked -= gone
        if self._tail is not None:
            self._tail.recorded(self._last)

    def rest(self) -> None:
        """As `Journal.rest`."""
        if self._tail is not None and self._tail.empty:
            self._end_tail()
        if self._tail is None:
            self._wait(self._hand_over(self._journal.rest))

    def look(self) -> None:
        """As `Journal.look`, once all is in the file; waits for that."""
        _leaving.wait(self._hand_over(self._journal.look))
        self._settle()

    def leave(self) -> None:
        """As `Journal.leave`, once all is in the file; waits for that."""
        self._end_tail()
        _leaving.wait(self._hand_over(self._journal.leave))
        self._worker.end()

    def end(self) -> None:
        """As `Journal.end`."""
        self._end_tail()
        self._wait(self._hand_over(self._journal.end))
        self._worker.end()
        self.place = ""

    def _end_tail(self) -> None:
        if self._tail is not None:
            self._tail.release(remove=True)
            self._tail = None

    def _settle(self) -> None:
        """Take note of what the thread has done: if many records are in memory, forget those in the file."""
        self.place = self._journal.place
        if self._bytes > MAX_BYTES_IN_FLIGHT or len(self._records) > MAX_UNACKED_RECORDS // 2:
            super().acked(self._in_file - self._gone)

    def _hand_over(self, work: Callable[[], object]) -> _Job:
        return self._worker.do(work)

    def _wait(self, job: _Job) -> bool:
        """Wait a moment, in a step, until a job is done. Returns whether it is."""
        if (behind := _steps.behind) > TOLD_SECONDS:
            self._said(self.place, f"its file system has not answered for {behind:.1f} s")
        return _steps.wait(job)

    # --- on the thread ----------------------------------------------------------------------------------------

    def _write(self, first_seq: int, bodies: Sequence[bytes], gone: int) -> None:
        if self._taken == first_seq + gone - 1:  # else there was no room for records before
            kept = self._journal.append(first_seq, bodies)
            self._taken += count_all(bodies[:kept])
            self._in_file = self._taken - self._journal.in_memory

    def _forget(self, seq: int, gone: int) -> None:
        self._journal.acked(seq)
        self._taken = max(self._taken, seq + gone)
        self._in_file = max(self._in_file, seq + gone)

    def _read(self, seq: int, found: list[tuple[int, bytes]]) -> None:
        last, nbytes = self._in_file - self._gone, 0
        for each in takewhile(lambda each: each[0] <= last, self._journal.after(seq)):
            found.append(each)
            nbytes += len(each[1])
            if nbytes >= _READ_BYTES:
                return


class _Job:
    """A call that the thread is to make.

    Attributes:
        work: what is called.
        done: set once it has returned or raised.
    """

    __slots__ = ("done", "work")

    def __init__(self, work: Callable[[], object]) -> None:
        self.work = work
        self.done = threading.Event()

    def run(self) -> None:
        """Make the call."""
        try:
            self.work()
        finally:
            self.done.set()


class _Patience:
    """Limits how long this process waits for jobs that may stall: a wait in vain for one stream counts for all.

    Attributes:
        seconds: longest wait.
        pause: seconds after a wait in vain in which no job is waited for; longer, until the job waited for is done.
    """

    def __init__(self, seconds: float, pause: float) -> None:
        self.seconds = seconds
        self.pause = pause
        self._missed: _Job | None = None  # the job that was waited for in vain
        self._since = 0.0

    @property
    def behind(self) -> float:
        """For how many seconds the job that was waited for in vain has not been done."""
        missed = self._missed
        return 0.0 if missed is None or missed.done.is_set() else time.monotonic() - self._since

    def wait(self, job: _Job) -> bool:
        """Wait for a job, unless one was waited for in vain. Returns whether it is done."""
        now, missed = time.monotonic(), self._missed
        if missed is not None and missed.done.is_set() and now - self._since > self.pause:
            missed = self._missed = None
        if missed is None and not job.done.wait(self.seconds):
            self._missed, self._since = job, now
        return job.done.is_set()

    def forget(self) -> None:
        """Forget the job of the parent's thread, in a forked child."""
        self._missed = None


class _Worker:
    """Runs jobs one after the other, on a thread that lives from the first job until `end`."""

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def do(self, work: Callable[[], object]) -> _Job:
        """Have a call made, in turn."""
        job = _Job(work)
        if self._thread is None or not self._thread.is_alive():
            thread = threading.Thread(target=_work, args=(self._jobs,), name="offcam-journal", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # no thread can be started, or the interpreter is ending
                job.run()
                return job
            self._thread = thread
        self._jobs.put(job)
        return job

    def end(self) -> None:
        """End the thread once it has run its jobs."""
        if self._thread is not None:
            self._thread = None
            self._jobs.put(None)


def _work(jobs: queue.SimpleQueue[_Job | None]) -> None:
    while (job := jobs.get()) is not None:
        job.run()
        del job  # or its data would stay in memory until the next job comes


_steps = _Patience(STALL_SECONDS, PAUSE_SECONDS)
_leaving = _Patience(LEAVE_SECONDS, 0.0)

for _each in (_steps, _leaving):
    os.register_at_fork(after_in_child=_each.forget)
