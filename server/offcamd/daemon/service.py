"""The daemon's socket and main loop: performs what the sessions say, between clients, encoders and the store.

One thread owns the sockets, the sessions and the books. The encoder pool and the store run on threads of their
own and report by events, which wake the loop through a socket pair.
"""

from __future__ import annotations

import contextlib
import functools
import os
import select
import socket
import tempfile
import threading
import time
import uuid
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import structlog
import zmq
from zmq.utils.monitor import recv_monitor_message

from offcam_proto.errors import ConfigError, DaemonError, EncodeError, OffcamError
from offcam_proto.limits import MAX_FRAME_BYTES, MAX_HEADER_BYTES, MAX_STREAMS_PER_SESSION
from offcam_runs.file_lock import NO_LOCKS_LINE, pid_namespace
from offcam_runs.json_text import dumps
from offcamd import __version__
from offcamd.config.settings import default_spool_dir
from offcamd.daemon.dispatcher import Dispatcher
from offcamd.daemon.stats import snapshot
from offcamd.encode.bounded_writer import BoundedWriters, half_of_memory
from offcamd.encode.disk_reserve import DiskReserve
from offcamd.encode.pool import EncoderPool
from offcamd.encode.self_test import self_test
from offcamd.process import file_descriptors
from offcamd.process.health import FAILED, SERVICE, STORE, TESTING, VIDEO, GuardedThread, Health
from offcamd.process.instance_lock import DaemonInfo, DaemonLock, private_umask
from offcamd.security.authenticator import LOCAL, Guard
from offcamd.security.key_store import KeyStore
from offcamd.store.store import Store
from offcamd.video.mp4 import VideoWriter

if TYPE_CHECKING:
    from collections.abc import Callable

    from offcam_proto.endpoints import Endpoint
    from offcamd.config.settings import Settings
    from offcamd.daemon.state import Peer
    from offcamd.video.writer import WriterFactory

log = structlog.get_logger(__name__)

TICK_SECONDS = 0.25
"""How often the loop looks at what time alone brings: vanished clients, flush progress, idleness."""

TURN_MESSAGES = 256
"""Most messages taken in before the encoders' and the store's events have their turn."""

BEHIND_SECONDS = 0.01
"""How soon a loop that does not read, as the store is behind, looks again."""

MOST_QUEUED_IN = 32
"""Messages of one local client that libzmq takes in ahead of us. What is behind them waits in the client."""

MOST_QUEUED_OUT = 4 * MAX_STREAMS_PER_SESSION
"""Answers that one client may leave unread, a few for each stream that it can have; then it counts as gone."""

FINISH_SECONDS = 60.0
"""How long a stop waits for queued frames to be encoded; a second stop waits no longer."""

SIGNAL_SECONDS = 0.2
"""Longest time until a signal that another thread received is handled."""

HEARTBEAT_MS = 1000
"""How often a remote client that is silent is asked for a sign of life. Its libzmq gives it, however busy Python is.
A local one is watched by `offcamd.daemon.liveness`, as libzmq does not bear heartbeats together with
`MOST_QUEUED_IN`."""

HEARTBEAT_TIMEOUT_MS = 4000
"""How long that may take: then the process is frozen, or its host is gone, and its connection is closed."""

QUIET_MS = 50
DRAIN_SECONDS = 0.5
"""A stop goes on receiving until no message has come for a moment, or for so long from clients that never pause."""

GOODBYE_MS = 1000
"""How long the last answers may take to leave."""


class Service:
    """The recorder daemon. `start` it, `wait` for it, `stop` it from any thread or a signal handler.

    Args:
        settings: what it was told.
        writer_factory: makes what encodes a clip; for tests with slow or failing encoders.
    """

    def __init__(self, settings: Settings, writer_factory: WriterFactory = VideoWriter) -> None:
        self.settings = settings
        self.endpoint = settings.endpoint
        self.lock = DaemonLock(settings.endpoint)
        self.instance = uuid.uuid4().bytes
        self.started = time.time()
        self.began = time.monotonic()  # for its uptime: the clock of `started` may be set
        self.health = Health()
        self._writer_factory = writer_factory
        self._events: deque[object] = deque()
        self._stops = 0
        self._stop_reason = ""
        self._finished = threading.Event()
        self._thread: threading.Thread | None = None

    # --- from any thread ----------------------------------------------------------------------------------

    def start(self) -> None:
        """Take the lock, bind the endpoint, start the threads.

        Raises:
            ConfigError: the endpoint's directory cannot be used, or ``tcp://`` is wanted and the keys cannot.
            DaemonAlreadyRunning: another daemon owns the endpoint.
            DaemonError: the socket cannot be bound.
        """
        if short := file_descriptors.shortage(file_descriptors.raise_limit()):
            log.warning("few file descriptors", problem=short, fix=file_descriptors.FIX)
        self._settle_spool()
        http = self.settings.http.url if self.settings.http else None
        self.lock.acquire(
            DaemonInfo(
                pid=os.getpid(),
                endpoint=self.endpoint.url,
                http=http,
                version=__version__,
                log_file=str(self.settings.log_file) if self.settings.log_file else None,
                started=self.started,
                pid_namespace=pid_namespace(),
                tcp=self.settings.tcp.url if self.settings.tcp else None,
            ),
        )
        try:
            self._bind()
        except OffcamError:
            self._close_sockets(linger=0)
            self.lock.release()
            raise
        self._wake_out, self._wake_in = socket.socketpair()
        for end in (self._wake_out, self._wake_in):
            end.settimeout(0)
        reserve = DiskReserve(self.settings.disk_reserve_bytes)
        self.store = Store(self._post, self.endpoint.url, self.health)
        self.pool = EncoderPool(
            workers=self.settings.encoders,
            memory_limit=self.settings.memory_limit_bytes,
            spool_limit=self.settings.spool_limit_bytes,
            spool_dir=self.settings.spool_dir,
            on_event=self._post,
            writer_factory=BoundedWriters(self._writer_factory, reserve, half_of_memory()),
            health=self.health,
        )
        # frames that wait must not take the room of the videos that they are to become
        self.pool.budget.spool_open = lambda: not reserve.missing(self.settings.spool_dir, reserves=2)
        self.dispatcher = Dispatcher(self.settings, self.instance, self.pool, self.store, self.stats_json)
        self._thread = threading.Thread(target=self._run, name="offcam-service", daemon=True)
        self._thread.start()
        tcp = self.settings.tcp.url if self.settings.tcp else None
        if self.lock.unlocked:
            log.warning(NO_LOCKS_LINE, self.lock.paths.directory, self.lock.unlocked)
        log.info("listening", endpoint=self.endpoint.url, tcp=tcp, http=http, version=__version__)

    def _settle_spool(self) -> None:
        """Make the folder for frames that wait; nobody who named none needs one."""
        folder = self.settings.spool_dir
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            if str(folder) != default_spool_dir(os.environ):
                raise ConfigError(
                    f"cannot write in the folder {folder} for frames that wait ({error.strerror}): name another with "
                    "--spool-dir.",
                ) from error
            log.warning("frames wait in memory alone", problem=str(error), fix="name a folder with --spool-dir")
            self.settings = replace(self.settings, spool_limit_bytes=0)

    def wait(self) -> None:
        """Return when the service has stopped and everything is final. Interrupted by signals' handlers."""
        # The kernel may give a signal to any thread, and Python runs its handler in this one, when it next wakes.
        while not self._finished.wait(SIGNAL_SECONDS):
            pass

    def test_itself(self) -> None:
        """Make one tiny video and read it, on a thread of its own. If that fails, no other is made: each ends so."""
        GuardedThread(VIDEO, self._test_itself, self.health, name="offcam-self-test").start()

    def _test_itself(self) -> None:
        self.health.self_test = TESTING
        outcome = self_test(self._writer_factory, (self.settings.spool_dir, self.lock.paths.directory))
        self.health.self_test = outcome.state
        log.info("self-test", outcome=outcome.state, found=outcome.text, seconds=round(outcome.seconds, 3))
        if outcome.state == FAILED:
            self.health.down(VIDEO, outcome.text)
            self.pool.refuse(EncodeError(outcome.text))

    @property
    def unfinished(self) -> list[str]:
        """What was not finished when the service stopped, for people; empty where everything is final."""
        problems = self.health.problems
        found = [problems[part] for part in (SERVICE, STORE) if part in problems]
        found += [f"{video} is not final" for video in self.pool.unfinished]
        return found + [f"the index of {folder} has not all that was recorded" for folder in self.store.unfinished]

    def stop(self, reason: str) -> None:
        """Finish what is queued, finalise every file, and leave. A second call drops what is still queued."""
        self._stops += 1
        self._stop_reason = self._stop_reason or reason
        if self._thread is not None:
            self._wake()

    @property
    def ready(self) -> bool:
        """Whether it takes in what clients send: it has started, and is not about to stop."""
        return self._thread is not None and not self._stops and not self._finished.is_set()

    def stats(self) -> dict[str, Any]:
        """A JSON-ready snapshot of the daemon's statistics."""
        return snapshot(self)

    def stats_json(self) -> bytes:
        """The same as JSON text."""
        return dumps(self.stats()).encode()

    def _post(self, event: object) -> None:
        self._events.append(event)
        self._wake()

    def _wake(self) -> None:
        with contextlib.suppress(OSError):  # full: the loop is about to wake; closed: there is none any more
            self._wake_in.send(b"\0")

    # --- the service's thread -----------------------------------------------------------------------------

    def _bind(self) -> None:
        self._context = zmq.Context()
        self._router = self._context.socket(zmq.ROUTER)
        for option, value in (
            (zmq.LINGER, 0),
            (zmq.SNDHWM, MOST_QUEUED_OUT),
            (zmq.RCVHWM, MOST_QUEUED_IN),
            (zmq.BACKLOG, 1024),  # with libzmq's 100 a crowd that comes at once waits whole seconds, in TCP's retries
            # no credit can be had for more than the memory limit
            (zmq.MAXMSGSIZE, min(MAX_FRAME_BYTES, max(self.settings.memory_limit_bytes, MAX_HEADER_BYTES))),
            (zmq.ROUTER_MANDATORY, 1),  # a vanished peer is an error, not a silence
        ):
            self._router.setsockopt(option, value)
        self._monitor = self._router.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        tcp = self.settings.tcp
        self._guard = Guard(self._context, KeyStore(self.settings.keys), self.health) if tcp else None
        if self._guard is not None:
            self._guard.before_local(self._router)
        with private_umask():
            self._listen(self.endpoint)
        if self._guard is not None and tcp is not None:
            self._guard.before_remote(self._router)  # options hold for what is bound next, so the socket keeps its own
            self._router.setsockopt(zmq.IPV6, int(":" in str(tcp.host)))
            self._router.setsockopt(zmq.RCVHWM, 0)  # see `offcamd.daemon.liveness`: either this or heartbeats
            self._router.setsockopt(zmq.HEARTBEAT_IVL, HEARTBEAT_MS)
            self._router.setsockopt(zmq.HEARTBEAT_TIMEOUT, HEARTBEAT_TIMEOUT_MS)
            self._listen(tcp)

    def _listen(self, endpoint: Endpoint) -> None:
        try:
            self._router.bind(endpoint.url)
        except zmq.ZMQError as error:
            fix = "Set OFFCAM_ADDR to another."
            if endpoint.path is None:
                fix = "Give --tcp a free port and an address of this host, or 0.0.0.0 for all it has."
            raise DaemonError(f"cannot listen at {endpoint.url}: {error}. {fix}") from error

    def _close_sockets(self, linger: int) -> None:
        self._router.disable_monitor()
        self._monitor.close(linger=0)
        self._router.close(linger=linger)
        self._context.term()

    def _run(self) -> None:
        with contextlib.ExitStack() as stack:
            stack.callback(self._finished.set)
            stack.callback(self._wake_out.close)
            stack.callback(self._wake_in.close)
            stack.callback(lambda: self.lock.release(self.unfinished))
            stack.callback(self._close_sockets, linger=GOODBYE_MS)
            with self.health.survive(SERVICE, "its loop", self._failed):
                self._loop()
            self._finish()

    def _failed(self, error: BaseException) -> None:
        """The loop cannot go on: what came is finished, and the daemon leaves."""
        self._stop_reason = self._stop_reason or "failure"
        self.health.down(SERVICE, f"the service was ended by {error!r}")

    def _loop(self) -> None:
        poller = zmq.Poller()
        for readable in (self._monitor, self._wake_out):
            poller.register(readable, zmq.POLLIN)
        next_tick = 0.0
        while not self._stops:
            behind = self.store.behind
            poller.register(self._router, 0 if behind else zmq.POLLIN)
            ready = dict(poller.poll(int((BEHIND_SECONDS if behind else TICK_SECONDS) * 1000)))
            self._turn(ready)
            if time.monotonic() >= next_tick:
                next_tick = time.monotonic() + TICK_SECONDS
                with self.health.survive(SERVICE, "its books"):
                    self.dispatcher.tick()
                if self.dispatcher.idle_for(self.settings.idle_seconds):
                    self.stop("idle")
            self._answer()

    def _turn(self, ready: dict[Any, int]) -> None:
        """Take in what is there: messages first, then who left, then what the other threads report."""
        if self._router in ready:
            self._receive(TURN_MESSAGES)
        if self._monitor in ready:
            self._see_who_left()
        self._handle_events()

    def _see_who_left(self) -> None:
        while self._monitor.poll(0):
            self.dispatcher.disconnected(int(recv_monitor_message(self._monitor)["value"]))

    def _receive(self, most: int) -> bool:
        """Take in messages, of all clients in turn; returns whether there may be more.

        While the store is behind they stay where they are: what floods it is held up, and takes no memory here.
        """
        for _ in range(most):
            if self.store.behind:
                return True
            try:
                identity, *parts = self._router.recv_multipart(zmq.DONTWAIT, copy=False)
            except zmq.Again:
                return False
            user = LOCAL if self._guard is None else self._guard.user(identity)
            if user is None:
                continue
            if identity.bytes not in self.dispatcher.peers:
                self._see_who_left()  # whose connection's number the newcomer may have
            connection = int(parts[-1].get(zmq.SRCFD)) if parts else -1
            let_go = functools.partial(self.dispatcher.let_go, identity.bytes)
            with self.health.survive(SERVICE, "a client's message", let_go):
                self.dispatcher.message(identity.bytes, connection, [part.buffer for part in parts], user)
        return True

    def _handle_events(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while self._wake_out.recv(4096):
                pass
        while self._events:
            event = self._events.popleft()
            with self.health.survive(SERVICE, type(event).__name__, functools.partial(self.dispatcher.give_up, event)):
                self.dispatcher.event(event)

    def _answer(self) -> None:
        """Send what the sessions have to say."""
        for peer in self.dispatcher.speaking():
            let_go = functools.partial(self.dispatcher.let_go, peer.identity)
            with self.health.survive(SERVICE, "an answer", let_go):
                self._send(peer)

    def _send(self, peer: Peer) -> None:
        try:
            for parts in peer.session.take():
                self._router.send_multipart([peer.identity, *parts], zmq.DONTWAIT)
        except zmq.ZMQError as error:  # EHOSTUNREACH: it left, perhaps unread; EAGAIN: it reads nothing any more
            log.debug("an answer found nobody", peer=peer.identity.hex(), problem=str(error))
            self.dispatcher.unreachable(peer)

    def _finish(self) -> None:
        """Encode what was received, finalise, commit, and say goodbye; each as far as it can be."""
        log.info("stopping", reason=self._stop_reason)
        for step in (
            self._receive_the_last,
            lambda: self._serve_events_during(lambda: self.pool.close(FINISH_SECONDS)),
            lambda: self._serve_events_during(self.store.close),
        ):
            with self.health.survive(SERVICE, "its end", self._failed):
                step()

    def _receive_the_last(self) -> None:
        self.lock.update(stopping=True)
        deadline = time.monotonic() + DRAIN_SECONDS
        # what clients have sent may still be under way: take it in until nothing has come for a moment
        while self._router.poll(QUIET_MS) and self._stops < 2 and time.monotonic() < deadline:
            self._receive(TURN_MESSAGES)
            self._handle_events()
            self._answer()
        self.dispatcher.goodbye(self._stop_reason)
        self._answer()

    def _serve_events_during(self, work: Callable[[], object]) -> None:
        """Go on handling events while something waits for their consequences; a second stop hurries it."""
        thread = GuardedThread(SERVICE, work, self.health, name="offcam-finish")
        thread.start()
        hurried = False
        while thread.is_alive() or self._events:
            select.select([self._wake_out], [], [], 0.05)
            self._handle_events()
            self._answer()
            if self._stops > 1 and not hurried:
                hurried = True
                threading.Thread(target=self.pool.close, args=(0.0,), daemon=True).start()
        thread.join()
