"""Whether a daemon that does not answer will ever come back."""

from __future__ import annotations

import time
import weakref
from typing import TYPE_CHECKING

from offcam.connection import launch, timeouts
from offcam_proto.client_session import State

if TYPE_CHECKING:
    from offcam.connection.connection import Link


class Absence:
    """Watches, while flushes wait, whether there is a daemon that could answer at all.

    What it found out of a daemon that died it still knows at the next flush: many envs are closed in a row.
    """

    def __init__(self, link: Link) -> None:
        self._link = weakref.proxy(link)
        self._instance: bytes | None = None
        self._since: float | None = None
        self._tried = False

    def for_good(self) -> bool:
        """Whether there is none and none will come: it could not be started, or nobody else did so in time."""
        link, now = self._link, time.monotonic()
        if self._instance != link.session.instance:  # there was another one in between
            self._instance, self._since, self._tried = link.session.instance, None, False
        if link.session.state is State.OPEN or link.starter.running or not launch.gone(link.endpoint):
            self._since = None
            return False
        if not link.named:
            before, self._tried = self._tried, True
            link.relaunch(hurry=not before)
            return before
        if self._since is None:
            self._since = now
        return now - self._since > timeouts.GONE_SECONDS
