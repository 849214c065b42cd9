"""Starting the embedded daemon off the agent's thread, one start at a time."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from offcam.connection import launch
from offcam_proto.errors import DaemonError, DaemonNotReady

if TYPE_CHECKING:
    from offcam_proto.endpoints import Endpoint


class Starter:
    """Starts the daemon, and knows what came of it.

    Attributes:
        failure: why the last start came to nothing, or None.
    """

    def __init__(self) -> None:
        self.failure: DaemonError | None = None
        self._thread: threading.Thread | None = None
        self._listens = False
        self._said: DaemonError | None = None

    @property
    def running(self) -> bool:
        """Whether a daemon is being started."""
        return self._thread is not None and self._thread.is_alive()

    @property
    def failed(self) -> bool:
        """Whether the last start came to nothing; one that takes long has not."""
        return self.failure is not None and not isinstance(self.failure, DaemonNotReady)

    def begin(self, endpoint: Endpoint) -> None:
        """Start one at an endpoint. The thread dies with the process, the daemon's launcher does not."""
        self.failure = None
        self._thread = threading.Thread(target=self._start, args=(endpoint,), name="offcam-launch", daemon=True)
        self._thread.start()

    def _start(self, endpoint: Endpoint) -> None:
        try:
            launch.start_embedded(endpoint)
        except DaemonError as error:  # said by the agent's thread: filters of warnings are for one thread
            self.failure = error
        else:
            self._listens = True

    def take_listens(self) -> bool:
        """Whether one that was started has begun to listen since this was asked last."""
        listens, self._listens = self._listens, False
        return listens

    def said(self) -> None:
        """Somebody has said why the last start failed."""
        self._said = self.failure

    def unsaid(self, *, before: bool) -> str:
        """The warning that is due for a start that failed, or the empty string.

        Args:
            before: whether there was a daemon before.
        """
        failure = self.failure
        if failure is None or failure is self._said:
            return ""
        self._said = failure
        if isinstance(failure, DaemonNotReady) or not before:
            return f"nothing is recorded yet: {failure}"
        return f"the recorder daemon is gone and could not be started again: {failure}"
