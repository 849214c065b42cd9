"""Sending the records that are held back."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from offcam.connection import timeouts

if TYPE_CHECKING:
    from offcam.connection.exchange import Exchange


class RecordSender:
    """Sends the records that streams hold back, a moment later and all in one go, by a thread.

    To send one takes many times as long as to write it into its journal, where nothing can happen to it: so the agent's
    thread does the latter alone where records come in quick succession.
    """

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._due = False
        self._thread: threading.Thread | None = None  # while there is something to send
        self._closed = False

    def soon(self) -> None:
        """Send what is held back within `timeouts.RECORDS_SECONDS`."""
        if self._due:
            return
        with self._exchange.lock:  # which a signal's handler waits for, that interrupts this
            if self._closed:
                return
            self._due = True
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="offcam-records", daemon=True)
                try:
                    self._thread.start()
                except RuntimeError:  # the system has no more threads for us, or the interpreter is ending
                    self._thread = None
                    self._send()

    def close(self) -> None:
        """Wait until nothing is being sent, and begin no more. The caller must not hold the connection's lock.

        A thread that is left when the interpreter ends stops in the midst of anything and keeps that lock, for which
        finalisers then wait for ever.
        """
        with self._exchange.lock:
            self._closed = True
            thread = self._thread
        if thread is not None:
            thread.join()

    def _run(self) -> None:
        """Send as long as more comes meanwhile."""
        while True:
            time.sleep(timeouts.RECORDS_SECONDS)
            with self._exchange.lock:
                if not self._due:
                    self._thread = None
                    return
                self._send()

    def _send(self) -> None:
        self._due = False
        self._exchange.session.send_held()
        self._exchange.send_due()
