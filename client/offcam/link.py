"""The one connection of a process to the daemon: performs what the sans-I/O session decides.

Everything that touches ZeroMQ in the client is here. There is no thread: frames are handed to libzmq's I/O
thread from the agent's own, and the daemon's answers are read at the next call.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import platform
import socket
import sys
import threading
import time
import uuid
import weakref
from collections import deque
from importlib.metadata import version
from typing import TYPE_CHECKING

import gymnasium
import zmq
from gymnasium import logger
from zmq.utils.monitor import recv_monitor_message

from offcam import keys, launch, settings
from offcam.progress import Progress
from offcam_proto.client_session import ClientSession, ClientStream, State
from offcam_proto.errors import (
    ConfigError,
    DaemonError,
    DaemonUnavailable,
    FolderNotWritable,
    KeyRefused,
    RemoteProtocolError,
    VersionMismatch,
)
from offcam_proto.limits import MAX_HEADER_BYTES
from offcam_proto.messages import ClipDone, Flushed, OpenStream, Refused

if TYPE_CHECKING:
    from collections.abc import Callable

    from offcam.frames import Picture
    from offcam_proto.codec import Parts
    from offcam_proto.endpoints import Endpoint
    from offcam_proto.keys import KeyFile

HANDSHAKE_SECONDS = 5.0
"""How long construction waits for a daemon that listens to answer."""

CONTACT_SECONDS = 1.5
"""How long construction waits for a daemon of another host to take or refuse the key."""

CONTACT_TRIES = 3
"""Failed connections in that time after which it gives up."""

PATIENCE_SECONDS = 0.008
"""Longest wait for credit in one step under ``overflow="drop"``, or as long as the step itself took if that is
longer: while the daemon makes progress, a crowded machine slows the loop down a little rather than lose frames."""

MOST_PATIENCE_SECONDS = 0.1
"""Longest wait for credit in a step that itself took longer than this."""

VAIN_SECONDS = 0.05
"""What waits for credit that does not come may cost a process, all together..."""

VAIN_SHARE = 0.001
"""...and the share of its time by which that is refilled."""

BLOCK_SECONDS = 30.0
"""Longest wait for credit in one step under ``overflow="block"``."""

REOPEN_SECONDS = 2.0
"""How long the first step after a fork or a `close` waits for a daemon that listens."""

RETRY_SECONDS = 0.25
"""How often a step looks for a daemon that is gone."""

ANSWER_SECONDS = 1.0
"""How long a greeting or a flush may go unanswered before it is said again: a daemon may have died of it, unnoticed."""

RELAUNCH_SECONDS = 30.0
"""How often an embedded daemon that died is started again, or one of another host that refused the key is asked."""

SILENCE_SECONDS = 10.0
"""A flush gives up when the daemon has said nothing for this long."""

EXIT_SECONDS = 30.0
"""Longest wait at interpreter exit for recordings that were never closed, all in all."""

LINGER_MS = 2000
"""Longest wait at exit for the last bytes to leave; the end of `EXIT_SECONDS` is kept for it."""


class Link:
    """A process's session with one daemon. Thread-safe: a lock serialises the socket's users.

    Attributes:
        pid: the process it belongs to; a forked child makes its own.
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
            client=f"offcam/{version('offcam')} python/{platform.python_version()} gymnasium/{gymnasium.__version__}",
        )
        self._named = named
        self.lock = _Lock()
        self._streams: weakref.WeakValueDictionary[int, StreamOwner] = weakref.WeakValueDictionary()
        self._owners: weakref.WeakSet[StreamOwner] = weakref.WeakSet()
        self._unsettled: set[StreamOwner] = set()  # kept until their files are final, even where nobody else does
        self._later: deque[Callable[[], None]] = deque()
        self._flushed: dict[int, Flushed] = {}
        self._next_try = 0.0
        self._next_launch = time.monotonic() + RELAUNCH_SECONDS
        self._vain_left = VAIN_SECONDS
        self._last_vain = time.monotonic()
        self._warned: set[str] = set()
        self._context = zmq.Context()
        self._dialled = False
        self._socket = self._open_socket()

    def _open_socket(self) -> zmq.Socket[bytes]:
        dealer = self._context.socket(zmq.DEALER)
        # IMMEDIATE: without a connection a send fails at once, so that nothing queues up for nobody.
        # No high-water mark: credit bounds the frames, and a mark would drop records.
        for option, value in (
            (zmq.IMMEDIATE, 1),
            (zmq.SNDHWM, 0),
            (zmq.RCVHWM, 0),
            (zmq.LINGER, 0),
            (zmq.RECONNECT_IVL, 50),
            (zmq.RECONNECT_IVL_MAX, 1000),
            (zmq.MAXMSGSIZE, 64 * MAX_HEADER_BYTES),
        ):
            dealer.setsockopt(option, value)
        if self.key is not None:
            dealer.setsockopt(zmq.IPV6, int(":" in str(self.endpoint.host)))
            dealer.curve_publickey, dealer.curve_secretkey = self.key.public, self.key.secret
            dealer.curve_serverkey = self.key.server
        self._dialled = False
        return dealer

    def _dial(self) -> None:
        if not self._dialled:
            self._dialled = True
            self._socket.connect(self.endpoint.url)

    # --- connecting ---------------------------------------------------------------------------------------

    def establish(self) -> None:
        """Find or start the daemon and shake hands; returns at once where that is done already.

        Raises:
            DaemonNotInstalled, DaemonUnavailable: there is none and none could be started.
            KeyRefused: it does not take this client's key, or is not the one that the key is for.
            VersionMismatch: it speaks another version of the protocol.
        """
        with self.lock:
            if self._dialled or self.key is None:
                self.pump()
            if self.session.state is State.OPEN:
                return
            if self.key is not None:
                try:
                    self._greet_remote(self.key)
                except KeyRefused:
                    if not self.session.streams:
                        _forget(self)
                    raise
            elif not launch.listening(self.endpoint):
                if self._named:
                    raise DaemonUnavailable(
                        f"no recorder daemon answers at {self.endpoint.url} (OFFCAM_ADDR). Start it there with "
                        "`offcam serve`, or unset OFFCAM_ADDR to have one started for you.",
                    )
                launch.start_embedded()
            self._next_try = 0.0
            if not self.wait(lambda: self.session.state in (State.OPEN, State.REFUSED), HANDSHAKE_SECONDS):
                raise DaemonUnavailable(
                    f"the recorder daemon at {self.endpoint.url} did not answer within {HANDSHAKE_SECONDS:g} s. "
                    "Restart it with `offcam stop` and `offcam start`.",
                )
            self.raise_if_refused()

    def _greet_remote(self, key: KeyFile) -> None:
        """Connect anew to a daemon of another host and watch: why a handshake fails, only libzmq's events tell."""
        self.session.lost()
        self._socket.close(linger=0)
        self._socket = self._open_socket()
        monitor = self._socket.get_monitor_socket(
            zmq.EVENT_HANDSHAKE_SUCCEEDED
            | zmq.EVENT_HANDSHAKE_FAILED_AUTH
            | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
            | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
            | zmq.EVENT_CONNECT_RETRIED
        )
        try:
            self._dial()
            self._await_handshake(key, monitor)
        except zmq.ZMQError as error:
            raise ConfigError(f"OFFCAM_ADDR is {self.endpoint.url}, which nothing can connect to: {error}.") from error
        finally:
            self._socket.disable_monitor()
            monitor.close(linger=0)

    def _await_handshake(self, key: KeyFile, monitor: zmq.Socket[bytes]) -> None:
        deadline = time.monotonic() + CONTACT_SECONDS
        url, retries, answered = self.endpoint.url, 0, False
        while retries < CONTACT_TRIES and monitor.poll(max(0, int(1000 * (deadline - time.monotonic())))):
            match recv_monitor_message(monitor)["event"]:
                case zmq.EVENT_HANDSHAKE_SUCCEEDED:
                    return
                case zmq.EVENT_HANDSHAKE_FAILED_AUTH:
                    raise KeyRefused(
                        f"the recorder daemon at {url} does not let the key {key.name!r} ({key.fingerprint}) in. On "
                        "its host, see `offcam keys list`: make a key with `offcam keys new NAME` and use that here.",
                    )
                case zmq.EVENT_CONNECT_RETRIED:
                    retries += 1
                case zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL:
                    answered, retries = True, CONTACT_TRIES
                case zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL:
                    answered = True
        if answered:
            raise KeyRefused(
                f"what listens at {url} is not the recorder daemon that the key {key.name!r} ({key.fingerprint}) is "
                "for: its own key is another. Copy the client's key file from that daemon's host anew (`offcam keys "
                "list` there shows its keys), or set OFFCAM_ADDR to the right one.",
            )
        raise DaemonUnavailable(
            f"no recorder daemon answers at {url} (OFFCAM_ADDR). Start it there with `offcam serve --tcp {url}`, see "
            "that no firewall is in between, or unset OFFCAM_ADDR to have one started here for you.",
        )

    def raise_if_refused(self) -> None:
        """Raise what the daemon said where it refused this session."""
        refused = self.session.refused
        if refused is not None:
            error = VersionMismatch if refused.code == VersionMismatch.reason else RemoteProtocolError
            raise error(f"the recorder daemon at {self.endpoint.url} refused this client: {refused.text}")

    def open_stream(self, info: OpenStream, owner: StreamOwner) -> ClientStream:
        """Open a stream; its owner hears of its clips' ends."""
        with self.lock:
            wire = self.session.open_stream(info)
            self._streams[wire.info.handle] = owner
            self._owners.add(owner)
            self.pump()
            return wire

    def wait_opened(self, wire: ClientStream) -> None:
        """Wait for the daemon to open a stream.

        Raises:
            FolderNotWritable: it cannot use the run folder.
            DaemonUnavailable: it did not answer.
        """
        done = self.wait(lambda: wire.live or wire.refused is not None, HANDSHAKE_SECONDS)
        if wire.refused is not None:
            raise FolderNotWritable(wire.refused)
        if not done:
            raise DaemonUnavailable(f"the recorder daemon at {self.endpoint.url} stopped answering.")

    # --- working ------------------------------------------------------------------------------------------

    def pump(self) -> None:
        """Take in what the daemon said and send what is due. Never blocks, never raises."""
        with self.lock:
            session = self.session
            if session.state is State.CLOSED:
                return
            while self._later:
                self._later.popleft()()
            while int(self._socket.getsockopt(zmq.EVENTS)) & zmq.POLLIN:
                self._receive(self._socket.recv_multipart(zmq.DONTWAIT))
            now = time.monotonic()
            if session.state in (State.IDLE, State.GREETING) and now >= self._next_try:
                self._next_try = now + ANSWER_SECONDS  # it may have died with the greeting in its hands
                self._dial()
                session.connect()
            self._send_due()
            if session.state is State.IDLE:
                self._next_try = min(self._next_try, now + RETRY_SECONDS)
                self._relaunch()

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
            self.pump()  # what is due goes before the frame: its clip may have to be opened first
            cost = sum(picture.layout.nbytes for picture in pictures)
            if cost > wire.credit and wire.live:
                self._await_credit(wire, cost, patience)
            if not wire.live or wire.epoch != epoch:  # its clip was opened in that epoch, and is gone with it
                return "no_daemon"
            if cost > wire.credit:
                return "credit"
            pixels = tuple(picture.pixels for picture in pictures)
            parts = wire.frame(clip, index, tuple(picture.layout for picture in pictures), pixels)
            if parts is None:  # the connection was renewed just now, which ended the clip: the next frame begins a part
                return "no_daemon"
            return None if self._send(parts) else "no_daemon"

    def _await_credit(self, wire: ClientStream, cost: int, patience: float) -> None:
        blocking = patience >= BLOCK_SECONDS

        def ready() -> bool:
            return wire.credit >= cost or not wire.live or (wire.saturated and not blocking)

        if blocking:
            self.wait(ready, patience)
        elif not wire.saturated:
            self._wait_within_budget(ready, patience)

    def _wait_within_budget(self, ready: Callable[[], bool], patience: float) -> None:
        """Wait as long as waits in vain have left of `VAIN_SECONDS`, so that a dead daemon soon costs nothing."""
        begun = time.monotonic()
        earned = (begun - self._last_vain) * VAIN_SHARE
        self._vain_left, self._last_vain = min(VAIN_SECONDS, self._vain_left + earned), begun
        if not self.wait(ready, min(patience, self._vain_left)):
            self._vain_left -= min(time.monotonic() - begun, self._vain_left)

    def wait(self, done: Callable[[], bool], seconds: float) -> bool:
        """Pump until ``done()`` or the time is over. Returns whether it is done."""
        deadline = time.monotonic() + seconds
        while True:
            with self.lock:
                self.pump()
                if done():
                    return True
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                self._socket.poll(max(1, int(1000 * min(left, 0.05))))

    def _receive(self, parts: list[bytes]) -> None:
        try:
            message = self.session.receive(parts)
        except RemoteProtocolError as error:
            self.warn_once(f"the recorder daemon at {self.endpoint.url} broke the protocol: {error}")
            self.session.lost()
            return
        if isinstance(message, Flushed):
            self._flushed[message.token] = message
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
        try:
            # copied here, as the env may render into the same buffer next; libzmq's own copy is the cheapest
            self._socket.send_multipart(parts, zmq.DONTWAIT, copy=True)
        except zmq.Again:
            self.session.lost()
            return False
        except BaseException:  # Ctrl-C between two parts: what would be sent next would belong to this message
            self._socket.close(linger=LINGER_MS)
            self._socket = self._open_socket()
            self.session.lost()
            raise
        return True

    def _relaunch(self) -> None:
        """Start an embedded daemon that died anew, off the agent's thread."""
        now = time.monotonic()
        if self.key is not None and now >= self._next_launch:  # libzmq never asks again who refused a key once
            self._next_launch = now + RELAUNCH_SECONDS
            self._socket.close(linger=0)
            self._socket = self._open_socket()
        if self._named or now < self._next_launch or launch.listening(self.endpoint):
            return
        self._next_launch = now + RELAUNCH_SECONDS
        threading.Thread(target=self._relaunch_now, name="offcam-relaunch", daemon=True).start()

    def _relaunch_now(self) -> None:
        try:
            launch.start_embedded()
        except DaemonError as error:
            self.warn_once(f"the recorder daemon is gone and could not be started again: {error}")

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

        Gives up when the daemon has been silent for `SILENCE_SECONDS`, or after ``seconds``. Shows progress on
        stderr when it takes longer than a blink (at once, and also off a terminal, unless ``quiet``).

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
                    elif token is None:
                        token, asked = self.session.flush(), time.monotonic()
                        heard, renewed = asked if renewed else heard, False
                        self.pump()
                    answer = self._flushed.pop(token, None) if token is not None else None
                if answer is None and time.monotonic() - asked > ANSWER_SECONDS:
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
                now = time.monotonic()
                late = now - heard > SILENCE_SECONDS or (seconds is not None and now - start > seconds)
                if late or self.session.state in (State.REFUSED, State.CLOSED):
                    return False
                self._await_answer(token)

    def _await_answer(self, token: int | None) -> None:
        self.wait(lambda: token in self._flushed, 0.1)

    def _unacked(self) -> int:
        """Records that the daemon has yet to commit; those of a stream that it refused it never will."""
        with self.lock:
            return sum(stream.unacked for stream in self.session.streams.values() if stream.refused is None)

    def shutdown(self, seconds: float = EXIT_SECONDS) -> None:
        """Finish what is still open and leave, within so many seconds."""
        try:
            for owner in list(self._owners):
                owner.abandon()
            self.pump()
            if not self._settled_for_good() and self._reachable():
                self.flush(seconds=seconds - LINGER_MS / 1000)
        finally:
            with self.lock:
                open_ = self.session.state is State.OPEN
                self.session.close()
                self._send_due()
                self._socket.close(linger=LINGER_MS if open_ else 0)
                self._context.term()

    def _reachable(self) -> bool:
        """Whether there is a daemon to wait for, if only once the connection is made again, as after a Ctrl-C."""
        waiting = self.session.state in (State.IDLE, State.GREETING)
        return self.session.state is State.OPEN or (waiting and self._dialled and launch.listening(self.endpoint))

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


class StreamOwner:
    """Who a stream belongs to; implemented in `offcam.stream`."""

    settled: bool

    def clip_done(self, message: ClipDone) -> None:
        """One of its clips is final."""
        raise NotImplementedError

    def abandon(self) -> None:
        """The process leaves: end what is open."""
        raise NotImplementedError


_guard = threading.Lock()
_current: Link | None = None
_inherited: list[Link] = []  # a parent's links, kept so that no finaliser touches its sockets


def current() -> Link:
    """This process's link, made on first use. It does not connect by itself: see `Link.establish`.

    Raises:
        ConfigError: ``OFFCAM_ADDR`` is malformed, or is ``tcp://`` and there is no key that can be used.
    """
    global _current  # noqa: PLW0603 - one link a process is what it is for
    with _guard:
        endpoint, named = settings.daemon_endpoint()
        if _current is None or _current.endpoint != endpoint:
            key = _inherited[-1].key if _inherited and _inherited[-1].endpoint == endpoint else None
            _current = Link(endpoint, named=named, key=key or keys.client_key(endpoint))
            _links.append(_current)
            _finish_in_worker()
        return _current


def _forget(link: Link) -> None:
    """Leave a link that came to nothing: the next try may be with another key."""
    global _current  # noqa: PLW0603 - see current()
    with _guard:
        _links.remove(link)
        _current = None
    link.session.close()
    link.shutdown()


def check() -> None:
    """Raise now, at construction, what is wrong with ``OFFCAM_ADDR`` or with the key for it.

    Raises:
        ConfigError, KeyRefused: as `current` and `Link.establish`.
    """
    endpoint, _ = settings.daemon_endpoint()
    if endpoint.path is None:
        with contextlib.suppress(DaemonUnavailable):
            current().establish()


_links: list[Link] = []


def _shutdown_all() -> None:
    deadline = time.monotonic() + EXIT_SECONDS
    while _links:
        link = _links.pop()
        if link.pid == os.getpid():
            link.shutdown(deadline - time.monotonic())


def _finish_in_worker() -> None:
    """A multiprocessing worker leaves by ``os._exit``, past atexit: hook into its own finalisers."""
    util = sys.modules.get("multiprocessing.util")
    process = sys.modules.get("multiprocessing.process")
    if util is not None and process is not None and process.parent_process() is not None:
        util.Finalize(None, _shutdown_all, exitpriority=100)


def _after_fork() -> None:
    global _current, _guard  # noqa: PLW0603 - see current()
    _guard = threading.Lock()
    _inherited.extend(_links)
    _links.clear()
    _current = None


atexit.register(_shutdown_all)
os.register_at_fork(after_in_child=_after_fork)
