"""Coming by a daemon again: greeting it, starting the embedded one, and knowing when none will come."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from offcam.connection import launch, settings, timeouts
from offcam_proto.client_session import ClientSession, State
from offcam_proto.errors import DaemonError, DaemonNotReady, DaemonUnavailable

if TYPE_CHECKING:
    from offcam.connection.transport import Transport
    from offcam_proto.endpoints import Endpoint


class Starter:
    """Starts the embedded daemon off the agent's thread, one start at a time, and knows what came of it.

    The first start is due at once, a later one after a pause since the last, which doubles each time from
    `timeouts.LEAST_PAUSE_SECONDS` to `timeouts.MOST_PAUSE_SECONDS` and is short again once a daemon has answered.

    Attributes:
        failure: why the last start came to nothing, or None.
        listens: whether one that was started listens; whoever acts on it sets it back.
    """

    def __init__(self) -> None:
        self.failure: DaemonError | None = None
        self.listens = False
        self._thread: threading.Thread | None = None
        self._said: DaemonError | None = None
        self._pause = timeouts.LEAST_PAUSE_SECONDS
        self._next = 0.0  # when the next start is due, by `time.monotonic`

    @property
    def running(self) -> bool:
        """Whether a daemon is being started."""
        return self._thread is not None and self._thread.is_alive()

    @property
    def failed(self) -> bool:
        """Whether the last start came to nothing; one that takes long has not."""
        return self.failure is not None and not isinstance(self.failure, DaemonNotReady)

    @property
    def due(self) -> bool:
        """Whether the pause since the last start is over, and so is that start."""
        return not self.running and time.monotonic() >= self._next

    def answered(self) -> None:
        """A daemon works: the next one that is needed is not waited for."""
        self._pause = timeouts.LEAST_PAUSE_SECONDS
        self._next = 0.0

    def begin(self, endpoint: Endpoint, *, leaving: float | None = None) -> None:
        """Start one at an endpoint. The thread dies with the process, the daemon's launcher does not.

        Args:
            endpoint: where it is to listen.
            leaving: how long that may take on this thread, where the process leaves: Python has no new ones by then.
        """
        self.failure = None
        if leaving is not None:
            self._start(endpoint, leaving)
            return
        self._thread = threading.Thread(
            target=self._start, args=(endpoint, timeouts.LAUNCH_SECONDS), name="offcam-launch", daemon=True
        )
        try:
            self._thread.start()
        except RuntimeError as error:  # the system has no more threads for us
            self._thread, self.failure = None, DaemonUnavailable(f"the recorder daemon could not be started: {error}.")
            self._rest()

    def _rest(self) -> None:
        self._next = time.monotonic() + self._pause
        self._pause = min(2 * self._pause, timeouts.MOST_PAUSE_SECONDS)

    def _start(self, endpoint: Endpoint, seconds: float) -> None:
        try:
            launch.start_embedded(endpoint, seconds)
        except DaemonError as error:  # said by the agent's thread: filters of warnings are for one thread
            self.failure = error
        else:
            self.listens = True
        finally:
            self._rest()

    def said(self) -> None:
        """Somebody has said why the last start failed."""
        self._said = self.failure

    def unsaid(self, *, before: bool) -> str:
        """The warning that is due for a start that failed, or ""; ``before`` says whether there was a daemon before."""
        failure = self.failure
        if failure is None or failure is self._said:
            return ""
        self._said = failure
        if isinstance(failure, DaemonNotReady) or not before:
            return f"nothing is recorded yet: {failure}"
        return f"the recorder daemon is gone and could not be started again: {failure}"


class Reconnect:
    """Looks for a daemon while a session has none. Whoever holds the connection's lock may use it.

    Args:
        session: what is to be open at a daemon.
        transport: its socket.
        named: whether its daemon is the user's own; else one is started where none runs.

    Attributes:
        starter: starts the embedded daemon.
        next_greeting: when to greet next while the session is not open, by `time.monotonic`; 0 for at once.
        awaited: whether a construction waits for the daemon, and so says itself why none could be started.
        leaving: how long the start of a daemon may take where the process leaves, None before that.
    """

    def __init__(self, session: ClientSession, transport: Transport, *, named: bool) -> None:
        self.named = named
        self.starter = Starter()
        self.awaited = False
        self.leaving: float | None = None
        self._session = session
        self._transport = transport
        self.next_greeting = 0.0
        self._hot_until = 0.0  # until when a daemon that has just been started is being connected to
        self._next_ask = time.monotonic() + timeouts.REFUSED_KEY_SECONDS
        # since when flushes have missed the daemon that died last, and its id
        self._missed: bytes | None = None
        self._gone_since: float | None = None

    def greet_if_due(self, now: float) -> None:
        """Greet the daemon, or greet it again, where the session is not open."""
        session, listens = self._session, self.starter.listens
        self.starter.listens = False
        if session.state is State.OPEN:
            self.starter.answered()
            return
        if listens:
            session.lost()
            self._transport.renew()  # libzmq looks for one that was not there ever more rarely
            self.next_greeting = 0.0
            self._hot_until = now + timeouts.ANSWER_SECONDS
        if session.state in (State.IDLE, State.GREETING) and now >= self.next_greeting:
            self.next_greeting = now + timeouts.ANSWER_SECONDS  # it may have died with the greeting in its hands
            self._transport.dial()
            session.connect()

    def retry(self, now: float) -> str:
        """After a greeting that found no daemon: greet again soon, and have one started where that is due.

        Returns the warning that is due for a start that failed, or the empty string.
        """
        pause = timeouts.SOON_SECONDS if now < self._hot_until else timeouts.RETRY_SECONDS
        self.next_greeting = min(self.next_greeting, now + pause)
        warning = "" if self.awaited else self.starter.unsaid(before=self._session.instance is not None)
        self.relaunch()
        return warning

    def doubt(self) -> None:
        """Let go of a session that is open where its daemon has left, though nothing told so yet.

        Whoever sends nothing hears nothing of a daemon's death: to be asked before something is built on it.
        """
        transport = self._transport
        if self._session.state is State.OPEN and not (transport.connected and not launch.gone(transport.endpoint)):
            self._session.lost()
            transport.renew()
            self.next_greeting = 0.0

    def relaunch(self, *, hurry: bool = False) -> None:
        """Start an embedded daemon where none runs, off the agent's thread; in a hurry without minding the pause."""
        if self._transport.key is not None:  # libzmq never asks again who refused a key once
            now = time.monotonic()
            if now >= self._next_ask:
                self._next_ask = now + timeouts.REFUSED_KEY_SECONDS
                self._transport.renew()
        elif not self.named and (self.starter.due or (hurry and not self.starter.running)):
            self._find_place()
            if not launch.listening(self._transport.endpoint):
                self.starter.begin(self._transport.endpoint, leaving=self.leaving)

    def _find_place(self) -> None:
        """Look anew where the daemon is to be: its directory may be gone, as a runtime directory is after a logout."""
        place = settings.embedded_endpoint()
        if place != self._transport.endpoint and not launch.listening(self._transport.endpoint):
            self._transport.endpoint = place
            self._transport.renew()

    @property
    def failed(self) -> bool:
        """Whether the embedded daemon could not be started, and nobody else's listens."""
        return self.starter.failed and not self.starter.running and launch.gone(self._transport.endpoint)

    @property
    def hopeless(self) -> bool:
        """Whether none answers, none listens, and none will come of what is done here."""
        if self._session.state is State.REFUSED:
            return True
        if self._session.state is State.OPEN or self.starter.running:
            return False
        return (self.named or self.starter.failed) and not launch.listening(self._transport.endpoint)

    @property
    def reachable(self) -> bool:
        """Whether a process that leaves has a daemon to wait for: one that is there, or an embedded one to be had."""
        state, transport = self._session.state, self._transport
        if self.starter.running:
            return True
        if launch.gone(transport.endpoint):
            return not self.named and state is not State.REFUSED and not self.starter.failed
        waiting = state in (State.IDLE, State.GREETING)
        return state is State.OPEN or (waiting and transport.dialled and launch.listening(transport.endpoint))

    def gone_for_good(self) -> bool:
        """Whether there is no daemon and none will come: it could not be started, or nobody else did so in time.

        Asked while a flush waits. Since when a daemon that died has been missed is still known at the next flush: many
        envs are closed in a row.
        """
        session, now = self._session, time.monotonic()
        if self._missed != session.instance:  # there was another one in between
            self._missed, self._gone_since = session.instance, None
        if session.state is State.OPEN or self.starter.running or not launch.gone(self._transport.endpoint):
            self._gone_since = None
            return False
        if not self.named:
            failed = self.starter.failed and not self.starter.due
            self.relaunch()
            return failed
        if self._gone_since is None:
            self._gone_since = now
        return now - self._gone_since > timeouts.GONE_SECONDS
