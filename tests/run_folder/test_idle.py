"""Processes that give way to a training, and get their share back while somebody waits for them."""

import os
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from offcam_runs.idle import give_way, hurry

READ_ITS_SHARE = "import pathlib; print(pathlib.Path('/proc/self/autogroup').read_text())"


def sessions_have_shares() -> bool:
    """Whether Linux groups processes by session; where that is switched off, the file may be there and empty."""
    command = [sys.executable, "-c", READ_ITS_SHARE]
    done = subprocess.run(command, start_new_session=True, capture_output=True, text=True, check=False)
    return bool(done.stdout.strip())


GROUPED = sessions_have_shares()

NOBODY = 65534

UNPRIVILEGED = f"""
import ctypes, os, time
from pathlib import Path
from offcam_runs.idle import give_way, hurry
os.setgid({NOBODY})
os.setuid({NOBODY})
ctypes.CDLL(None).prctl(4, 1)  # PR_SET_DUMPABLE: its files in /proc are its own again
def share():
    return Path("/proc/self/autogroup").read_text().split()[-1]
give_way()
print(share(), flush=True)
while not hurry(os.getpid()):
    time.sleep(0.05)
print(share())
"""


@contextmanager
def sleeper(*, leads: bool):
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, start_new_session=leads) as process:
        yield process.pid
        process.kill()


def share(pid: int) -> str:
    """Of a process's session, as a nice value; empty for a session from before Linux grouped processes by session."""
    return Path(f"/proc/{pid}/autogroup").read_text().rpartition(" ")[-1].strip()


def until_heard(change, pid: int) -> None:
    while not change(pid):
        time.sleep(0.05)  # another process's change may come first


@pytest.mark.skipif(not hasattr(os, "SCHED_IDLE"), reason="only Linux has an idle scheduler")
def test_a_process_gives_way():
    with sleeper(leads=False) as pid:
        give_way(pid)
        assert os.getpriority(os.PRIO_PROCESS, pid) == 19
        assert os.sched_getscheduler(pid) == os.SCHED_IDLE


@pytest.mark.skipif(not GROUPED, reason="this Linux does not group processes by session")
def test_a_session_of_its_own_gives_way_as_a_whole_until_somebody_waits():
    with sleeper(leads=True) as pid:
        before = share(os.getpid())
        while share(pid) != "10":  # an unprivileged process may have to try again
            give_way(pid)
        until_heard(hurry, pid)
        assert share(pid) == "0"
        assert share(os.getpid()) == before


@pytest.mark.skipif(not GROUPED, reason="this Linux does not group processes by session")
def test_in_a_session_of_others_only_the_process_gives_way():
    with sleeper(leads=False) as pid:
        before = share(pid)
        give_way(pid)
        assert hurry(pid)
        assert share(pid) == before


@pytest.mark.skipif(not GROUPED or os.getuid() != 0, reason="needs groups by session, and root to become another user")
def test_without_privileges_the_share_is_given_back_too():
    done = subprocess.run(
        [sys.executable, "-c", UNPRIVILEGED],
        start_new_session=True,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["10", "0"], done.stderr


def test_who_has_ended_is_left_alone():
    with sleeper(leads=True) as pid:
        pass
    give_way(pid)
    assert hurry(pid)
