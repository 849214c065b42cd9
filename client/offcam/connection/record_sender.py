"""Sending the records that are held back."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from offcam.connection import timeouts

if TYPE_CHECKING:
    from offcam.connection.exchange import Exchange


class RecordSender:
    """Sends the records that streams hold back, together and a moment later, from a thread of its own.

    To send a record takes many times as long as to write it into its journal, where it is safe: so the agent's thread
    only writes.
    """

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._due = False  # whether something is held back
        self._held = 0  # how many of these are records of single envs
        self._wake = threading.Event()  # ends the thread's wait: see `soon` and `close`
        self._thread: threading.Thread | None = None
        self._closed = False

    def begin(self) -> None:
        """Start the thread now: that takes as long as many steps, too long for the step of the first record."""
        with self._exchange.lock:
            if self._closed or (self._thread is not None and self._thread.is_alive()):
                return
            self._wake = threading.Event()
            self._thread = threading.Thread(target=self._run, args=(self._wake,), name="offcam-records", daemon=True)
            try:
                self._thread.start()
            except RuntimeError:  # no thread can be started, or the interpreter is ending
                self._thread = None

    def soon(self, singles: int) -> None:
        """Have the records sent that are held back, within `timeouts.RECORDS_SECONDS`. The lock must be held.

        Args:
            singles: how many records of single envs were added; at `timeouts.HELD_RECORDS` of them all is sent at once.
        """
        self._held += singles
        if not self._due:
            self._due = True
            self.begin()
            if self._thread is None and not self._closed:
                self._send()
            self._wake.set()
        elif self._held - singles < timeouts.HELD_RECORDS <= self._held:
            self._wake.set()

    def rest(self) -> None:
        """End the thread where no stream is left; the next stream starts another. Else as `close`."""
        with self._exchange.lock:
            if self._exchange.session.streams:
                return
        self._end()

    def close(self) -> None:
        """Wait until nothing is being sent, and send nothing more. The caller must not hold the connection's lock.

        A thread that still runs when the interpreter ends is stopped anywhere. If it holds the lock then, finalisers
        wait for that for ever.
        """
        self._closed = True
        self._end()

    def _end(self) -> None:
        with self._exchange.lock:
            thread, self._thread = self._thread, None
            self._due, self._held = False, 0
            self._wake.set()
        if thread is not None:
            thread.join()

    def _run(self, wake: threading.Event) -> None:
        this = threading.current_thread()
        while self._thread is this:
            wake.wait()
            wake.clear()
            if self._thread is this and self._held < timeouts.HELD_RECORDS:
                wake.wait(timeouts.RECORDS_SECONDS)
            with self._exchange.lock:  # the handler of a signal that interrupts `soon` waits for the lock, too
                wake.clear()
                if self._thread is this:
                    self._send()

    def _send(self) -> None:
        self._due, self._held = False, 0
        self._exchange.session.send_held()
        self._exchange.send_due()
