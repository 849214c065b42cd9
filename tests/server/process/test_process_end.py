"""How a process of the daemon's ends: Python takes nothing down beneath a thread that still works."""

from __future__ import annotations

import subprocess
import sys

import pytest

SCRIPT = """
import atexit, sys, threading
from offcamd.process import exit_codes
atexit.register(print, "Python's own end")
print("printed")
sys.stderr.write("said")
if {busy}:
    threading.Thread(target=threading.Event().wait, daemon=True).start()
sys.exit(exit_codes.leave(exit_codes.output_failure() or exit_codes.PROBLEM))
"""


@pytest.mark.parametrize("busy", [False, True])
def test_a_thread_that_still_works_is_not_unwound(busy):
    """Libraries in C++ abort when it is: a self-test that a stop overtakes, a worker that hangs."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(busy=busy)], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 1
    assert done.stderr == "said"
    assert done.stdout.splitlines() == (["printed"] if busy else ["printed", "Python's own end"])
