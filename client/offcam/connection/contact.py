"""What a construction waits for: that a daemon is there, answers, and has opened the stream."""

from __future__ import annotations

import time
import weakref
from typing import TYPE_CHECKING

from offcam.connection import launch, timeouts
from offcam_proto.client_session import State
from offcam_proto.errors import DaemonUnavailable, FolderNotWritable, RemoteProtocolError, VersionMismatch

if TYPE_CHECKING:
    from collections.abc import Callable

    from offcam.connection.connection import Link
    from offcam_proto.client_stream import ClientStream


class Contact:
    """Waits on a link, for so long as a construction may. Raises what became of it; its callers may warn instead.

    Attributes:
        waiting: whether somebody waits, and so says why no daemon could be started.
    """

    def __init__(self, link: Link) -> None:
        self.waiting = False
        self._link: Link = weakref.proxy(link)
        self._in_vain = False
        self._second_chance = True

    def heard(self) -> None:
        """The daemon has said something: it is worth waiting for."""
        self._in_vain = False

    def deadline(self, *, strict: bool = False) -> float:
        """Until when a construction that begins now may wait, by `time.monotonic`."""
        seconds = timeouts.CERTAIN_SECONDS if strict else 0.0 if self._in_vain else timeouts.START_SECONDS
        return time.monotonic() + seconds

    def establish(self, deadline: float, *, strict: bool = False) -> None:
        """Find the daemon, or have one started, and shake hands; returns at once where that is done already.

        Args:
            deadline: until when to wait.
            strict: whether to wait so long also for one that ``OFFCAM_ADDR`` names and that is not there.

        Raises:
            DaemonNotInstalled, DaemonUnavailable: there is none yet, or none could be started.
            KeyRefused: it does not take this client's key, or is not the one that the key is for.
            VersionMismatch, RemoteProtocolError: it refused this client.
        """
        link = self._link
        if link.reached():
            return
        if link.key is not None:
            self._greet(deadline, strict=strict)
        elif link.named and not strict and not launch.listening(link.endpoint):
            raise self._no_answer()
        self._await(lambda: link.session.state in (State.OPEN, State.REFUSED), deadline)
        refused = link.session.refused
        if refused is not None:
            error = VersionMismatch if refused.code == VersionMismatch.reason else RemoteProtocolError
            raise error(f"the recorder daemon at {link.endpoint.url} refused this client: {refused.text}")

    def wait_opened(self, wire: ClientStream, deadline: float) -> None:
        """Wait for the daemon to open a stream.

        Raises:
            FolderNotWritable: it cannot use the run folder.
            DaemonUnavailable: it is about to go, whatever the folder is like.
            DaemonNotInstalled, DaemonUnavailable: it did not answer in time, or is gone.
        """
        self._await(lambda: wire.live or wire.refused is not None, deadline)
        if wire.refused is not None:
            error = DaemonUnavailable if wire.refused_code == "daemon" else FolderNotWritable
            raise error(wire.refused)

    def await_first_video(self, wire: ClientStream, seconds: float) -> None:
        """Wait, where the first video of a process begins, for a daemon that is being started: never raises.

        On a crowded machine its start takes longer than a construction waits, and a short script would be over by then.
        """
        link, first, self._second_chance = self._link, self._second_chance, False
        if first and not wire.live and link.starter.running:
            link.wait(lambda: wire.live or wire.refused is not None or link.hopeless, seconds)

    def _greet(self, deadline: float, *, strict: bool) -> None:
        if time.monotonic() >= deadline:
            raise self._no_answer()
        while True:
            try:
                return self._link.greet()
            except DaemonUnavailable:  # noqa: PERF203 - it has waited by then
                self._in_vain = True
                if not strict or time.monotonic() + timeouts.CONTACT_SECONDS > deadline:
                    raise

    def _await(self, done: Callable[[], bool], deadline: float) -> None:
        """Wait for an answer, having a daemon started where none runs: also where one has died just now.

        Raises:
            DaemonNotInstalled, DaemonUnavailable: it did not come in time, or cannot come.
        """
        link, starter, looked = self._link, self._link.starter, 0.0
        before = starter.failure

        def over() -> bool:
            nonlocal looked
            now = time.monotonic()
            if link.session.state is State.IDLE and now - looked > timeouts.RETRY_SECONDS:
                looked = now
                link.relaunch(hurry=True)
            return done() or starter.failure not in (None, before)

        self.waiting = True
        try:
            self._in_vain = not link.wait(over, max(0.0, deadline - time.monotonic()))
        finally:
            self.waiting = False
        if self._in_vain:
            raise self._no_answer()
        if not done() and starter.failure is not None:
            starter.said()
            raise starter.failure

    def _no_answer(self) -> DaemonUnavailable:
        """What keeps the daemon from answering, as far as can be seen."""
        link = self._link
        url = link.endpoint.url
        if link.starter.running:
            return DaemonUnavailable("the recorder daemon is still starting.")
        if link.named and not launch.listening(link.endpoint):
            return DaemonUnavailable(
                f"no recorder daemon answers at {url} (OFFCAM_ADDR). Start it there with "
                "`offcam serve`, or unset OFFCAM_ADDR to have one started for you.",
            )
        if link.session.state is State.OPEN:
            return DaemonUnavailable(f"the recorder daemon at {url} has not opened the run folder yet.")
        return DaemonUnavailable(f"the recorder daemon at {url} does not answer; `offcam doctor` may know why.")
