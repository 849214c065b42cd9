"""Sending frames: through shared memory or the socket, each when there is credit for it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from offcam.connection import timeouts
from offcam.connection.shared_memory import StreamArenas
from offcam_proto.client_session import State

if TYPE_CHECKING:
    from collections.abc import Callable

    from offcam.connection.exchange import Exchange
    from offcam.connection.shared_memory import Picture
    from offcam_proto.client_stream import ClientStream
    from offcam_proto.layout import FrameLayout


class FrameSender:
    """Sends the frames of all streams of a process.

    Attributes:
        arenas: the memory that they share with the daemon.
    """

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self.arenas = StreamArenas(local=exchange.endpoint.path is not None)
        self._budget = timeouts.WAIT_BUDGET_SECONDS
        self._budget_at = time.monotonic()
        self._last_probe = 0.0

    def send(
        self, wire: ClientStream, epoch: int, clip: int, index: int, pictures: tuple[Picture, ...], *, patience: float
    ) -> str | None:
        """Send one frame of a clip that was opened in an epoch, waiting at most ``patience`` seconds for its credit.

        Returns None where it was sent, else the reason why it was dropped.
        """
        exchange = self._exchange
        layouts = tuple([picture.layout for picture in pictures])
        cost = sum([layout.nbytes for layout in layouts])
        with exchange.lock:
            if cost > wire.credit or not wire.live or wire.arena_asked or time.monotonic() >= exchange.next_look:
                exchange.pump()
            else:
                exchange.send_due()  # what is due goes before the frame: its clip may have to be opened first
            if cost > wire.credit and wire.live:
                self._await_credit(wire, cost, patience)
            if not wire.live or wire.epoch != epoch:  # its clip was opened in that epoch, and is gone with it
                return "no_daemon"
            if cost > wire.credit:
                self._probe()
                return "credit"
            slot = self.arenas.put(wire, clip, index, pictures, cost)
            if slot is not None:
                return None if self._send_slot(wire, clip, index, layouts, slot) else "no_daemon"
            parts = wire.frame(clip, index, layouts, tuple([picture.dense.data for picture in pictures]))
            if parts is None:  # the connection was renewed just now, which ended the clip: the next frame begins a part
                return "no_daemon"
            exchange.send_due()  # frames in slots that go before it
            return None if wire.live and exchange.send(parts) else "no_daemon"

    def _send_slot(
        self, wire: ClientStream, clip: int, index: int, layouts: tuple[FrameLayout, ...], slot: int
    ) -> bool:
        """Have a frame in a slot sent, soon; returns whether it is under way.

        So it is if the connection breaks just now: the daemon finds it in the memory, or it is lost like what was sent.
        """
        exchange, session = self._exchange, self._exchange.session
        if not session.held:
            exchange.held_since = time.monotonic()
        sent = wire.slot_frame(clip, index, layouts, slot)
        if session.held >= timeouts.HELD_FRAMES:
            session.flush_slots()
        exchange.send_due()
        return sent

    def _await_credit(self, wire: ClientStream, cost: int, patience: float) -> None:
        blocking = patience >= timeouts.BLOCK_SECONDS

        def ready() -> bool:
            self._probe()
            return wire.credit >= cost or not wire.live or (wire.saturated and not blocking)

        if blocking:
            self._exchange.wait(ready, patience)
        elif not wire.saturated:
            self._wait_within_budget(ready, patience)

    def _wait_within_budget(self, ready: Callable[[], bool], patience: float) -> None:
        """Wait as long as something is left of `timeouts.WAIT_BUDGET_SECONDS`, from which a wait in vain is taken."""
        begun = time.monotonic()
        earned = (begun - self._budget_at) * timeouts.WAIT_BUDGET_REFILL
        self._budget, self._budget_at = min(timeouts.WAIT_BUDGET_SECONDS, self._budget + earned), begun
        if self._budget < timeouts.LEAST_WAIT_SECONDS:
            return
        if not self._exchange.wait(ready, min(patience, self._budget)):
            self._budget -= time.monotonic() - begun

    def _probe(self) -> None:
        """Ask a silent daemon for a sign: out of credit nothing else is sent, by which its death would show."""
        exchange, now = self._exchange, time.monotonic()
        if exchange.session.state is not State.OPEN:
            return
        if now - max(self._last_probe, exchange.last_heard) >= timeouts.ANSWER_SECONDS:
            self._last_probe = now
            exchange.session.flush()  # nobody waits for the answer itself
            exchange.send_due()
