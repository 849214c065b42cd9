"""A signal that the kernel gave to another thread than the one that waits."""

import os
import signal
import threading
import time
from contextlib import contextmanager

import pytest

from offcamd.cli import top
from offcamd.process.signals import wait_for


@contextmanager
def interrupted_elsewhere():
    """Soon, another thread receives Ctrl-C: no system call of this one is interrupted."""
    ended = threading.Event()

    def receive():
        time.sleep(0.05)  # or it came before the wait, which is no harder
        signal.pthread_kill(threading.get_ident(), signal.SIGINT)
        ended.wait()

    thread = threading.Thread(target=receive)
    try:
        thread.start()  # on a busy machine the signal comes before this returns
        yield
    finally:
        ended.set()
        thread.join()


@pytest.fixture
def nothing_typed():
    readable, writable = os.pipe()
    yield readable
    os.close(readable)
    os.close(writable)


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "wait",
    [lambda _: wait_for(threading.Event()), lambda _: top._left(None, 3600), lambda keys: top._left(keys, 3600)],
    ids=["event", "top without keys", "top"],
)
def test_it_ends_what_waits(wait, nothing_typed):
    with pytest.raises(KeyboardInterrupt), interrupted_elsewhere():
        wait(nothing_typed)
