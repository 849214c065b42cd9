"""Sending frames: through shared memory or the socket, each when there is credit for it."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from offcam.connection import launch, timeouts
from offcam.connection.shared_memory import Lying, StreamArenas
from offcam_proto.messages import EndClip, OpenClip

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable

    from offcam.connection.exchange import Exchange
    from offcam.connection.shared_memory import Arena, Picture
    from offcam.connection.spool import Spool
    from offcam_proto.client_stream import ClientStream
    from offcam_proto.layout import FrameLayout
    from offcam_proto.saving import SaveClip


class FrameSender:
    """Sends the frames of all streams of a process.

    Attributes:
        arenas: the memory that the streams share with the daemon.
    """

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self.arenas = StreamArenas(local=exchange.endpoint.path is not None, client=exchange.session.hello)
        self._budget = timeouts.WAIT_BUDGET_SECONDS
        self._budget_at = time.monotonic()
        self._loading_budget = timeouts.START_SECONDS
        self._arena_in_vain = 0.0  # when a frame last waited in vain for an arena to be opened, by `time.monotonic`
        self._slotless: WeakKeyDictionary[ClientStream, float] = WeakKeyDictionary()  # since when a stream lacks a slot

    def send(
        self,
        wire: ClientStream,
        epoch: int,
        opening: OpenClip,
        index: int,
        pictures: tuple[Picture, ...],
        layouts: tuple[FrameLayout, ...],
        patience: Callable[[], float],
    ) -> str | None:
        """Send one frame of a clip that was opened in an epoch; waits at most ``patience()`` seconds for its credit.

        Much of the cost is Python code that a step of the env has driven out of the processor's caches: it calls as
        little as it can.

        Returns None where the frame was sent, else the reason why it was dropped.
        """
        exchange, clip = self._exchange, opening.clip
        cost = sum([layout.nbytes for layout in layouts])
        with exchange.lock:
            if cost > wire.credit or not wire.live or wire.arena_asked or time.monotonic() >= exchange.next_look:
                exchange.pump()
            elif exchange.session.outbox.messages:
                exchange.send_due()  # before the frame, whose clip may have to be opened first
            if wire in exchange.waiting:  # the frame must not overtake what waits
                exchange.pump()
                if wire in exchange.waiting and self._keep(wire, opening, index, pictures, cost):
                    return None
            if wire.live and (wire in exchange.waiting or cost > wire.credit):
                self._await_credit(wire, cost, patience())
            if not wire.live or wire.epoch != epoch:  # the frame's clip was opened in that epoch, and is gone with it
                return None if self._keep(wire, opening, index, pictures, cost) else "no_daemon"
            if wire in exchange.waiting or cost > wire.credit:
                return "credit"
            slot = self.arenas.put(wire, clip, index, pictures, cost, opening)
            if slot is not None:
                return None if self._send_slot(wire, clip, index, layouts, slot) else "no_daemon"
            if wire.arena_asked and self._await_arena(wire, patience()):
                return self.send(wire, epoch, opening, index, pictures, layouts, patience)
            return self._send_pixels(wire, clip, index, pictures, layouts)

    def say(self, wire: ClientStream, message: OpenClip | EndClip | SaveClip) -> None:
        """Open, end or save a clip of a live stream, after whatever of that stream waits."""
        if wire in self._exchange.waiting:
            self._exchange.waiting[wire].append(message)
        else:
            _say(wire, message)

    def go_on(self, wire: ClientStream, opening: OpenClip, frames: Iterable[Lying], end: EndClip | None) -> None:
        """Have frames in a live stream's arena recorded as a clip, which ends with them if there is an ``end``."""
        waiting = self._exchange.waiting.setdefault(wire, deque())
        waiting.append(opening)
        arena, frames = self.arenas.at(wire), tuple(frames)
        for frame in reversed(frames):  # in this order they stay sorted, should this process be killed in between
            frame.opening = opening
            if arena is not None:
                arena.rename(frame)
        waiting.extend(frames)
        if end is not None:
            waiting.append(end)

    def tell(self, wire: ClientStream) -> None:
        """Tell the daemon of a stream's frames that wait, as far as there is credit for them."""
        exchange, arena = self._exchange, self.arenas.at(wire)
        waiting = exchange.waiting[wire]
        if not wire.live or arena is None or wire.arena_asked:
            return
        if wire.spool:
            self.arenas.open_spool(wire, arena)
        until = time.monotonic() + timeouts.FETCH_SECONDS
        while waiting and wire.live:
            first = waiting[0]
            if not isinstance(first, Lying):
                _say(wire, first)
            elif (
                first.nbytes > wire.credit
                or (first.spool is not None and time.monotonic() > until)
                or not self._send_lying(wire, first, arena)
            ):
                break
            waiting.popleft()
        if not waiting:
            del exchange.waiting[wire]
        exchange.session.flush_slots()
        exchange.send_due()

    def _send_lying(self, wire: ClientStream, frame: Lying, arena: Arena) -> bool:
        """Name a frame in a slot, or send it through the socket where the daemon cannot use the slot.

        A frame on disk is first given a slot, in which it outlives the next daemon, too. Returns False while it waits
        for one; if none becomes free in time, the frame goes through the socket.
        """
        now = time.monotonic()
        try:
            found = frame if frame.spool is None or not wire.arena else self._fetch(wire, frame, frame.spool, arena)
            if found is not None:
                self._slotless.pop(wire, None)
            elif now - self._slotless.setdefault(wire, now) < timeouts.SLOT_SECONDS:
                return False
            frame = found or frame
            if found and wire.arena and wire.slot_frame(frame.clip, frame.index, frame.layouts, frame.slot):
                return True
            parts = wire.frame(frame.clip, frame.index, frame.layouts, arena.pixels(frame))
        except OSError:  # the disk fails: the frame is lost, and counted
            arena.free(frame)
            return True
        self._exchange.send_due()
        if parts is None or (wire.live and self._exchange.send(parts)):
            arena.free(frame)
        return True

    def _fetch(self, wire: ClientStream, frame: Lying, spool: Spool, arena: Arena) -> Lying | None:
        """Bring a frame from disk into a slot: a free one, or that of the last frame that waits behind it."""
        found = arena.fetch(frame)
        if found is None:
            last = next((each for each in reversed(self._exchange.waiting[wire]) if _in_slot(each)), None)
            with contextlib.suppress(OSError):  # the frame stays on disk
                if isinstance(last, Lying) and arena.move_to_disk(last, spool):
                    found = arena.fetch(frame)
        return found

    def take_over(self, wire: ClientStream, clips: Container[int]) -> list[Lying]:
        """The frames of some clips of a live stream that an earlier daemon left in its arena, in order.

        The caller passes them to `go_on`; frames of other clips are forgotten.
        """
        self._exchange.waiting.pop(wire, None)
        return self.arenas.take_over(wire, clips)

    def close(self, wire: ClientStream) -> None:
        """Forget a stream that is over."""
        self._exchange.waiting.pop(wire, None)
        self.arenas.close(wire)

    def _keep(
        self, wire: ClientStream, opening: OpenClip, index: int, pictures: tuple[Picture, ...], cost: int
    ) -> bool:
        """Keep a frame in its stream's arena, for a daemon that has yet to come, or to give credit."""
        frame = self.arenas.keep(wire, opening.clip, index, pictures, cost, opening)
        if frame is not None and wire in self._exchange.waiting:
            self._exchange.waiting[wire].append(frame)
        return frame is not None

    def _send_slot(
        self, wire: ClientStream, clip: int, index: int, layouts: tuple[FrameLayout, ...], slot: int
    ) -> bool:
        """Have a frame in a slot sent soon; returns whether it is under way.

        It counts as under way even if the connection breaks now: the daemon finds it in the memory, or it is lost.
        """
        exchange, outbox = self._exchange, self._exchange.session.outbox
        if not outbox.held:
            exchange.held_since = time.monotonic()
        sent = wire.slot_frame(clip, index, layouts, slot)
        if outbox.held >= timeouts.HELD_FRAMES:
            outbox.flush_slots()
        if outbox.messages:
            exchange.send_due()
        return sent

    def _send_pixels(
        self,
        wire: ClientStream,
        clip: int,
        index: int,
        pictures: tuple[Picture, ...],
        layouts: tuple[FrameLayout, ...],
    ) -> str | None:
        """Send a frame through the socket; returns as `send`."""
        parts = wire.frame(clip, index, layouts, tuple([picture.dense.data for picture in pictures]))
        if parts is None:  # the connection was just renewed, which ended the clip: the next frame begins a new part
            return "no_daemon"
        self._exchange.send_due()  # frames in slots that precede this one
        return None if wire.live and self._exchange.send(parts) else "no_daemon"

    def _await_arena(self, wire: ClientStream, patience: float) -> bool:
        """Wait for the daemon to open a stream's arena, under ``overflow="block"``.

        What goes through the socket meanwhile would die with a daemon that has yet to encode it. Not again after a wait
        in vain until the daemon says something. Returns whether the frame is to be sent anew.
        """
        exchange = self._exchange
        if patience < timeouts.BLOCK_SECONDS or exchange.last_heard < self._arena_in_vain:
            return False
        answered = exchange.wait(lambda: not wire.arena_asked, patience)
        self._arena_in_vain = 0.0 if answered else time.monotonic()
        return answered

    def _await_credit(self, wire: ClientStream, cost: int, patience: float) -> None:
        blocking = patience >= timeouts.BLOCK_SECONDS

        def ready() -> bool:
            enough = wire.credit >= cost and wire not in self._exchange.waiting
            return enough or not wire.live or (wire.saturated and not blocking)

        if blocking:
            self._exchange.wait(ready, patience)
        elif not wire.saturated:
            late = wire in self._exchange.waiting  # for what a dead daemon left, whose clips may be of an earlier epoch
            if late or not self._wait_for_encoders(ready):
                self._wait_within_budget(ready, patience)

    def _wait_for_encoders(self, ready: Callable[[], bool]) -> bool:
        """Wait as long as a daemon that was just started may load its encoders: see `timeouts.LOADING_SECONDS`.

        Returns whether there was credit in time.
        """
        exchange, left = self._exchange, self._loading_budget
        if exchange.encoded or left < timeouts.LEAST_WAIT_SECONDS or not launch.recent(exchange.endpoint):
            return False
        begun = time.monotonic()
        done = exchange.wait(ready, left)
        self._loading_budget -= time.monotonic() - begun
        return done

    def _wait_within_budget(self, ready: Callable[[], bool], patience: float) -> None:
        """Wait, but no longer than `timeouts.WAIT_BUDGET_SECONDS` has left; a wait in vain is taken from that."""
        begun = time.monotonic()
        earned = (begun - self._budget_at) * timeouts.WAIT_BUDGET_REFILL
        self._budget, self._budget_at = min(timeouts.WAIT_BUDGET_SECONDS, self._budget + earned), begun
        if self._budget < timeouts.LEAST_WAIT_SECONDS:
            return
        if not self._exchange.wait(ready, min(patience, self._budget)):
            self._budget -= time.monotonic() - begun


def _in_slot(waiting: OpenClip | EndClip | SaveClip | Lying) -> bool:
    return isinstance(waiting, Lying) and waiting.spool is None


def _say(wire: ClientStream, message: OpenClip | EndClip | SaveClip) -> None:
    if isinstance(message, OpenClip):
        wire.open_clip(message)
    elif isinstance(message, EndClip):
        wire.end_clip(message.clip, complete=message.complete)
    else:
        wire.save_clip(message)
