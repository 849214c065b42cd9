"""What the tests of promises share: processes that are stopped and that always go on, scripts, and accounts."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import films
from waiting import HANG_SECONDS, Process, freeze

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TESTS = Path(__file__).parents[1]
SLOW_DAEMON = TESTS / "peers" / "slow_daemon.py"


@contextlib.contextmanager
def stopped(process: subprocess.Popen[str]) -> Iterator[Callable[[], None]]:
    """A process that is stopped meanwhile, and goes on in any case; what it yields has it go on earlier."""

    def go_on() -> None:
        process.send_signal(signal.SIGCONT)

    try:
        freeze(process.pid)
        yield go_on
    finally:
        go_on()


PATIENT = f"""
import offcam.connection.timeouts
offcam.connection.timeouts.START_SECONDS = offcam.connection.timeouts.REOPEN_SECONDS = {HANG_SECONDS:.1f}
"""
"""As conftest has it for the tests themselves: how soon one gives up waiting for a daemon is the machine's speed."""


def python(script: str, *arguments: str | Path, **options: Any) -> Process:
    """Start a script that can import what the tests can. Its environment is this process's, and so is its patience."""
    return Process(
        [sys.executable, "-c", PATIENT + script, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])])},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def resident_mib(pid: int, field: str = "VmRSS") -> float:
    """What a process has in memory now, or with ``VmHWM`` the most it ever had."""
    match = re.search(rf"{field}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert match is not None
    return int(match[1]) / 1024


def over(folder: Path) -> bool:
    """Whether there are clips and none of them is being written."""
    found = films.clips(folder).values()
    return bool(found) and all(clip.state != "recording" for clip in found)


def offered(folder: Path) -> int:
    """Frames that were captured for all clips of a folder, each of which is required to be accounted for."""
    films.check(folder)
    return sum(clip.offered for clip in films.clips(folder).values())


def encoded_and_dropped(folder: Path) -> dict[str, int]:
    """What became of them."""
    total = {"encoded": 0}
    for clip in films.clips(folder).values():
        total["encoded"] += clip.frames
        for reason, count in clip.dropped.items():
            total[reason] = total.get(reason, 0) + count
    return total
