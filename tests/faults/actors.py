"""Daemons that are killed and started again at one address, and agents in processes of their own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from commandline import Offcam
from offcamd.cli.query import ask_stats
from waiting import HANG_SECONDS

if TYPE_CHECKING:
    from contextlib import ExitStack

    from offcam_proto.endpoints import Endpoint

TESTS = Path(__file__).parents[1]
AGENT = Path(__file__).parent / "agent.py"
COUNTING_DAEMON = TESTS / "peers" / "counting_daemon.py"
SLOW_DAEMON = TESTS / "peers" / "slow_daemon.py"
WAIT_SECONDS = HANG_SECONDS


class Daemons:
    """The daemon at this test's address, one at a time."""

    def __init__(self, endpoint: Endpoint, stack: ExitStack, log: Path) -> None:
        self.endpoint = endpoint
        self.log = log
        self.process: subprocess.Popen[str] | None = None
        self._stack = stack

    def start(self, *command: str | Path, **options: Any) -> subprocess.Popen[str]:
        """Start a daemon (`offcam serve`, or a script that does alike) and return when it listens."""
        with self.log.open("a") as stderr:
            options = {"stdout": subprocess.PIPE, "stderr": stderr, "text": True, **options}
            if command and isinstance(command[0], Path):
                process = Offcam(*command[1:], script=command[0], **options)
            else:
                process = Offcam("serve", *command, **options)
            self.process = self._stack.enter_context(process)
        self._stack.callback(end, self.process)
        assert self.process.stdout is not None
        assert self.process.stdout.readline().startswith("offcam ready"), self.log.read_text()
        return self.process

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(WAIT_SECONDS)

    def stop(self) -> None:
        """SIGTERM, and wait until it has left in good order."""
        assert self.process is not None
        self.process.terminate()
        assert self.process.wait(WAIT_SECONDS) == 0, self.log.read_text()

    def stats(self) -> dict[str, Any]:
        """What it says of itself."""
        return ask_stats(self.endpoint, WAIT_SECONDS)

    def events(self, name: str) -> list[dict[str, Any]]:
        """The events of a name in its log."""
        lines = [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]
        return [line for line in lines if line["event"] == name]


def end(process: subprocess.Popen[str]) -> None:
    """End a process that may have been stopped, or killed before."""
    if process.poll() is None:
        process.send_signal(signal.SIGCONT)
        process.kill()
        process.wait(WAIT_SECONDS)


class Agents:
    """Agents that record until `finish` is called."""

    def __init__(self, stack: ExitStack, place: Path) -> None:
        self._stack = stack
        self._until = place / "until"
        self._place = place
        self.processes: list[subprocess.Popen[str]] = []

    def start(self, folder: Path, *options: str, **environment: str) -> subprocess.Popen[str]:
        """Start an agent and return when it records."""
        number = len(self.processes)
        command = [sys.executable, str(AGENT), str(folder), "--until", str(self._until), "--number", str(number)]
        with (self._place / f"agent-{number}").open("w") as stderr:
            process = self._stack.enter_context(
                subprocess.Popen(
                    [*command, *options],
                    stdout=subprocess.PIPE,
                    stderr=stderr,
                    text=True,
                    env={**os.environ, "PYTHONPATH": str(TESTS), **environment},
                )
            )
        self._stack.callback(end, process)
        assert process.stdout is not None
        assert process.stdout.readline().strip() == "recording", self.words(number)
        self.processes.append(process)
        return process

    def words(self, number: int) -> str:
        """What an agent said on stderr: its warnings, and why it failed if it did."""
        return (self._place / f"agent-{number}").read_text()

    def finish(self) -> list[int]:
        """Let all of them leave that live, and return how many episodes each has finished."""
        self._until.touch()
        counts = []
        for number, process in enumerate(self.processes):
            if process.returncode is None:
                assert process.stdout is not None
                said = process.stdout.read()
                assert process.wait(WAIT_SECONDS) == 0, self.words(number)
                counts.append(int(said.split()[1]))
        return counts
