"""A process is over once the last of its threads is: until then memory that it shared may still be written."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from offcam_proto.host import ended
from waiting import wait_until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="asks Linux's /proc")

FIRST_THREAD_ENDS = """
import ctypes, sys, threading
threading.Thread(target=sys.stdin.readline).start()
ctypes.CDLL(None).syscall({exit})  # of this thread alone
"""
EXIT = {"x86_64": 60, "aarch64": 93}.get(os.uname().machine)


def state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_of_a_process_that_nobody_has_waited_for():
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        assert not ended(process.pid)
        process.kill()
        wait_until(lambda: state(process.pid) == "Z", "it is killed")
        assert ended(process.pid)
    assert ended(process.pid), "nor once somebody has"


@pytest.mark.skipif(EXIT is None, reason="the number of the call is not known here")
def test_of_one_whose_first_thread_alone_is_over():
    code = FIRST_THREAD_ENDS.format(exit=EXIT)
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE) as process:
        wait_until(lambda: state(process.pid) == "Z", "its first thread is over")
        assert not ended(process.pid)
        process.kill()
        process.wait()
        assert ended(process.pid)
