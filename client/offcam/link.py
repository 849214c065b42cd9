"""The one connection of a process to the daemon: performs what the sans-I/O session decides.

Everything that touches ZeroMQ in the client is here. There is no thread: frames are handed to libzmq's I/O
thread from the agent's own, and the daemon's answers are read at the next call.
"""

from __future__ import annotations

import atexit
import os
import platform
import socket
import sys
import threading
import time
import uuid
import weakref
from importlib.metadata import version
from typing import TYPE_CHECKING

import gymnasium
import zmq
from gymnasium import logger

from offcam import launch, settings
from offcam.progress import Progress
from offcam_proto.client_session import ClientSession, ClientStream, State
from offcam_proto.errors import (
    DaemonError,
    DaemonUnavailable,
    FolderNotWritable,
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

HANDSHAKE_SECONDS = 5.0
"""How long construction waits for a daemon that listens to answer."""

PATIENCE_SECONDS = 0.008
"""Longest wait for credit in one step under ``overflow="drop"``, or as long as the step itself took if that is
longer: while the daemon makes progress, a crowded machine slows the loop down a little rather than lose frames."""

MOST_PATIENCE_SECONDS = 0.1
"""Longest wait for credit in a step that itself took longer than this."""

BLOCK_SECONDS = 30.0
"""Longest wait for credit in one step under ``overflow="block"``."""

RETRY_SECONDS = 0.25
"""How often a step looks for a daemon that is gone."""

RELAUNCH_SECONDS = 30.0
"""How often an embedded daemon that died is started again."""

SILENCE_SECONDS = 10.0
"""A flush gives up when the daemon has said nothing for this long."""

EXIT_SECONDS = 30.0
"""Longest wait at interpreter exit for recordings that were never closed."""

LINGER_MS = 2000
"""Longest wait at exit for the last bytes to leave."""


class Link:
    """A process's session with one daemon. Thread-safe: a lock serialises the socket's users.

    Attributes:
        pid: the process it belongs to; a forked child makes its own.
        session: the protocol's state.
    """

    def __init__(self, endpoint: Endpoint, *, named: bool) -> None:
        self.pid = os.getpid()
        self.endpoint = endpoint
        self.session = ClientSession(
            uuid.uuid4().bytes,
            pid=self.pid,
            host=socket.gethostname(),
            client=f"offcam/{version('offcam')} python/{platform.python_version()} gymnasium/{gymnasium.__version__}",
        )
        self._named = named
        self._lock = threading.RLock()
        self._streams: weakref.WeakValueDictionary[int, StreamOwner] = weakref.WeakValueDictionary()
        self._owners: weakref.WeakSet[StreamOwner] = weakref.WeakSet()
        self._flushed: dict[int, Flushed] = {}
        self._next_try = 0.0
        self._next_launch = time.monotonic() + RELAUNCH_SECONDS
        self._stalled_at = -1  # the credit that a wait in vain left behind
        self._warned: set[str] = set()
        self._context = zmq.Context()
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
        dealer.connect(self.endpoint.url)
        return dealer

    # --- connecting ---------------------------------------------------------------------------------------

    def establish(self) -> None:
        """Find or start the daemon and shake hands; returns at once where that is done already.

        Raises:
            DaemonNotInstalled, DaemonUnavailable: there is none and none could be started.
            VersionMismatch: it speaks another version of the protocol.
        """
        with self._lock:
            self.pump()
            if self.session.state is State.OPEN:
                return
            if not launch.listening(self.endpoint):
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

    def raise_if_refused(self) -> None:
        """Raise what the daemon said where it refused this session."""
        refused = self.session.refused
        if refused is not None:
            error = VersionMismatch if refused.code == VersionMismatch.reason else RemoteProtocolError
            raise error(f"the recorder daemon at {self.endpoint.url} refused this client: {refused.text}")

    def open_stream(self, info: OpenStream, owner: StreamOwner) -> ClientStream:
        """Open a stream; its owner hears of its clips' ends."""
        with self._lock:
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
        with self._lock:
            session = self.session
            if session.state is State.CLOSED:
                return
            while int(self._socket.getsockopt(zmq.EVENTS)) & zmq.POLLIN:
                self._receive(self._socket.recv_multipart(zmq.DONTWAIT))
            if session.state is State.IDLE and time.monotonic() >= self._next_try:
                self._next_try = time.monotonic() + RETRY_SECONDS
                session.connect()
            self._send_due()
            if session.state is State.IDLE:
                self._relaunch()

    def send_frame(
        self,
        wire: ClientStream,
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
        with self._lock:
            self.pump()  # what is due goes before the frame: its clip may have to be opened first
            cost = sum(picture.layout.nbytes for picture in pictures)
            if cost > wire.credit and wire.live:
                self._await_credit(wire, cost, patience)
            if not wire.live:
                return "no_daemon"
            if cost > wire.credit:
                return "credit"
            pixels = tuple(picture.snapshot() for picture in pictures)
            parts = wire.frame(clip, index, tuple(picture.layout for picture in pictures), pixels)
            assert parts is not None  # noqa: S101 - the credit was just checked
            return None if self._send(parts) else "no_daemon"

    def _await_credit(self, wire: ClientStream, cost: int, patience: float) -> None:
        blocking = patience >= BLOCK_SECONDS

        def ready() -> bool:
            return wire.credit >= cost or not wire.live or (wire.saturated and not blocking)

        # one wait that was in vain is enough: no step waits again until credit has come
        if blocking or (not wire.saturated and self._stalled_at != wire.credit):
            self._stalled_at = -1 if self.wait(ready, patience) else wire.credit

    def wait(self, done: Callable[[], bool], seconds: float) -> bool:
        """Pump until ``done()`` or the time is over. Returns whether it is done."""
        deadline = time.monotonic() + seconds
        while True:
            with self._lock:
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

    def _send_due(self) -> None:
        for parts in self.session.take():
            if not self._send(parts):
                return

    def _send(self, parts: Parts) -> bool:
        """Send one message; where there is no connection, the session hears of it: records wait for the next one."""
        try:
            self._socket.send_multipart(parts, zmq.DONTWAIT, copy=False)
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
        if self._named or now < self._next_launch or launch.listening(self.endpoint):
            return
        self._next_launch = now + RELAUNCH_SECONDS
        threading.Thread(target=self._relaunch_now, name="offcam-relaunch", daemon=True).start()

    def _relaunch_now(self) -> None:
        try:
            launch.start_embedded()
        except DaemonError as error:
            self.warn_once(f"the recorder daemon is gone and could not be started again: {error}")

    def warn_once(self, text: str) -> None:
        """Warn, once for each text."""
        if text not in self._warned:
            self._warned.add(text)
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
        with Progress("offcam: finishing videos", always=not quiet) as progress:
            while True:
                with self._lock:
                    self.pump()
                    if self.session.state is not State.OPEN:
                        token = None  # a new daemon has to be asked anew
                    elif token is None:
                        token, heard = self.session.flush(), time.monotonic()
                        self.pump()
                    answer = self._flushed.pop(token, None) if token is not None else None
                if answer is not None:
                    heard, last = time.monotonic(), answer
                    if answer.clips == 0 and self._settled():
                        return True
                    if answer.clips == 0:
                        token = None
                progress.show(f"{last.clips} left, {last.frames} frames" if last else "asking the daemon")
                now = time.monotonic()
                if now - heard > SILENCE_SECONDS or (seconds is not None and now - start > seconds):
                    return False
                if self.session.state in (State.REFUSED, State.CLOSED):
                    return False
                self.wait(lambda token=token: token in self._flushed, 0.1)  # type: ignore[misc]  # bound early

    def _settled(self) -> bool:
        return all(stream.unacked == 0 for stream in self.session.streams.values())

    def shutdown(self) -> None:
        """Finish what is still open and leave; at interpreter exit, within `EXIT_SECONDS`."""
        try:
            for owner in list(self._owners):
                owner.abandon()
            self.pump()
            if self.session.state is State.OPEN and not self._settled_for_good():
                self.flush(seconds=EXIT_SECONDS)
        finally:
            with self._lock:
                open_ = self.session.state is State.OPEN
                self.session.close()
                self._send_due()
                self._socket.close(linger=LINGER_MS if open_ else 0)
                self._context.term()

    def _settled_for_good(self) -> bool:
        return self._settled() and all(owner.settled for owner in list(self._owners))


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
        ConfigError: ``OFFCAM_ADDR`` is malformed.
    """
    global _current  # noqa: PLW0603 - one link a process is what it is for
    with _guard:
        endpoint, named = settings.daemon_endpoint()
        if _current is None or _current.endpoint != endpoint:
            _current = Link(endpoint, named=named)
            _links.append(_current)
            _finish_in_worker()
        return _current


_links: list[Link] = []


def _shutdown_all() -> None:
    while _links:
        link = _links.pop()
        if link.pid == os.getpid():
            link.shutdown()


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
