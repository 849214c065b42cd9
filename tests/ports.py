"""A TCP port for who must know it before it is bound, as a daemon's ``--tcp`` asks of its clients.

A port that was bound once and closed is anybody's: the next of the parallel tests that binds port 0 may be given it. So
these are none that a kernel gives away, and each is locked for as long as it is somebody's.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import random
import socket
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_RANGE = range(20_000, 32_000)
"""Below those that Linux, macOS and the BSDs give to who binds port 0 (32768, 49152 and 49152 upwards)."""


@contextlib.contextmanager
def one() -> Iterator[int]:
    """A port at which nobody listens, and that no other test on this host has until it is left."""
    directory = Path(tempfile.gettempdir()) / f"offcam-test-ports-{os.geteuid()}"
    directory.mkdir(mode=0o700, exist_ok=True)
    for port in random.sample(_RANGE, len(_RANGE)):
        fd = os.open(directory / str(port), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if _had(fd, port):
                yield port
                return
        finally:
            os.close(fd)
    raise AssertionError(f"each port of {_RANGE} is taken")


def _had(fd: int, port: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:  # another test has it, or a stranger
        return False
    return True
