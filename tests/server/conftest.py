"""What the tests of the daemon's parts do to their process."""

from __future__ import annotations

import resource
import signal

import pytest


@pytest.fixture
def tiny_files():
    """No file may grow past 100 kB: to the program that is a disk that has filled up."""
    limits, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    signal.signal(signal.SIGXFSZ, handler)
