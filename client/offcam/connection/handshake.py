"""What wrapping an env waits for: that a daemon is there, answers, and has opened the stream."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from offcam.connection import launch, run_question, timeouts
from offcam_proto.client_session import State
from offcam_proto.errors import DaemonUnavailable, FolderNotWritable, RemoteProtocolError, VersionMismatch

if TYPE_CHECKING:
    from offcam.connection.exchange import Exchange
    from offcam_proto.client_stream import ClientStream
    from offcam_proto.resuming import RunReply


class Handshake:
    """Waits for the daemon as long as a constructor may. Raises what went wrong; its callers may warn instead."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._gave_up = 0.0  # when a wait was in vain, by `time.monotonic`
        self._blocked_in_vain = 0.0  # when a frame last waited in vain, by the same clock
        self._second_chance = True

    def deadline(self, *, strict: bool = False) -> float:
        """Until when a constructor that starts now may wait, by `time.monotonic`: not at all for a silent daemon."""
        patient = timeouts.START_SECONDS if self._exchange.last_heard >= self._gave_up else 0.0
        return time.monotonic() + (timeouts.CERTAIN_SECONDS if strict else patient)

    def establish(self, deadline: float, *, strict: bool = False) -> None:
        """Find the daemon, or have one started, and shake hands; returns at once if that is done.

        Args:
            deadline: until when to wait, by `time.monotonic`.
            strict: whether to wait that long even for a daemon that ``OFFCAM_ADDR`` names and that is not there.

        Raises:
            DaemonNotInstalled, DaemonUnavailable: there is no daemon yet, or none could be started.
            KeyRefused: the daemon does not take this client's key, or is not the one that the key is for.
            VersionMismatch, RemoteProtocolError: the daemon refused this client.
        """
        exchange = self._exchange
        with exchange.lock:
            exchange.reconnect.doubt()
            if exchange.transport.dialled or exchange.transport.key is None:
                exchange.pump()
            exchange.reconnect.next_greeting = 0.0  # a daemon that does not answer is looked for at once
            if exchange.session.state is State.OPEN:
                return
        if exchange.transport.key is not None:
            self._connect_with_key(deadline, strict=strict)
        elif exchange.reconnect.named and not strict and not launch.listening(exchange.endpoint):
            raise self._no_answer()
        self._await(lambda: exchange.session.state in (State.OPEN, State.REFUSED), deadline)
        refused = exchange.session.refused
        if refused is not None:
            error = VersionMismatch if refused.code == VersionMismatch.reason else RemoteProtocolError
            raise error(f"the recorder daemon at {exchange.endpoint.url} refused this client: {refused.text}")

    def wait_opened(self, wire: ClientStream, deadline: float) -> None:
        """Wait for the daemon to open a stream.

        Raises:
            FolderNotWritable: the daemon cannot use the run folder.
            DaemonUnavailable: the daemon is about to leave; the folder is not at fault.
            DaemonNotInstalled, DaemonUnavailable: the daemon did not answer in time, or is gone.
        """
        self._await(lambda: wire.live or wire.refused is not None, deadline)
        if wire.refused is not None:
            error = DaemonUnavailable if wire.refused_code == "daemon" else FolderNotWritable
            raise error(wire.refused)

    def ask_run(self, folder: str, prefix: str, deadline: float) -> RunReply:
        """Ask how far a run came, of a daemon that has its folder on its own host. See `run_question.ask`.

        Raises:
            ConfigError: the daemon is of an earlier offcam.
            DaemonUnavailable: the daemon did not answer in time.
            RemoteProtocolError: the daemon broke the protocol, or refused this client.
        """
        try:
            return run_question.ask(self._exchange, folder, prefix, deadline)
        except DaemonUnavailable:
            self._gave_up = time.monotonic()
            raise

    def await_first_video(self, wire: ClientStream) -> None:
        """As the first video of a process begins, wait for a daemon that is starting or was just started. Never raises.

        On a crowded machine the start takes longer than a constructor waits, and a short script would be over by then.
        """
        first, self._second_chance = self._second_chance, False
        starting = self._exchange.reconnect.starter.running or launch.recent(self._exchange.endpoint)
        if first and not wire.live and starting:
            self._wait_while_hopeful(wire, timeouts.START_SECONDS)

    def await_stream(self, wire: ClientStream) -> bool:
        """Wait for the daemon to open a stream, as long as a frame waits for credit under ``overflow="block"``.

        Not where no daemon is to come, nor again after a wait in vain until a daemon says something. Never raises.
        Returns whether the stream is open.
        """
        if self._exchange.last_heard >= self._blocked_in_vain:
            self._wait_while_hopeful(wire, timeouts.BLOCK_SECONDS)
            self._blocked_in_vain = 0.0 if wire.live else time.monotonic()
        return wire.live

    def _wait_while_hopeful(self, wire: ClientStream, seconds: float) -> None:
        """Wait for a daemon to open a stream, unless none is to come, which is looked for now and then."""
        reconnect, looked = self._exchange.reconnect, 0.0

        def over() -> bool:
            nonlocal looked
            if wire.live or wire.refused is not None:
                return True
            now = time.monotonic()
            if now - looked < timeouts.RETRY_SECONDS:
                return False
            looked = now
            return reconnect.hopeless

        self._exchange.wait(over, seconds)

    def _connect_with_key(self, deadline: float, *, strict: bool) -> None:
        """Connect anew to a daemon of another host, as `Transport.connect_with_key`."""
        if time.monotonic() >= deadline:
            raise self._no_answer()
        exchange = self._exchange
        while True:
            try:
                with exchange.lock:
                    exchange.session.lost()
                    return exchange.transport.connect_with_key()
            except DaemonUnavailable:  # noqa: PERF203 - each try waits much longer than a `try` costs
                self._gave_up = time.monotonic()
                if not strict or time.monotonic() + timeouts.HANDSHAKE_SECONDS > deadline:
                    raise

    def _await(self, done: Callable[[], bool], deadline: float) -> None:
        """Wait for an answer; where no daemon runs, or one has just died, have one started."""
        exchange, reconnect, looked = self._exchange, self._exchange.reconnect, 0.0
        starter = reconnect.starter
        before = starter.failure

        def over() -> bool:
            nonlocal looked
            now = time.monotonic()
            if exchange.session.state is State.IDLE and now - looked > timeouts.RETRY_SECONDS:
                looked = now
                reconnect.relaunch(hurry=True)
            return done() or starter.failure not in (None, before)

        reconnect.awaited = True
        try:
            answered = exchange.wait(over, max(0.0, deadline - time.monotonic()))
        finally:
            reconnect.awaited = False
        self._gave_up = 0.0 if answered else time.monotonic()
        if not answered:
            raise self._no_answer()
        if not done() and starter.failure is not None:
            starter.said()
            raise starter.failure

    def _no_answer(self) -> DaemonUnavailable:
        """The error that says what keeps the daemon from answering, as far as can be seen."""
        exchange = self._exchange
        url = exchange.endpoint.url
        if exchange.reconnect.starter.running:
            return DaemonUnavailable("the recorder daemon is still starting: wait until `offcam status` answers.")
        if exchange.reconnect.named and not launch.listening(exchange.endpoint):
            return DaemonUnavailable(
                f"no recorder daemon answers at {url} (OFFCAM_ADDR). Start it there with "
                "`offcam serve`, or unset OFFCAM_ADDR to have one started for you."
            )
        if exchange.session.state is State.OPEN:
            return DaemonUnavailable(
                f"the recorder daemon at {url} has not opened the run folder yet: it is busy (see `offcam status`), or "
                "the folder's disk is slow."
            )
        return DaemonUnavailable(f"the recorder daemon at {url} does not answer; `offcam doctor` may know why.")
