"""Finding a daemon again: greeting it, starting the embedded one, and knowing when none will come."""

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
    """Starts the embedded daemon off the agent's thread, one start at a time, and knows how the last start went.

    The first start is due at once. A later one is due after a pause, which doubles with each start from
    `timeouts.LEAST_PAUSE_SECONDS` to `timeouts.MOST_PAUSE_SECONDS`, and is short again once a daemon has answered.

    Attributes:
        failure: why the last start failed, or None.
        listens: whether a daemon that was started listens; whoever acts on that resets it.
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
        """Whether the last start failed; a start that takes long has not failed."""
        return self.failure is not None and not isinstance(self.failure, DaemonNotReady)

    @property
    def due(self) -> bool:
        """Whether the last start is over, and the pause since then, too."""
        return not self.running and time.monotonic() >= self._next

    def answered(self) -> None:
        """A daemon works: if it is gone one day, start the next one without a pause."""
        self._pause = timeouts.LEAST_PAUSE_SECONDS
        self._next = 0.0

    def begin(self, endpoint: Endpoint, *, leaving: float | None = None) -> None:
        """Start a daemon. The starting thread dies with the process, the daemon's launcher does not.

        Args:
            endpoint: where the daemon is to listen.
            leaving: where the process is ending, how many seconds this thread may spend: there are no new threads by
                then.
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
        except RuntimeError as error:  # no thread can be started
            self._thread = None
            self.failure = DaemonUnavailable(
                f"the recorder daemon could not be started, as this process can start no thread ({error}): raise the "
                "limit (`ulimit -u`), or start the daemon yourself with `offcam start`."
            )
            self._rest()

    def _rest(self) -> None:
        self._next = time.monotonic() + self._pause
        self._pause = min(2 * self._pause, timeouts.MOST_PAUSE_SECONDS)

    def _start(self, endpoint: Endpoint, seconds: float) -> None:
        try:
            launch.start_embedded(endpoint, seconds)
        except DaemonError as error:  # warned of on the agent's thread, as filters of warnings belong to a thread
            self.failure = error
        else:
            self.listens = True
        finally:
            self._rest()

    def said(self) -> None:
        """Note that the user was told why the last start failed."""
        self._said = self.failure

    def unsaid(self, *, before: bool) -> str:
        """The warning that is due for a failed start, or ""; ``before`` says whether there was a daemon before that."""
        failure = self.failure
        if failure is None or failure is self._said:
            return ""
        self._said = failure
        if isinstance(failure, DaemonNotReady) or not before:
            return f"nothing is recorded yet: {failure}"
        return f"the recorder daemon is gone and could not be started again: {failure}"


class Reconnect:
    """Looks for a daemon while a session has none. The connection's lock must be held.

    Args:
        session: the session that is to be open.
        transport: its socket.
        named: whether ``OFFCAM_ADDR`` names the daemon; else one is started where none runs.

    Attributes:
        starter: starts the embedded daemon.
        next_greeting: when to greet next while the session is not open, by `time.monotonic`; 0 for at once.
        awaited: whether a constructor waits for the daemon; it then says itself why none could be started.
        leaving: where the process is ending, how many seconds the start of a daemon may take; None before that.
    """

    def __init__(self, session: ClientSession, transport: Transport, *, named: bool) -> None:
        self.named = named
        self.starter = Starter()
        self.awaited = False
        self.leaving: float | None = None
        self._session = session
        self._transport = transport
        self.next_greeting = 0.0
        self._hot_until = 0.0  # until when to connect eagerly to a daemon that was just started
        self._next_ask = time.monotonic() + timeouts.REFUSED_KEY_SECONDS
        # when flushes began to miss the daemon that died last, and that daemon's id
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
            self._transport.renew()  # libzmq retries ever more rarely where nobody listened
            self.next_greeting = 0.0
            self._hot_until = now + timeouts.ANSWER_SECONDS
        if session.state in (State.IDLE, State.GREETING) and now >= self.next_greeting:
            self.next_greeting = now + timeouts.ANSWER_SECONDS  # the daemon may have died before it read the greeting
            self._transport.dial()
            session.connect()

    def retry(self, now: float) -> str:
        """After a greeting that found no daemon: greet again soon, and start a daemon where that is due.

        Returns the warning that is due for a start that failed, else ``""``.
        """
        pause = timeouts.SOON_SECONDS if now < self._hot_until else timeouts.RETRY_SECONDS
        self.next_greeting = min(self.next_greeting, now + pause)
        warning = "" if self.awaited else self.starter.unsaid(before=self._session.instance is not None)
        self.relaunch()
        return warning

    def doubt(self) -> None:
        """Give up an open session if its daemon has left, even if nothing said so yet.

        A process that sends nothing hears nothing of a daemon's death: call this before something relies on the
        session.
        """
        transport = self._transport
        if self._session.state is State.OPEN and not (transport.connected and not launch.gone(transport.endpoint)):
            self._session.lost()
            transport.renew()
            self.next_greeting = 0.0

    def relaunch(self, *, hurry: bool = False) -> None:
        """Start an embedded daemon off the agent's thread where none runs; in a hurry, regardless of the pause."""
        if self._transport.key is not None:  # libzmq never tries a peer again that refused its key
            now = time.monotonic()
            if now >= self._next_ask:
                self._next_ask = now + timeouts.REFUSED_KEY_SECONDS
                self._transport.renew()
        elif not self.named and (self.starter.due or (hurry and not self.starter.running)):
            self._find_place()
            if not launch.listening(self._transport.endpoint):
                self.starter.begin(self._transport.endpoint, leaving=self.leaving)

    def _find_place(self) -> None:
        """Look again for the daemon's place: its directory may be gone, as a runtime directory is after a logout."""
        place = settings.embedded_endpoint()
        if place != self._transport.endpoint and not launch.listening(self._transport.endpoint):
            self._transport.endpoint = place
            self._transport.renew()

    @property
    def failed(self) -> bool:
        """Whether the embedded daemon could not be started, and no other process's listens."""
        return self.starter.failed and not self.starter.running and launch.gone(self._transport.endpoint)

    @property
    def hopeless(self) -> bool:
        """Whether no daemon answers, none listens, and nothing that this process does will bring one."""
        if self._session.state is State.REFUSED:
            return True
        if self._session.state is State.OPEN or self.starter.running:
            return False
        return (self.named or self.starter.failed) and not launch.listening(self._transport.endpoint)

    @property
    def reachable(self) -> bool:
        """Whether a process that is ending has a daemon to wait for: one that runs, or an embedded one to be had."""
        state, transport = self._session.state, self._transport
        if self.starter.running:
            return True
        if launch.gone(transport.endpoint):
            return not self.named and state is not State.REFUSED and not self.starter.failed
        waiting = state in (State.IDLE, State.GREETING)
        return state is State.OPEN or (waiting and transport.dialled and launch.listening(transport.endpoint))

    def gone_for_good(self) -> bool:
        """Whether there is no daemon and none will come: it could not be started, or nobody else started one in time.

        Asked while a flush waits. The moment from which a dead daemon was missed is kept for the next flush: many envs
        are closed in a row.
        """
        session, now = self._session, time.monotonic()
        if self._missed != session.instance:  # there was another daemon in between
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
