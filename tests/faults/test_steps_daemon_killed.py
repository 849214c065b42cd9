"""SIGKILL of the daemon, many times, and of the agent at last: each step is on the disk, once and in order."""

from __future__ import annotations

import os
import random
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

import offcam
from offcam_runs.database import open_to_read
from offcam_runs.format import INDEX_NAME, PENDING_NAME
from offcam_runs.steps.load import all_steps
from offcam_runs.streams import read_streams
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
    time.sleep(0.0002)
    os.write(1, b"x")
"""


def blocks(folder: Path) -> int:
    """How many blocks the index has, without those that are still in the journal."""
    try:
        with closing(sqlite3.connect(f"file:{folder / INDEX_NAME}?mode=ro", uri=True)) as database:
            return int(database.execute("SELECT count(*) FROM step_blocks").fetchone()[0])
    except sqlite3.Error:  # it is not there yet
        return 0


@pytest.mark.parametrize("kills", [pytest.param(3, id="short"), pytest.param(30, id="long", marks=pytest.mark.slow)])
def test_each_step_is_there_once(kills, daemons, tmp_path, runtime):
    chance, folder = random.Random(kills), tmp_path / "run"
    daemons.start()
    environment = {**os.environ, "PYTHONPATH": os.fspath(Path(__file__).parents[1])}
    command = [sys.executable, "-c", AGENT, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment) as agent:
        assert agent.stdout is not None
        assert agent.stdout.readline() == b"begun\n"
        written = []
        reader = threading.Thread(target=lambda: written.append(len(agent.stdout.read())))  # or it waits for room
        reader.start()
        for _ in range(kills):
            before = blocks(folder)
            wait_until(lambda before=before: blocks(folder) > before, "more are on the disk")
            time.sleep(chance.random() / 10)  # a moment that has nothing to do with a block's
            daemons.kill()
            daemons.start()
        agent.kill()
        reader.join()
    (taken,) = written
    daemons.kill()
    recover_folder(folder)
    assert not (folder / PENDING_NAME).exists()
    run = offcam.load(folder)
    assert run.step_totals.dropped == {}
    assert [run.steps(number).complete for number in range(0, taken // 50, 100)] == [True] * ((taken // 50 + 99) // 100)
    with open_to_read(folder) as database:
        found = [steps for _, _, steps in all_steps(database, folder, read_streams(database))]
    rows = np.concatenate([steps.row for steps in found])
    assert rows.tolist() == list(range(len(rows)))
    played = [steps["step"] > 0 for steps in found]
    counts = np.concatenate([steps["count"][those] for steps, those in zip(found, played, strict=True) if those.any()])
    actions = np.concatenate([steps["action"][those] for steps, those in zip(found, played, strict=True)])
    assert counts.tolist() == list(range(len(counts)))
    assert len(counts) in (taken, taken + 1)
    assert (actions == counts % 2).all()
