"""The recorder daemon as a whole: takes the lock, starts its parts, and is told to stop."""

from __future__ import annotations

import contextlib
import importlib
import os
import tempfile
import threading
import time
import uuid
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from offcam_proto.errors import ConfigError, EncodeError
from offcam_runs.file_lock import NO_LOCKS_LINE, pid_namespace
from offcam_runs.json_text import dumps
from offcamd import __version__
from offcamd.config.settings import Settings, default_spool_dir
from offcamd.daemon.dispatcher import Dispatcher
from offcamd.daemon.inbox import Inbox
from offcamd.daemon.loop import Loop
from offcamd.daemon.lost_file import LostFile
from offcamd.daemon.shown_file import ShownFile
from offcamd.daemon.shutdown import shut_down
from offcamd.daemon.stats import snapshot
from offcamd.daemon.transport import Transport
from offcamd.encode.bounded_writer import BoundedWriters, half_of_memory
from offcamd.encode.disk_reserve import DiskReserve
from offcamd.encode.pool import EncoderPool
from offcamd.encode.workers.process import WorkerLost
from offcamd.encode.workers.wire import Setup
from offcamd.process import file_descriptors
from offcamd.process.health import FAILED, SERVICE, SKIPPED, STORE, TESTING, VIDEO, GuardedThread, Health
from offcamd.process.instance_lock import DaemonInfo, DaemonLock
from offcamd.process.logs import Logger
from offcamd.process.signals import wait_for
from offcamd.store.left_frames import left_behind
from offcamd.store.run_reader import RunReader
from offcamd.store.store import Store
from offcamd.store.tasks import LookTask
from offcamd.video.late_writers import software

if TYPE_CHECKING:
    from offcamd.video.writer import WriterFactory

log = Logger(__name__)

GOODBYE_MS = 1000
"""How long the last answers may take to leave."""

_SELF_TEST_SECONDS = 5.0
"""How long a stop waits for the self-test, in which a library may hang."""


class Service:
    """The recorder daemon. `start` it, `wait` for it, `stop` it from any thread or a signal handler.

    Args:
        settings: the daemon's settings.
        writer_factory: makes a clip's writer; for tests with slow or failing encoders.
        apart: whether clips are made by processes of their own, with the encoder that the settings name.

    Attributes:
        finished: set when the service has stopped and everything is final.
        info: what its lock file says of it, once it has started.
        shown: the run folders that daemons at this endpoint have written, once it has started.
    """

    def __init__(self, settings: Settings, writer_factory: WriterFactory = software, *, apart: bool = False) -> None:
        self.settings = settings
        self.endpoint = settings.endpoint
        self.lock = DaemonLock(settings.endpoint)
        self.instance = uuid.uuid4().bytes
        self.started = time.time()
        self.began = time.monotonic()  # for its uptime, as the clock of `started` may be set
        self.health = Health()
        self._writer_factory = writer_factory
        self._apart = apart
        self._inbox = Inbox()
        self.finished = threading.Event()
        self._thread: threading.Thread | None = None
        self._self_test: threading.Thread | None = None

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
        self.info = DaemonInfo(
            pid=os.getpid(),
            endpoint=self.endpoint.url,
            http=self.settings.http.url if self.settings.http else None,
            version=__version__,
            log_file=str(self.settings.log_file) if self.settings.log_file else None,
            started=self.started,
            pid_namespace=pid_namespace(),
            tcp=self.settings.tcp.url if self.settings.tcp else None,
        )
        with contextlib.ExitStack() as undo:
            undo.callback(self._inbox.close)
            self.lock.acquire(self.info)
            undo.callback(self.lock.release)
            transport = Transport(self.settings, self.health, self._inbox.waker)
            undo.pop_all()
        reserve = DiskReserve(self.settings.disk_reserve_bytes)
        self.store = Store(self._inbox.post, self.endpoint.url, self.health, self.settings.steps_limit_bytes)
        writers = BoundedWriters(self._writer_factory, reserve, half_of_memory())
        self.pool = EncoderPool(
            workers=self.settings.encoders,
            memory_limit=self.settings.memory_limit_bytes,
            spool_limit=self.settings.spool_limit_bytes,
            spool_dir=self.settings.spool_dir,
            on_event=self._inbox.post,
            writer_factory=writers,
            health=self.health,
            ring_factory=writers.ring,
            setup=self._setup() if self._apart else None,
        )
        # frames that wait must not take the room of the videos that they are to become
        self.pool.budget.spool_open = lambda: not reserve.missing(self.settings.spool_dir, reserves=2)
        self.shown = ShownFile(self.lock.paths.shown)
        if self.settings.http:
            self.shown.served_at(self.settings.http.port)
        self.dispatcher = Dispatcher(
            *(self.settings, self.instance, self.pool, self.store, self.stats_json),
            LostFile(self.lock.paths.lost),
            self.shown,
            RunReader(self._inbox.post, self.health),
        )
        self._loop = Loop(
            transport=transport, inbox=self._inbox, dispatcher=self.dispatcher, store=self.store, health=self.health
        )
        self._thread = threading.Thread(target=self._run, name="offcam-service", daemon=True)
        self._thread.start()

    def _setup(self) -> Setup:
        settings = self.settings
        return Setup(settings.encoder, settings.disk_reserve_bytes, half_of_memory() // settings.encoders)

    def _settle_spool(self) -> None:
        """Make the spool's folder. Without one there is no spool, but a folder that was named must be usable."""
        folder = self.settings.spool_dir
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            if str(folder) != default_spool_dir(os.environ):
                raise ConfigError(
                    f"cannot write in the folder {folder} for frames that wait ({error.strerror}): name another with "
                    "--spool-dir."
                ) from error
            log.warning("frames wait in memory alone", problem=str(error), fix="name a folder with --spool-dir")
            self.settings = replace(self.settings, spool_limit_bytes=0)

    def tell(self) -> None:
        """Load psutil, and log where the daemon listens. Called once it takes records."""
        with contextlib.suppress(ImportError):  # raised again where it is used
            importlib.import_module("psutil")  # else the service's thread loads it during the first recording
        if self.lock.unlocked:
            log.warning(NO_LOCKS_LINE, self.lock.paths.directory, self.lock.unlocked)
        info = self.info
        log.info("listening", endpoint=info.endpoint, tcp=info.tcp, http=info.http, version=info.version)

    def take_in_what_was_left(self) -> None:
        """Have the frames recorded that clients left when they and their daemon died."""
        for folder in left_behind(self.endpoint.url, self.settings.spool_dir):
            self.store.put(LookTask(folder))

    def wait(self) -> None:
        """Return when the service has stopped and everything is final. Raises what signal handlers raise."""
        wait_for(self.finished)
        if self._self_test is not None:
            self._self_test.join(_SELF_TEST_SECONDS)  # so that it removes its file

    def test_itself(self) -> None:
        """Make one tiny video and read it, on a thread of its own. If that fails, each clip ends with that error."""
        self._self_test = GuardedThread(VIDEO, self._test_itself, self.health, name="offcam-self-test")
        self._self_test.start()

    def _test_itself(self) -> None:
        self.health.self_test = TESTING
        try:
            state, text, seconds = self.pool.self_test((self.settings.spool_dir, self.lock.paths.directory))
        except WorkerLost as lost:
            text = f"no video can be made here, as the process that tried is gone: {lost}. Run: offcam doctor"
            state, seconds = SKIPPED if lost.killed else FAILED, 0.0
        if state == FAILED:
            self.health.down(VIDEO, text)
            self.pool.refuse(EncodeError(text))
        self.health.self_test = state  # last: who knows that it failed may rely on what follows from that
        log.info("self-test", outcome=state, found=text, seconds=round(seconds, 3))

    @property
    def unfinished(self) -> list[str]:
        """What was not finished when the service stopped, for people; empty where everything is final."""
        problems = self.health.problems
        found = [problems[part] for part in (SERVICE, STORE) if part in problems]
        found += [f"{video} is not final" for video in self.pool.unfinished]
        return found + [f"the index of {folder} has not all that was recorded" for folder in self.store.unfinished]

    def stop(self, reason: str) -> None:
        """Finish what is queued, finalise every file, and leave. A second call drops what is still queued."""
        self._inbox.stop(reason)

    @property
    def ready(self) -> bool:
        """Whether it takes in what clients send: it has started, and is not about to stop."""
        return self._thread is not None and not self._inbox.stops and not self.finished.is_set()

    def stats(self) -> dict[str, Any]:
        """A JSON-ready snapshot of the daemon's statistics."""
        return {
            "started": self.started,
            "uptime_seconds": time.monotonic() - self.began,
            **snapshot(self.settings, self.dispatcher, self.pool, self.store, self.health),
        }

    def stats_json(self) -> bytes:
        """The same as JSON text."""
        return dumps(self.stats()).encode()

    # --- the service's thread -----------------------------------------------------------------------------

    def _run(self) -> None:
        with contextlib.ExitStack() as stack:
            stack.callback(self.finished.set)
            stack.callback(self._inbox.close)
            stack.callback(lambda: self.lock.release(self.unfinished))
            stack.callback(self._loop.transport.close, GOODBYE_MS)
            with self.health.survive(SERVICE, "its loop", self._failed):
                self._loop.run(self.settings.idle_seconds)
            shut_down(self._loop, self.pool, self.lock, self._failed)

    def _failed(self, error: BaseException) -> None:
        """Note that the loop cannot go on: what came is finished, then the daemon ends."""
        self._inbox.stop_reason = self._inbox.stop_reason or "failure"
        self.health.down(SERVICE, f"the service was ended by {error!r}: report it, and start the daemon again")
