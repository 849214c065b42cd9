"""A process's session with the daemon: performs what the sans-I/O session decides."""

from __future__ import annotations

import os
import platform
import socket
import threading
import time
import uuid
import weakref
from collections import deque
from typing import TYPE_CHECKING, Protocol

import gymnasium
from gymnasium import logger

from offcam.connection import launch, settings, timeouts
from offcam.connection.contact import Contact
from offcam.connection.progress import Progress
from offcam.connection.reconnect import Absence
from offcam.connection.shared_memory import StreamArenas
from offcam.connection.starting import Starter
from offcam.connection.transport import Dealer
from offcam_proto import __version__
from offcam_proto.client_session import ClientSession, State
from offcam_proto.errors import DaemonNotInstalled, RemoteProtocolError
from offcam_proto.messages import ClipDone, Flushed, OpenStream, Refused, StreamOpened, StreamRefused

if TYPE_CHECKING:
    from collections.abc import Callable

    from offcam.recorder.frames import Picture
    from offcam_proto.client_stream import ClientStream
    from offcam_proto.codec import Parts
    from offcam_proto.endpoints import Endpoint
    from offcam_proto.keys import KeyFile
    from offcam_proto.layout import FrameLayout


class Link:
    """A process's session with one daemon. Thread-safe: a lock serialises the socket's users.

    Attributes:
        pid: the process it belongs to; a forked child makes its own.
        named: whether its daemon is the user's own; else one is started where none runs.
        starter: starts that one.
        contact: waits for the daemon, at construction.
        key: what it shows to a daemon of another host, None for ``ipc://``.
        lock: held by whoever changes the session or its streams.
        session: the protocol's state.
    """

    def __init__(self, endpoint: Endpoint, *, named: bool, key: KeyFile | None = None) -> None:
        self.pid = os.getpid()
        self.endpoint = endpoint
        self.key = key
        self.session = ClientSession(
            uuid.uuid4().bytes,
            pid=self.pid,
            host=socket.gethostname(),
            client=f"offcam/{__version__} python/{platform.python_version()} gymnasium/{gymnasium.__version__}",
        )
        self.named = named
        self.lock = _Lock()
        self._streams: weakref.WeakValueDictionary[int, StreamOwner] = weakref.WeakValueDictionary()
        self._owners: weakref.WeakSet[StreamOwner] = weakref.WeakSet()
        self._unsettled: set[StreamOwner] = set()  # kept until their files are final, even where nobody else does
        self._later: deque[Callable[[], None]] = deque()
        self._flushed: dict[int, Flushed] = {}
        self._next_try = 0.0
        self._next_launch = time.monotonic() + timeouts.RELAUNCH_SECONDS
        self._silent = False  # a flush gave up on it: the next, as when many envs are closed, do not wait as long
        self.starter = Starter()
        self.contact = Contact(self)
        self._absence = Absence(self)
        self._vain_left = timeouts.VAIN_SECONDS
        self._last_vain = time.monotonic()
        self._warned: set[str] = set()
        self._dealer = Dealer(endpoint, key)
        self._arenas = StreamArenas(local=endpoint.path is not None)
        self._held_since = self._next_look = self._last_sign = 0.0
        self._probes: set[int] = set()  # flushes that only ask whether it is there

    # --- connecting ---------------------------------------------------------------------------------------

    def reached(self) -> bool:
        """Whether the daemon answers, as far as is known. Where it does not, it is looked for at once."""
        with self.lock:
            if self._dealer.dialled or self.key is None:
                self.pump()
            self._next_try = 0.0
            return self.session.state is State.OPEN

    def greet(self) -> None:
        """Connect anew to a daemon of another host.

        Raises:
            ConfigError, DaemonUnavailable, KeyRefused: as `Dealer.greet`.
        """
        with self.lock:
            self.session.lost()
            self._dealer.greet()

    def open_stream(self, info: OpenStream, owner: StreamOwner) -> ClientStream:
        """Open a stream; its owner hears of its clips' ends."""
        with self.lock:
            wire = self.session.open_stream(info)
            self._streams[wire.info.handle] = owner
            self._owners.add(owner)
            self.pump()
            return wire

    # --- working ------------------------------------------------------------------------------------------

    def pump(self) -> None:
        """Take in what the daemon said and send what is due. Never blocks, never raises."""
        with self.lock:
            session = self.session
            if session.state is State.CLOSED:
                return
            while self._later:
                self._later.popleft()()
            now = time.monotonic()
            for parts in self._dealer.received():
                self._receive(parts)
                self._last_sign = now
                self._silent = False
                self.contact.heard()
            self._next_look = now + timeouts.LOOK_SECONDS
            if self.starter.take_listens() and session.state is not State.OPEN:
                session.lost()
                self._dealer.renew()  # libzmq looks for one that was not there ever more rarely
                self._next_try = 0.0
            if session.state in (State.IDLE, State.GREETING) and now >= self._next_try:
                self._next_try = now + timeouts.ANSWER_SECONDS  # it may have died with the greeting in its hands
                self._dealer.dial()
                session.connect()
            if session.held and now - self._held_since >= timeouts.HELD_SECONDS:
                session.flush_slots()
            self._send_due()
            if session.state is State.IDLE:
                self._next_try = min(self._next_try, now + timeouts.RETRY_SECONDS)
                before = session.instance is not None
                if not self.contact.waiting and (failure := self.starter.unsaid(before=before)):
                    self.warn_once(failure, about="not started")
                self.relaunch()

    def send_frame(
        self,
        wire: ClientStream,
        epoch: int,
        clip: int,
        index: int,
        pictures: tuple[Picture, ...],
        *,
        patience: float,
    ) -> str | None:
        """Send one frame, waiting at most ``patience`` seconds for the credit it needs.

        Returns:
            None where it was sent, else the reason why it was dropped.
        """
        with self.lock:
            cost = sum(picture.layout.nbytes for picture in pictures)
            if cost > wire.credit or not wire.live or wire.arena_asked or time.monotonic() >= self._next_look:
                self.pump()
            else:
                self._send_due()  # what is due goes before the frame: its clip may have to be opened first
            if cost > wire.credit and wire.live:
                self._await_credit(wire, cost, patience)
            if not wire.live or wire.epoch != epoch:  # its clip was opened in that epoch, and is gone with it
                return "no_daemon"
            if cost > wire.credit:
                self._probe()
                return "credit"
            layouts = tuple(picture.layout for picture in pictures)
            slot = self._arenas.put(wire, clip, index, pictures, cost)
            if slot is not None:
                return None if self._hold(wire, clip, index, layouts, slot) else "no_daemon"
            parts = wire.frame(clip, index, layouts, tuple(picture.pixels for picture in pictures))
            if parts is None:  # the connection was renewed just now, which ended the clip: the next frame begins a part
                return "no_daemon"
            self._send_due()  # frames in slots that go before it
            return None if wire.live and self._send(parts) else "no_daemon"

    def close_stream(self, wire: ClientStream) -> None:
        """Close a stream: nothing more comes, and its shared memory is the daemon's alone."""
        with self.lock:
            wire.close()
            self._arenas.close(wire)

    def _hold(self, wire: ClientStream, clip: int, index: int, layouts: tuple[FrameLayout, ...], slot: int) -> bool:
        """Have a frame in a slot sent, soon; returns whether it is under way.

        So it is if the connection breaks just now: the daemon finds it in the memory, or it is lost like what was sent.
        """
        if not self.session.held:
            self._held_since = time.monotonic()
        sent = wire.slot_frame(clip, index, layouts, slot)
        if self.session.held >= timeouts.HELD_FRAMES:
            self.session.flush_slots()
        self._send_due()
        return sent

    def _probe(self) -> None:
        """Ask a silent daemon for a sign: out of credit nothing else is sent, by which its death would show."""
        now = time.monotonic()
        if now - self._last_sign >= timeouts.ANSWER_SECONDS and self.session.state is State.OPEN:
            self._last_sign = now
            self._probes.add(self.session.flush())
            self._send_due()

    def _await_credit(self, wire: ClientStream, cost: int, patience: float) -> None:
        blocking = patience >= timeouts.BLOCK_SECONDS

        def ready() -> bool:
            self._probe()
            return wire.credit >= cost or not wire.live or (wire.saturated and not blocking)

        if blocking:
            self.wait(ready, patience)
        elif not wire.saturated:
            self._wait_within_budget(ready, patience)

    def _wait_within_budget(self, ready: Callable[[], bool], patience: float) -> None:
        """Wait while waits in vain have something left of `timeouts.VAIN_SECONDS`: a dead daemon soon costs nothing."""
        begun = time.monotonic()
        earned = (begun - self._last_vain) * timeouts.VAIN_SHARE
        self._vain_left, self._last_vain = min(timeouts.VAIN_SECONDS, self._vain_left + earned), begun
        if self._vain_left < timeouts.LEAST_WAIT_SECONDS:
            return
        if not self.wait(ready, min(patience, self._vain_left)):
            self._vain_left -= time.monotonic() - begun

    def wait(self, done: Callable[[], bool], seconds: float) -> bool:
        """Pump until ``done()`` or the time is over. Returns whether it is done."""
        deadline = time.monotonic() + seconds
        with self.lock:
            self.session.flush_slots()
        while True:
            with self.lock:
                self.pump()
                if done():
                    return True
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                self._dealer.await_message(min(left, 0.05))

    def _receive(self, parts: list[bytes]) -> None:
        try:
            message = self.session.receive(parts)
        except RemoteProtocolError as error:
            self.warn_once(f"the recorder daemon at {self.endpoint.url} broke the protocol: {error}")
            self.session.lost()
            return
        if isinstance(message, Flushed):
            if message.token not in self._probes:
                self._flushed[message.token] = message
            elif not message.clips:  # its last answer
                self._probes.discard(message.token)
        elif isinstance(message, (StreamOpened, StreamRefused)) and (owner := self._streams.get(message.handle)):
            owner.answered(refused=message.text if isinstance(message, StreamRefused) else "")
        elif isinstance(message, Refused):
            self.warn_once(f"the recorder daemon refused this client, nothing more is recorded: {message.text}")
        elif isinstance(message, ClipDone) and (owner := self._streams.get(message.handle)):
            owner.clip_done(message)
            if owner.settled:
                self._unsettled.discard(owner)

    def _send_due(self) -> None:
        for parts in self.session.take():
            if not self._send(parts):
                return

    def _send(self, parts: Parts) -> bool:
        """Send one message; where there is no connection, the session hears of it: records wait for the next one."""
        sent = False
        try:
            sent = self._dealer.send(parts)
        finally:
            if not sent:
                self.session.lost()
        return sent

    # --- starting a daemon --------------------------------------------------------------------------------

    @property
    def hopeless(self) -> bool:
        """Whether none answers, none listens, and none will come of what is done here."""
        if self.session.state is State.REFUSED:
            return True
        if self.session.state is State.OPEN or self.starter.running:
            return False
        return (self.named or self.starter.failed) and not launch.listening(self.endpoint)

    def relaunch(self, *, hurry: bool = False) -> None:
        """Start an embedded daemon where none runs, off the agent's thread; now and then, or at once in a hurry."""
        with self.lock:
            now = time.monotonic()
            if now < self._next_launch and not hurry:
                return
            if self.key is not None:  # libzmq never asks again who refused a key once
                if hurry:
                    return
                self._next_launch = now + timeouts.RELAUNCH_SECONDS
                self._dealer.renew()
            if self.named or self.starter.running:
                return
            self._find_place()
            if launch.listening(self.endpoint):
                self._next_launch = now + timeouts.RETRY_SECONDS
                return
            self._next_launch = now + timeouts.RELAUNCH_SECONDS
            self.starter.begin(self.endpoint)

    def _find_place(self) -> None:
        """Look anew where the daemon is to be: its directory may be gone, as a runtime directory is after a logout."""
        place = settings.embedded_endpoint()
        if place != self.endpoint and not launch.listening(self.endpoint):
            self.endpoint = self._dealer.endpoint = place
            self._dealer.renew()

    # --- what anybody may call ----------------------------------------------------------------------------

    def later(self, work: Callable[[], None]) -> None:
        """Do something now if nobody is using the link, else when it is used next.

        For finalisers: the garbage collector runs them in the midst of anything, on any thread.
        """
        self._later.append(work)
        if not self.lock.depth:
            self.pump()

    def keep(self, owner: StreamOwner) -> None:
        """Keep a stream whose user may have dropped it until its files are final."""
        self._unsettled.add(owner)

    def warn_once(self, text: str, about: str = "") -> None:
        """Warn, once for each text, or for each thing that texts which differ in their numbers are about."""
        if (about or text) not in self._warned:
            self._warned.add(about or text)
            logger.warn(text)

    # --- finishing ----------------------------------------------------------------------------------------

    def flush(self, *, seconds: float | None = None, quiet: bool = True) -> bool:
        """Wait until all that was ended is final: files renamed into place, records committed.

        Gives up when the daemon has been silent for `timeouts.SILENCE_SECONDS`, when there has been none for
        `timeouts.GONE_SECONDS` and none could be started, when one has not started within `timeouts.COMING_SECONDS`, or
        after ``seconds``. Shows progress on stderr when it takes longer than a blink (at once, and also off a terminal,
        unless ``quiet``).

        Returns:
            Whether everything is final.
        """
        start = heard = time.monotonic()
        token: int | None = None
        last: Flushed | None = None
        unacked = self._unacked()
        renewed, asked = True, 0.0
        with Progress("offcam: finishing videos", always=not quiet) as progress:
            while True:
                with self.lock:
                    self.pump()
                    if self.session.state is not State.OPEN:
                        token, renewed = None, True  # a new daemon has to be asked anew
                        heard = time.monotonic() if self.starter.running else heard  # one that starts is not silent
                    elif token is None:
                        token, asked = self.session.flush(), time.monotonic()
                        heard, renewed = asked if renewed else heard, False
                        self.pump()
                    answer = self._flushed.pop(token, None) if token is not None else None
                if answer is None and time.monotonic() - asked > timeouts.ANSWER_SECONDS:
                    token = None
                if answer is not None:
                    asked = time.monotonic()
                    before, unacked, last = unacked, self._unacked(), answer
                    if answer.clips == unacked == 0:
                        return True
                    if answer.clips or unacked != before:  # else it talks, but cannot store the records
                        heard = time.monotonic()
                    if answer.clips == 0:
                        token = None
                        self.wait(lambda: self._unacked() == 0, 0.1)
                progress.show(f"{last.clips} left, {last.frames} frames" if last else "asking the daemon")
                late = self._late(start, heard, seconds)
                if late or self.session.state in (State.REFUSED, State.CLOSED) or self._absence.for_good():
                    self._silent = late
                    self.pump()  # which says why none could be started
                    return False
                self._await_answer(token)

    def _late(self, start: float, heard: float, seconds: float | None) -> bool:
        """Whether a flush that began then, and heard something of the daemon then, has waited long enough."""
        now = time.monotonic()
        if seconds is not None and now - start > seconds:
            return True
        if self.starter.running:
            return now - start > timeouts.COMING_SECONDS
        most = timeouts.ANSWER_SECONDS if self._silent else timeouts.SILENCE_SECONDS
        return now - heard > min(most, timeouts.SILENCE_SECONDS)

    def _await_answer(self, token: int | None) -> None:
        self.wait(lambda: token in self._flushed, 0.1)

    def _unacked(self) -> int:
        """Records that the daemon has yet to commit; those of a stream that it refused it never will."""
        with self.lock:
            return sum(stream.unacked for stream in self.session.streams.values() if stream.refused is None)

    def shutdown(self, seconds: float = timeouts.EXIT_SECONDS) -> None:
        """Finish what is still open and leave, within so many seconds."""
        try:
            for owner in list(self._owners):
                owner.abandon()
            self.pump()
            if not self._settled_for_good() and self._reachable():
                self.flush(seconds=seconds - timeouts.LINGER_MS / 1000)
        finally:
            with self.lock:
                self._warn_of_records(self._unacked())
                open_ = self.session.state is State.OPEN
                self.session.close()
                self._send_due()
                self._dealer.close(timeouts.LINGER_MS if open_ else 0)

    def _warn_of_records(self, count: int) -> None:
        alone = self.session.instance is None and isinstance(self.starter.failure, DaemonNotInstalled)
        if count and not alone:  # of a base install, which has no daemon, it was said at construction
            records = "1 record was" if count == 1 else f"{count} records were"
            logger.warn(
                f"{records} not confirmed by the recorder daemon before this process left: so many episodes and videos "
                "may be missing from the statistics, and frames not yet written from the videos; see `offcam ls`.",
            )

    def _reachable(self) -> bool:
        """Whether there is a daemon to wait for, if only once the connection is made again, as after a Ctrl-C."""
        if self.starter.running:
            return True
        if launch.gone(self.endpoint):
            return False
        waiting = self.session.state in (State.IDLE, State.GREETING)
        return self.session.state is State.OPEN or (
            waiting and self._dealer.dialled and launch.listening(self.endpoint)
        )

    def _settled_for_good(self) -> bool:
        return not self._unacked() and all(owner.settled for owner in list(self._owners))


class _Lock:
    """A re-entrant lock.

    Attributes:
        depth: how often its holder has entered it, 0 where it is free.
    """

    def __init__(self) -> None:
        self.depth = 0
        self._lock = threading.RLock()

    def __enter__(self) -> None:
        self._lock.acquire()
        self.depth += 1

    def __exit__(self, *_: object) -> None:
        self.depth -= 1
        self._lock.release()


class StreamOwner(Protocol):
    """Who a stream belongs to; `offcam.recorder.env_stream.EnvStream` is one."""

    @property
    def settled(self) -> bool:
        """Whether no clip of it is open or on its way to its final name."""

    def clip_done(self, message: ClipDone) -> None:
        """One of its clips is final."""

    def answered(self, *, refused: str) -> None:
        """The daemon has opened it, or will not have it and says why."""

    def abandon(self) -> None:
        """The process leaves: end what is open."""
