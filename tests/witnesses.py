"""A daemon with somebody who records with it, for whatever else is done to it meanwhile."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from offcam_proto import host
from offcamd.cli.query import ask_stats
from rawpeer import resident_mib
from waiting import HANG_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from offcam_proto.endpoints import Endpoint

TESTS = Path(__file__).parent
WITNESS = TESTS / "hostile" / "witness.py"
LONGEST_ACK_SECONDS = 1.0


@dataclass
class Observed:
    """What was seen of a daemon and its witness.

    Attributes:
        address: the daemon's.
        pid: the daemon's.
        stats: its statistics in the end.
        mib: its memory before, in the end, and at its highest, in MiB.
        witness: what the witness said, see `hostile/witness.py`.
    """

    address: str
    pid: int
    log: Path
    stats: dict[str, Any] = field(default_factory=dict)
    mib: tuple[float, float, float] = (0.0, 0.0, 0.0)
    witness: dict[str, float] = field(default_factory=dict)

    def check(self, within: Callable[[float, float], None]) -> None:
        """Raise AssertionError where the witness was disturbed; ``within`` looks at the seconds."""
        witness = self.witness
        assert witness["episodes"] > 0, witness
        assert witness["whole_clips"] == witness["episodes"], witness
        within(witness["worst_ack"], LONGEST_ACK_SECONDS)
        assert "Traceback" not in self.log.read_text(), self.log.read_text()[-5000:]

    def __str__(self) -> str:
        witness, (before, after, highest) = self.witness, self.mib
        return (
            f"daemon: {before:.0f} MiB before, {after:.0f} after, {highest:.0f} at most; "
            f"breaches {self.stats['breaches']}\n"
            f"witness: {witness['whole_clips']} of {witness['episodes']} clips whole, {witness['acks']} acks, "
            f"the slowest after {1000 * witness['worst_ack']:.0f} ms"
        )


@contextlib.contextmanager
def a_daemon(base: Path) -> Iterator[tuple[Endpoint, subprocess.Popen[str], Path]]:
    """A daemon with everything below ``base``, a short path; ended in good order. Yields its log, too."""
    base.mkdir(exist_ok=True)
    environment, log = environment_in(base), base / "log"
    address = host.find(environment, os.getuid()).endpoint
    with (
        log.open("w") as stderr,
        _running([sys.executable, "-m", "offcamd", "serve"], stderr, environment) as daemon,
    ):
        assert "offcam ready" in _line(daemon), log.read_text()
        yield address, daemon, log
        daemon.terminate()
        assert daemon.wait(HANG_SECONDS) == 0, log.read_text()[-5000:]


@contextlib.contextmanager
def witnessed(base: Path, **options: str) -> Iterator[Observed]:
    """Start a daemon and a witness below ``base``, a short path; in the end see how both fared.

    Args:
        base: a directory, not used otherwise.
        **options: of the witness, such as ``pause="0.02"``.
    """
    until = base / "until"
    with a_daemon(base) as (address, daemon, log), (base / "witness.log").open("w") as words:
        environment = {**os.environ, "OFFCAM_ADDR": address.url, "PYTHONPATH": str(TESTS)}
        arguments = [part for name, value in options.items() for part in (f"--{name}", value)]
        command = [sys.executable, str(WITNESS), str(base / "witness"), "--until", str(until), *arguments]
        with _running(command, words, environment) as witness:
            assert "recording" in _line(witness)
            observed = Observed(address.url, daemon.pid, log)
            before = resident_mib(daemon.pid)
            yield observed
            assert daemon.poll() is None, log.read_text()[-5000:]
            until.touch()
            said = _line(witness)
            assert said, (base / "witness.log").read_text()[-5000:] + log.read_text()[-5000:]
            observed.witness = json.loads(said)
        observed.stats = ask_stats(address, HANG_SECONDS)
        observed.mib = (before, resident_mib(daemon.pid), resident_mib(daemon.pid, "VmHWM"))


def environment_in(base: Path) -> dict[str, str]:
    """What a daemon needs to have all that is its own below a directory; that is made."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("OFFCAM")}
    places = {"XDG_RUNTIME_DIR": "run", "XDG_CONFIG_HOME": "config", "XDG_CACHE_HOME": "cache", "HOME": "home"}
    for name in places.values():
        (base / name).mkdir(mode=0o700)
    return {
        **inherited,
        **{variable: str(base / name) for variable, name in places.items()},
        "OFFCAM_HTTP": "off",
        "OFFCAM_LOG": "warning",
    }


@contextlib.contextmanager
def _running(command: list[str], stderr: Any, environment: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True, env=environment) as process:
        try:
            yield process
        except BaseException:
            process.kill()
            raise


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()
