"""One connection for each process: made on first use, left behind by a fork, finished at exit."""

from __future__ import annotations

import atexit
import os
import sys
import threading
import time
from collections.abc import Callable

from offcam.connection import settings, timeouts
from offcam.connection.connection import Connection
from offcam_proto.errors import KeyRefused
from offcam_proto.host import client_key

_guard = threading.Lock()
_current: Connection | None = None
_connections: list[Connection] = []  # all connections of this process, until they are shut down
_inherited: list[Connection] = []  # a parent process's, kept so that no finaliser touches their sockets


def current() -> Connection:
    """This process's connection object, made on first use. To connect, call `establish`.

    Raises:
        ConfigError: ``OFFCAM_ADDR`` is malformed, or is ``tcp://`` and there is no key that can be used.
    """
    global _current  # noqa: PLW0603 - one connection a process is what it is for
    with _guard:
        endpoint, named = settings.daemon_endpoint()
        if _current is None or _current.endpoint != endpoint:
            settings.warn_of_misspelt()
            key = _inherited[-1].transport.key if _inherited and _inherited[-1].endpoint == endpoint else None
            _current = Connection(endpoint, named=named, key=key or client_key(endpoint, os.environ))
            _connections.append(_current)
            _finish_in_worker()
        return _current


def establish(connection: Connection, deadline: float, *, strict: bool = False) -> None:
    """As `Handshake.establish`; if the key is refused, forget the connection, as the next try may have another key."""
    global _current  # noqa: PLW0603 - see current()
    try:
        connection.handshake.establish(deadline, strict=strict)
    except KeyRefused:
        if not connection.session.streams:
            with _guard:
                _connections.remove(connection)
                _current = None
            connection.session.close()
            connection.shutdown()
        raise


def undisturbed(work: Callable[[], None]) -> None:
    """Run what a signal asks for: at once, or if the signal interrupted this thread's use of a connection, after that.

    Called on the main thread, where Python runs all handlers of signals.
    """
    lock = next((connection.lock for connection in _connections if connection.lock.held), None)
    if lock is None:
        work()
    else:
        lock.interrupted.append(work)


def flush_all(seconds: float) -> None:
    """Wait until everything that ended is final on every connection of this process, for so many seconds at most."""
    deadline = time.monotonic() + seconds
    for connection in _connections:
        if connection.pid == os.getpid() and connection.waits:
            connection.flush(seconds=deadline - time.monotonic())


def shutdown_all(seconds: float | None = None) -> None:
    """End what is open and leave every connection of this process, within ``seconds`` or `timeouts.EXIT_SECONDS`."""
    deadline = time.monotonic() + (timeouts.EXIT_SECONDS if seconds is None else seconds)
    while _connections:
        connection = _connections.pop()
        if connection.pid == os.getpid():
            connection.shutdown(deadline - time.monotonic())


def _finish_in_worker() -> None:
    """Have a multiprocessing worker finish, too: it leaves by ``os._exit``, past atexit, so use its own finalisers."""
    util = sys.modules.get("multiprocessing.util")
    process = sys.modules.get("multiprocessing.process")
    if util is not None and process is not None and process.parent_process() is not None:
        util.Finalize(None, shutdown_all, exitpriority=100)


def _after_fork() -> None:
    global _current, _guard  # noqa: PLW0603 - see current()
    _guard = threading.Lock()
    _inherited.extend(_connections)
    _connections.clear()
    _current = None


atexit.register(shutdown_all)
os.register_at_fork(after_in_child=_after_fork)
