"""The daemon's main loop: carries messages, events and answers between clients, encoders and the store.

One thread owns the transport, the sessions and the dispatcher's state. The encoder pool and the store run on threads of
their own and report by events.
"""

from __future__ import annotations

import functools
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from offcamd.process.health import SERVICE, Health

if TYPE_CHECKING:
    from offcamd.daemon.dispatcher import Dispatcher
    from offcamd.daemon.inbox import Inbox
    from offcamd.daemon.transport import Transport
    from offcamd.store.store import Store

TICK_SECONDS = 0.25
"""How often the loop looks for what comes with time alone: vanished clients, flush progress, idleness."""

TURN_MESSAGES = 256
"""Most messages taken in before the encoders' and the store's events have their turn."""

BEHIND_SECONDS = 0.01
"""How soon the loop looks again while it reads no messages, as the store is behind."""


@dataclass(frozen=True, slots=True)
class Loop:
    """All that the service's thread does until it is to stop."""

    transport: Transport
    inbox: Inbox
    dispatcher: Dispatcher
    store: Store
    health: Health

    def run(self, idle_seconds: float) -> None:
        """Go on until the inbox is told to stop, or no stream was open for ``idle_seconds`` (0: however long)."""
        next_tick = 0.0
        while not self.inbox.stops:
            behind = self.store.behind
            has_messages, some_left = self.transport.wait(
                BEHIND_SECONDS if behind else TICK_SECONDS, reading=not behind
            )
            if not (behind or has_messages):
                self.dispatcher.all_read()
            self._turn(has_messages, some_left)
            if time.monotonic() >= next_tick:
                next_tick = time.monotonic() + TICK_SECONDS
                with self.health.survive(SERVICE, "its clients' state"):
                    self.dispatcher.tick()
                if self.dispatcher.idle_for(idle_seconds):
                    self.inbox.stop("idle")
            self.answer()

    def _turn(self, has_messages: bool, some_left: bool) -> None:
        if has_messages:
            self.receive()
        if some_left:
            self._see_who_left()
        self.handle_events()

    def _see_who_left(self) -> None:
        for connection in self.transport.disconnected():
            self.dispatcher.disconnected(connection)

    def receive(self) -> None:
        """Take in messages, at most `TURN_MESSAGES`.

        While the store is behind they stay in the sockets: what floods it is held up there, and takes no memory here.
        """
        for _ in range(TURN_MESSAGES):
            if self.store.behind:
                return
            if (message := self.transport.receive()) is None:
                self.dispatcher.all_read()
                return
            if message.identity not in self.dispatcher.peers:
                self._see_who_left()  # first, as the newcomer may have the number of a connection that broke
            let_go = functools.partial(self.dispatcher.let_go, message.identity)
            with self.health.survive(SERVICE, "a client's message", let_go):
                self.dispatcher.message(message.identity, message.connection, message.parts, message.user)

    def handle_events(self) -> None:
        """Handle what the other threads report."""
        for event in self.inbox.take():
            give_up = functools.partial(self.dispatcher.give_up, event)
            with self.health.survive(SERVICE, type(event).__name__, give_up):
                self.dispatcher.event(event)

    def answer(self) -> None:
        """Send what the sessions have to say."""
        for peer in self.dispatcher.speaking():
            let_go = functools.partial(self.dispatcher.let_go, peer.identity)
            with self.health.survive(SERVICE, "an answer", let_go):
                if not self.transport.send(peer.identity, peer.session.take()):
                    self.dispatcher.unreachable(peer)
