"""What the HTTP server shows of a daemon: the runs that it and those before it have written, and its statistics."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from offcam_runs.run_ids import by_id, run_id

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path

    from offcamd.daemon.service import Service


class DaemonSource:
    """An `offcamd.web.source.RunSource`, where the methods are described.

    Args:
        service: the daemon.
        beside: returns the folders, by id, of runs to show after the daemon's own.
        title: returns the title of a folder's run.
    """

    daemon = True

    def __init__(self, service: Service, beside: Callable[[], dict[str, Path]], title: Callable[[Path], str]) -> None:
        self._service = service
        self._beside = beside
        self._title = title
        self.address: str | None = service.endpoint.url

    def folders(self) -> dict[str, Path]:
        """See `RunSource`."""
        written = dict.fromkeys((*self._service.shown.folders, *self._service.store.live_streams()))
        return by_id((*written, *(folder for folder in self._beside().values() if str(folder) not in written)))

    def title(self, folder: Path) -> str:
        """See `RunSource`."""
        return self._title(folder)

    def live(self, run: str) -> bool:
        """See `RunSource`."""
        return any(count and run_id(folder) == run for folder, count in self._service.store.live_streams().items())

    def watched(self) -> AbstractContextManager[None]:
        """See `RunSource`."""
        return self._service.pool.hurried()

    def stats(self) -> dict[str, Any] | None:
        """See `RunSource`."""
        return self._service.stats()

    def unready(self) -> str | None:
        """See `RunSource`."""
        return None if self._service.ready else "The daemon is stopping."

    def unhealthy(self) -> str | None:
        """See `RunSource`."""
        return "; ".join(self._service.health.problems.values()) or None
