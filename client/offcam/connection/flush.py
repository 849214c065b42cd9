"""Waiting until all that was recorded is final."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from offcam.connection import timeouts
from offcam.connection.progress import Progress
from offcam_proto.client_session import State

if TYPE_CHECKING:
    from offcam.connection.exchange import Exchange
    from offcam_proto.messages import Flushed


class PendingFlush:
    """One wait until everything that ended is final: files renamed into place, records committed.

    It gives up on a daemon that was silent for `timeouts.SILENCE_SECONDS`; on one that ``OFFCAM_ADDR`` names and that
    has been gone for `timeouts.GONE_SECONDS`; on an embedded one that could not be started, or not within
    `timeouts.COMING_SECONDS`; and in any case after ``seconds``.

    Args:
        exchange: with the daemon.
        seconds: longest time to wait; None for no limit but the others.
        gave_up: when an earlier flush gave up on a silent daemon, by `time.monotonic`, else 0; an attribute, too.
            Unless the daemon said something since, this flush gives up after `timeouts.ANSWER_SECONDS`: many envs are
            closed in a row.
    """

    def __init__(self, exchange: Exchange, *, seconds: float | None, gave_up: float) -> None:
        self.gave_up = gave_up
        self._exchange = exchange
        self._seconds = seconds
        self._begun = self._progressed = time.monotonic()
        self._token = 0  # of the Flush that is not answered yet, 0 where there is none
        self._asked = 0.0
        self._another_daemon = True  # another one than the daemon that was asked last
        self._unacked = exchange.unacked
        self._last: Flushed | None = None

    def wait(self, *, quiet: bool) -> bool:
        """Wait. Progress is shown on stderr if it takes longer than a blink; unless quiet, at once, and on any stderr.

        Progress is shown on stderr: if ``quiet``, only on a terminal and when the wait is long; else at once.
        """
        exchange = self._exchange
        with Progress("offcam: finishing videos", always=not quiet) as progress:
            while True:
                with exchange.lock:
                    exchange.pump()
                    for owner in set(exchange.owners.values()):
                        owner.videos.take_over()
                    self._ask()
                if self._take_answer():
                    return True
                last = self._last
                progress.show(f"{last.clips} left, {last.frames} frames" if last else "asking the daemon")
                late = self._is_late()
                with exchange.lock:
                    over = exchange.session.state in (State.REFUSED, State.CLOSED)
                    if late or over or exchange.reconnect.gone_for_good():
                        self.gave_up = time.monotonic() if late else 0.0
                        self._forget_question()
                        exchange.pump()  # pump warns why none could be started
                        return False
                exchange.wait(lambda: exchange.answers.get(self._token) is not None, 0.1)

    def _ask(self) -> None:
        """Ask the daemon to report, where that is due: a new daemon has to be asked again."""
        exchange = self._exchange
        if exchange.session.state is not State.OPEN:
            self._forget_question()
            self._another_daemon = True
            if exchange.reconnect.starter.running:  # a daemon that is still starting is not silent
                self._progressed = time.monotonic()
        elif exchange.waiting or any(owner.videos.untold for owner in set(exchange.owners.values())):
            # the daemon would answer the Flush before it knows of these frames
            self._progressed = max(self._progressed, exchange.last_heard)
        elif not self._token:
            self._token, self._asked = exchange.session.flush(urgent=True), time.monotonic()
            exchange.answers[self._token] = None
            if self._another_daemon:
                self._progressed = self._asked
            self._another_daemon = False
            exchange.pump()

    def _take_answer(self) -> bool:
        """Take in the daemon's answer, if there is one; returns whether everything is final."""
        exchange, now = self._exchange, time.monotonic()
        with exchange.lock:  # so that no other thread puts a newer answer there in between
            answer = exchange.answers.get(self._token)
            if answer is not None:
                exchange.answers[self._token] = None
        if answer is None:
            if now - self._asked > timeouts.ANSWER_SECONDS:
                self._forget_question()
            return False
        self._asked, self._last = now, answer
        before, self._unacked = self._unacked, exchange.unacked
        if answer.clips == self._unacked == 0:
            self._forget_question()
            return True
        if answer.clips or self._unacked != before:  # else the daemon answers but cannot store the records
            self._progressed = now
        if answer.clips == 0:
            self._forget_question()
            exchange.wait(lambda: exchange.unacked == 0, 0.1)
        return False

    def _forget_question(self) -> None:
        """Stop waiting for the answer to the last question."""
        self._exchange.answers.pop(self._token, None)
        self._token = 0

    def _is_late(self) -> bool:
        now, exchange = time.monotonic(), self._exchange
        if self._seconds is not None and now - self._begun > self._seconds:
            return True
        if exchange.reconnect.starter.running:
            return now - self._begun > timeouts.COMING_SECONDS
        most = timeouts.ANSWER_SECONDS if self.gave_up > exchange.last_heard else timeouts.SILENCE_SECONDS
        return now - self._progressed > min(most, timeouts.SILENCE_SECONDS)
