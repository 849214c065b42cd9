"""SIGKILL of the daemon, many times, and of the agent at last: each step is on the disk, once and in order."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

import offcam
from offcam_runs.format import PENDING_NAME
from offcam_runs.run import read_run
from offcamd.store.recovery import recover_folder
from waiting import wait_until

AGENT = """
import os, sys, time, offcam
from envs import Barcode
env = offcam.RecordVideo(Barcode(50), sys.argv[1], lambda _: False, steps=True)
env.reset()
print("begun", flush=True)
for count in range(10**9):
    offcam.trace(env, count=count)
    if env.step(count % 2)[2]:
        env.reset()
    if count % 100 == 0:
        time.sleep(0.001)
    os.write(1, b"x")
"""


@pytest.mark.parametrize("kills", [pytest.param(3, id="short"), pytest.param(30, id="long", marks=pytest.mark.slow)])
def test_each_step_is_there_once(kills, daemons, tmp_path, runtime):
    chance, folder = random.Random(kills), tmp_path / "run"
    daemons.start()
    environment = {**os.environ, "PYTHONPATH": os.fspath(Path(__file__).parents[1])}
    command = [sys.executable, "-c", AGENT, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment) as agent:
        assert agent.stdout is not None
        assert agent.stdout.readline() == b"begun\n"
        taken = 0
        for _ in range(kills):
            before = read_run(folder).step_totals.rows if (folder / "steps").exists() else 0
            wait_until(
                lambda before=before: (folder / "steps").exists() and read_run(folder).step_totals.rows > before,
                "more are on the disk",
            )
            time.sleep(chance.random() / 10)  # a moment that has nothing to do with a block's
            daemons.kill()
            taken += len(agent.stdout.read(chance.randint(1, 3000)))
            daemons.start()
        agent.kill()
        taken += len(agent.stdout.read())
    daemons.kill()
    recover_folder(folder)
    assert not (folder / PENDING_NAME).exists()
    run = offcam.load(folder)
    found = [run.steps(number) for number in range((taken + 49) // 50)]
    assert all(steps.complete for steps in found[:-1])
    counts = [int(count) for steps in found for count in steps["count"][steps["step"] > 0]]
    assert counts == list(range(len(counts)))
    assert len(counts) in (taken, taken + 1)
    assert all((steps["action"] == steps["count"] % 2)[1:].all() for steps in found)
