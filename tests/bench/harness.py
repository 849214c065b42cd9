"""Runs the measurements: each in a process of its own, all recorders in turn, again and again."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from cores import ATTEMPTS, CALM, Cores
from recorders import OFFCAM, RENDER_ONLY, SB3
from worker import Order, Run

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

WORKER = Path(__file__).resolve().with_name("worker.py")
WORKER_SECONDS = 600
STOP_SECONDS = 60


@dataclass(frozen=True)
class Contestant:
    """A row of the table.

    Attributes:
        label: its name there.
        recorder: a key of `RECORDERS`.
        tree: a working tree whose offcam is measured instead of the installed one.
    """

    label: str
    recorder: str
    tree: Path | None = None

    def environment(self, folder: Path) -> dict[str, str]:
        """The environment of its processes: nothing of the user's own daemon and settings."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("OFFCAM")}
        environment["OFFCAM_ADDR"] = f"ipc://{folder}/daemon.sock"
        if self.tree is not None:
            packages = (str(self.tree / part) for part in ("client", "proto", "server"))
            environment["PYTHONPATH"] = os.pathsep.join(packages)
        return environment


def measure_all(
    contestants: Sequence[Contestant],
    env_ids: Sequence[str],
    steps: int,
    repetitions: int,
    scratch: Path,
    *,
    patient: bool = True,
) -> Iterator[Run]:
    """Measure everything, a repetition after the other, so that what slows the machine slows all of them.

    Args:
        contestants: whom to measure; the first goes last in the next repetition.
        env_ids: on which environments.
        steps: for how many steps each.
        repetitions: how often.
        scratch: a folder with a short path (a socket is made in it); what is in it is removed after each run.
        patient: whether to wait for a calm machine and to repeat a run that was disturbed.
    """
    cores = Cores()
    for repetition in range(repetitions):
        for env_id in env_ids:
            turn = repetition % len(contestants)
            for contestant in (*contestants[turn:], *contestants[:turn]):
                for attempt in range(1, ATTEMPTS + 1 if patient else 2):
                    before = cores.wait() if patient else cores.disturbance()
                    run = measure(contestant, env_id, steps, repetition, scratch)
                    run = replace(run, disturbance=max(before, cores.disturbance()), attempts=attempt)
                    if run.disturbance <= CALM:
                        break
                yield run


def measure(contestant: Contestant, env_id: str, steps: int, repetition: int, scratch: Path) -> Run:
    """One measurement. The pictures are compared in the first repetition only, as they are the same in all."""
    folder = scratch / "run"
    folder.mkdir()
    environment = contestant.environment(scratch)
    check = repetition == 0 and contestant.recorder not in (RENDER_ONLY, SB3)
    with contextlib.ExitStack() as stack:
        stack.callback(_clear, scratch)
        pid = None
        if contestant.recorder == OFFCAM:
            pid = stack.enter_context(daemon(environment, scratch))
        order = Order(contestant.recorder, env_id, steps, repetition, str(folder), pid, check)
        done = subprocess.run(
            [sys.executable, str(WORKER), json.dumps(asdict(order))],
            capture_output=True,
            text=True,
            timeout=WORKER_SECONDS,
            check=False,
            env=environment,
            cwd=scratch,
        )
        if done.returncode:
            raise RuntimeError(f"{contestant.label} on {env_id} failed:\n{done.stderr}")
    return replace(Run(**json.loads(done.stdout.splitlines()[-1])), label=contestant.label)


@contextlib.contextmanager
def daemon(environment: dict[str, str], scratch: Path) -> Iterator[int]:
    """A daemon with default settings, listening; yields its process id."""
    command = [sys.executable, "-m", "offcamd", "serve", "--http", "off", "--spool-dir", str(scratch / "spool")]
    log = scratch / "daemon.log"
    process = subprocess.Popen(
        [*command, "--log-file", str(log)], stdout=subprocess.PIPE, text=True, env=environment, cwd=scratch
    )
    with process:
        assert process.stdout is not None
        try:
            ready = process.stdout.readline()
            if not ready.startswith("offcam ready"):
                raise RuntimeError(f"the daemon did not start: {ready}{log.read_text() if log.exists() else ''}")
            yield process.pid
        finally:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()


def _clear(scratch: Path) -> None:
    for path in scratch.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
