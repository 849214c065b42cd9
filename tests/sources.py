"""What an HTTP server shows in tests that have no daemon."""

from __future__ import annotations


class FixedSource:
    """The same runs and statistics at all times."""

    daemon = True
    address = None

    def __init__(self, stats=None, folders=None, unready=None, unhealthy=None):
        self._stats = stats
        self._folders = folders or {}
        self._unready = unready
        self._unhealthy = unhealthy

    def folders(self):
        return dict(self._folders)

    def title(self, folder):
        return folder.name

    def live(self, run):
        return False

    def stats(self):
        return self._stats

    def unhealthy(self):
        return self._unhealthy

    def unready(self):
        return self._unready
