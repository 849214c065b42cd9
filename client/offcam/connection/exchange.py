"""The messages between a process and its daemon: does the I/O for what the sans-I/O session decides."""

from __future__ import annotations

import os
import platform
import socket
import threading
import time
import uuid
import weakref
from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Protocol

import gymnasium

from offcam import logger
from offcam.connection import out_of_memory, timeouts
from offcam.connection.reconnect import Reconnect
from offcam.connection.transport import Transport
from offcam_proto import __version__
from offcam_proto.client_session import ClientSession, State
from offcam_proto.errors import RemoteProtocolError
from offcam_proto.messages import ClipDone, EndClip, Flushed, OpenClip, Refused, StreamOpened, StreamRefused, Welcome

if TYPE_CHECKING:
    from offcam.connection.shared_memory import Lying
    from offcam_proto.client_stream import ClientStream
    from offcam_proto.codec import Parts
    from offcam_proto.endpoints import Endpoint
    from offcam_proto.keys import KeyFile
    from offcam_proto.saving import SaveClip

_MOST_NAMES = 10
"""Most videos that a warning names."""


class Exchange:
    """Sends what a process's session has to say, and takes in what the daemon answers.

    Thread-safe: a lock serialises its users. `offcam.connection.connection.Connection` derives from it; the other parts
    of a connection know that only as an exchange.

    Args:
        endpoint: where the daemon is.
        named: whether ``OFFCAM_ADDR`` names it; else a daemon is started where none runs.
        key: the key to show to a daemon of another host, None for ``ipc://``.

    Attributes:
        pid: id of the process that it belongs to; a forked child makes its own.
        lock: held while the session or its streams are changed.
        session: the protocol's state.
        transport: the socket.
        reconnect: finds or starts a daemon again.
        owners: by handle, the owner of each stream, who hears what becomes of it.
        unsettled: owners kept alive until their files are final, even if nobody else keeps them.
        waiting: by stream, what the daemon cannot be told yet: frames in shared memory that an earlier daemon left, and
            what must follow these.
        answers: by token, the last answer to each flush that somebody waits for, None while there is none.
        encoded: whether a daemon has made a video of this process's frames: by then its encoders are loaded.
        last_heard: when the daemon last said something, by `time.monotonic`; 0 before.
        next_look: when, by `time.monotonic`, a frame that has its credit next takes in what the daemon said.
        held_since: when the first of the frames that are held back in slots was put there.
    """

    def __init__(self, endpoint: Endpoint, *, named: bool, key: KeyFile | None = None) -> None:
        self.pid = os.getpid()
        self.lock = _Lock()
        self.session = ClientSession(
            uuid.uuid4().bytes,
            pid=self.pid,
            host=socket.gethostname(),
            client=f"offcam/{__version__} python/{platform.python_version()} gymnasium/{gymnasium.__version__}",
        )
        self.transport = Transport(endpoint, key)
        self.reconnect = Reconnect(self.session, self.transport, named=named)
        self.owners: weakref.WeakValueDictionary[int, StreamHolder] = weakref.WeakValueDictionary()
        self.unsettled: set[StreamHolder] = set()
        self.waiting: dict[ClientStream, deque[Lying | OpenClip | EndClip | SaveClip]] = {}
        self.answers: dict[int, Flushed | None] = {}
        self.encoded = False
        self.last_heard = self.next_look = self.held_since = 0.0
        self._last_probe = 0.0
        self._later: deque[Callable[[], None]] = deque()
        self._warned: set[str] = set()
        self._starved = 0  # how many processes the kernel had killed for want of memory when the daemon last answered

    @property
    def endpoint(self) -> Endpoint:
        """Where the daemon is, or is to be."""
        return self.transport.endpoint

    @property
    def unacked(self) -> int:
        """Records that the daemon has yet to commit. Those of a stream that it refused stay among them."""
        with self.lock:
            return sum(stream.unacked for stream in self.session.streams.values() if stream.refused is None)

    def pump(self) -> None:
        """Take in what the daemon said and send what is due. Never blocks, never raises."""
        with self.lock:
            session = self.session
            if session.state is State.CLOSED:
                return
            while self._later:
                self._later.popleft()()
            now = time.monotonic()
            for parts in self.transport.received():
                self._receive(parts)
                self.last_heard = now
            self.next_look = now + timeouts.LOOK_SECONDS
            if session.state is State.OPEN and not self.transport.connected:
                session.lost()  # a thread that sends only once an ack has come would not learn of this otherwise
            self._probe(now)
            self.reconnect.greet_if_due(now)
            session.send_held()
            if session.held and now - self.held_since >= timeouts.HELD_SECONDS:
                session.flush_slots()
            self.send_due()
            if session.state is State.IDLE and (warning := self.reconnect.retry(now)):
                self.warn_once(warning, about="not started")

    def _probe(self, now: float) -> None:
        """Ask a silent daemon for a sign of life.

        libzmq reconnects by itself, to a new daemon if one is there: that one does not know this session, and says so
        to whoever sends something. A stream without credit, or between episodes, sends nothing else.
        """
        session = self.session
        silent = now - max(self._last_probe, self.last_heard) >= timeouts.ANSWER_SECONDS
        if silent and session.state is State.OPEN and session.streams:
            self._last_probe = now
            session.flush()  # nobody waits for the answer itself

    def wait(self, done: Callable[[], bool], seconds: float) -> bool:
        """Call `pump` until ``done()``, for at most ``seconds``. Returns whether it is done."""
        deadline, session = time.monotonic() + seconds, self.session
        with self.lock:
            session.flush_slots()
        while True:
            with self.lock:
                self.pump()
                if done():
                    return True
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                soon = 0.05 if session.state is State.OPEN and not self.waiting else timeouts.SOON_SECONDS
                self.transport.await_message(min(left, soon))

    def send_due(self) -> None:
        """Send the session's messages."""
        for parts in self.session.take():
            if not self.send(parts):
                return

    def send(self, parts: Parts) -> bool:
        """Send one message. Without a connection the session is told so, and records wait for the next one."""
        sent = False
        try:
            sent = self.transport.send(parts)
        finally:
            if not sent:
                self.session.lost()
        return sent

    def _receive(self, parts: list[bytes]) -> None:
        before, greeting = self.session.instance, self.session.state is State.GREETING
        try:
            message = self.session.receive(parts)
        except RemoteProtocolError as error:
            self.warn_once(
                f"the recorder daemon at {self.endpoint.url} broke the protocol ({error}), a bug in it or here: please "
                "report it. It is connected to anew; if that does not help, restart it with `offcam stop`."
            )
            self.session.lost()
            return
        if isinstance(message, Flushed):
            if message.token in self.answers:
                self.answers[message.token] = message
        elif isinstance(message, (StreamOpened, StreamRefused)) and (owner := self.owners.get(message.handle)):
            owner.answered(refused=message.text if isinstance(message, StreamRefused) else "")
        elif isinstance(message, Welcome) and greeting:
            if before is not None:
                self._say_what_broke(another=before != self.session.instance)
            self._starved = out_of_memory.kills()
        elif isinstance(message, Refused):
            self.warn_once(f"the recorder daemon refused this client, nothing more is recorded: {message.text}")
        elif isinstance(message, ClipDone) and (owner := self.owners.get(message.handle)):
            owner.videos.clip_done(message)
            self.encoded = self.encoded or message.encoded > 0
            if owner.videos.settled:
                self.unsettled.discard(owner)

    def _say_what_broke(self, *, another: bool) -> None:
        """Warn once, when there is a daemon again, of all videos of all streams that the last one had."""
        cut = [video for owner in set(self.owners.values()) for video in owner.videos.cut_off()]
        frames = sum(sent for _, sent, _ in cut)
        lying = sum(lying for _, _, lying in cut) if another else 0
        missing = "the last ones may be missing"
        if lying:
            of_others = f"; of the others {missing}" if lying < frames else ""
            missing = f"it records {lying} that lie in shared memory or on disk{of_others}"
        if not frames:
            return
        names = list(dict.fromkeys(name for name, *_ in cut))
        what = "died or was stopped, and another one goes on" if another else "was out of reach"
        if another and (starved := out_of_memory.kills() - self._starved) > 0:
            ended = "a process" if starved == 1 else f"{starved} processes"
            what = f"died (while it ran the kernel ended {ended} for want of memory), and another one goes on"
        named = ", ".join(names[:_MOST_NAMES]) + (", ..." if len(names) > _MOST_NAMES else "")
        logger.warn(
            f"the recorder daemon {what}: of {frames} frames sent for {len(cut)} videos {missing} "
            f"({named}); `offcam ls` counts them. {self.unacked} records of episodes and videos that are not "
            "known to be stored are sent again."
        )

    def later(self, work: Callable[[], None]) -> None:
        """Do something now if nobody is using the connection, else when somebody next does.

        For finalisers, which the garbage collector may run at any moment and on any thread.
        """
        self._later.append(work)
        if not self.lock.depth:
            self.pump()

    def warn_once(self, text: str, about: str = "") -> bool:
        """Warn once for each text; or, with ``about``, once for each thing that texts with different numbers are about.

        Returns whether it warned.
        """
        if (about or text) in self._warned:
            return False
        self._warned.add(about or text)
        logger.warn(text)
        return True


class _Lock:
    """A re-entrant lock.

    Attributes:
        depth: how often its holder has entered it, 0 where it is free.
        interrupted: work that a signal's handler leaves for when the main thread, which it interrupted, releases the
            lock.
    """

    def __init__(self) -> None:
        self.depth = 0
        self.interrupted: list[Callable[[], None]] = []
        self._lock = threading.RLock()

    def __enter__(self) -> None:
        self._lock.acquire()
        self.depth += 1

    def __exit__(self, *_: object) -> None:
        self.depth -= 1
        self._lock.release()
        if self.interrupted:
            self._go_on()

    @property
    def held(self) -> bool:
        """Whether this thread holds it."""
        return self._lock._is_owned()  # type: ignore[attr-defined,no-any-return]  # noqa: SLF001 - as threading's own

    def _go_on(self) -> None:
        if threading.current_thread() is threading.main_thread() and not self.held:
            work, self.interrupted = self.interrupted, []
            for each in work:
                each()


class Videos(Protocol):
    """The videos of a stream; `offcam.recorder.stream_videos.StreamVideos` implements it."""

    @property
    def settled(self) -> bool:
        """Whether no video is open or on its way to its final name."""

    @property
    def untold(self) -> bool:
        """Whether frames lie in shared memory that the daemon will be told of once it has opened the stream."""

    def clip_done(self, message: ClipDone) -> None:
        """Take in that a video is final."""

    def cut_off(self) -> Iterable[tuple[str, int, int]]:
        """The videos that a lost daemon had open, or had to finish.

        For each: its name, how many frames were sent for it, and how many of these lie in shared memory.
        """

    def take_over(self) -> None:
        """Have the frames recorded that a lost daemon has left in shared memory."""

    def end(self) -> None:
        """The process is ending: end the videos that are open."""


class StreamHolder(Protocol):
    """The owner of a stream; `offcam.recorder.env_stream.EnvStream` implements it."""

    @property
    def videos(self) -> Videos:
        """The videos of the stream."""

    def answered(self, *, refused: str) -> None:
        """The daemon has opened the stream, or refused it with a reason."""

    def abandon(self) -> None:
        """The process is ending: close the stream."""
