"""One link a process: made on first use, left behind by a fork, finished at exit."""

from __future__ import annotations

import atexit
import os
import sys
import threading
import time

from offcam.connection import keys, settings, timeouts
from offcam.connection.connection import Link
from offcam_proto.errors import DaemonUnavailable, KeyRefused, RemoteProtocolError

_guard = threading.Lock()
_current: Link | None = None
_inherited: list[Link] = []  # a parent's links, kept so that no finaliser touches its sockets


def current() -> Link:
    """This process's link, made on first use. It does not connect by itself: see `Link.establish`.

    Raises:
        ConfigError: ``OFFCAM_ADDR`` is malformed, or is ``tcp://`` and there is no key that can be used.
    """
    global _current  # noqa: PLW0603 - one link a process is what it is for
    with _guard:
        endpoint, named = settings.daemon_endpoint()
        if _current is None or _current.endpoint != endpoint:
            settings.warn_of_misspelt()
            key = _inherited[-1].key if _inherited and _inherited[-1].endpoint == endpoint else None
            _current = Link(endpoint, named=named, key=key or keys.client_key(endpoint))
            _links.append(_current)
            _finish_in_worker()
        return _current


def _forget(link: Link) -> None:
    """Leave a link that came to nothing: the next try may be with another key."""
    global _current  # noqa: PLW0603 - see current()
    with _guard:
        _links.remove(link)
        _current = None
    link.session.close()
    link.shutdown()


def establish(link: Link, deadline: float, *, strict: bool = False) -> None:
    """Connect a link, and forget it where its key is refused, so that the next try may be with another.

    Raises:
        DaemonNotInstalled, DaemonUnavailable, KeyRefused, VersionMismatch: as `Contact.establish`.
    """
    try:
        link.contact.establish(deadline, strict=strict)
    except KeyRefused:
        if not link.session.streams:
            _forget(link)
        raise


def check(*, strict: bool = False) -> None:
    """Raise now, at construction, what is wrong with ``OFFCAM_ADDR`` or with the key for it; if strict, with all.

    Raises:
        ConfigError, KeyRefused: as `current` and `establish`.
        DaemonNotInstalled, DaemonUnavailable, VersionMismatch: only if strict.
    """
    endpoint, _ = settings.daemon_endpoint()
    if strict or endpoint.path is None:
        link = current()
        try:
            establish(link, link.contact.deadline(strict=strict), strict=strict)
        except (DaemonUnavailable, RemoteProtocolError):  # said where the stream is opened
            if strict:
                raise


_links: list[Link] = []


def _shutdown_all() -> None:
    deadline = time.monotonic() + timeouts.EXIT_SECONDS
    while _links:
        link = _links.pop()
        if link.pid == os.getpid():
            link.shutdown(deadline - time.monotonic())


def _finish_in_worker() -> None:
    """A multiprocessing worker leaves by ``os._exit``, past atexit: hook into its own finalisers."""
    util = sys.modules.get("multiprocessing.util")
    process = sys.modules.get("multiprocessing.process")
    if util is not None and process is not None and process.parent_process() is not None:
        util.Finalize(None, _shutdown_all, exitpriority=100)


def _after_fork() -> None:
    global _current, _guard  # noqa: PLW0603 - see current()
    _guard = threading.Lock()
    _inherited.extend(_links)
    _links.clear()
    _current = None


atexit.register(_shutdown_all)
os.register_at_fork(after_in_child=_after_fork)
