"""The daemon is killed again and again under a training that records its steps, and at the end the training, too."""

from __future__ import annotations

import os
import random
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from actors import end

from offcam.recorder.journal import MAPPED_TYPES
from offcam_runs.filesystem import filesystem_type
from offcam_runs.format import INDEX_NAME, PENDING_NAME
from offcam_runs.run import read_run
from offcamd.store.recovery import recover_folder
from waiting import wait_until

LENGTH = 50

AGENT = f"""
import os, sys, time, numpy, offcam
from gymnasium import spaces
from envs import Barcode
class Texts(Barcode):
    action_space = spaces.Dict(number=spaces.Box(0, 1e9, (40,), numpy.float64), said=spaces.Text(30))
env = offcam.record(Texts({LENGTH}), sys.argv[1], every=10**9, steps=True)
env.reset()
print("begun", flush=True)
for count in range(10**9):
    offcam.trace(env, value=count)
    if env.step({{"number": numpy.full(40, count), "said": str(count) * (count % 4)}})[2]:
        env.reset()
    os.write(1, b"x")
    time.sleep(0.001)
"""


def blocks(folder: Path) -> int:
    """How many blocks the index has, without those that are still in the journal."""
    try:
        with closing(sqlite3.connect(f"file:{folder / INDEX_NAME}?mode=ro", uri=True)) as database:
            return int(database.execute("SELECT count(*) FROM step_blocks").fetchone()[0])
    except sqlite3.Error:  # it is not there yet
        return 0


@pytest.mark.parametrize("kills", [pytest.param(3, id="short"), pytest.param(50, id="long", marks=pytest.mark.slow)])
@pytest.mark.timeout(900)
def test_each_step_is_there_once_and_in_order(kills, daemons, tmp_path, stack, capsys):
    if filesystem_type(tmp_path) not in MAPPED_TYPES:
        pytest.skip("its file system is none of those that are mapped")
    chance = random.Random(kills)
    folder, said = tmp_path / "run", tmp_path / "said"
    daemons.start()
    environment = {**os.environ, "PYTHONPATH": os.fspath(Path(__file__).parents[1])}
    with said.open("wb") as out, (tmp_path / "err").open("wb") as err:
        agent = stack.enter_context(
            subprocess.Popen([sys.executable, "-c", AGENT, str(folder)], stdout=out, stderr=err, env=environment)
        )
    stack.callback(end, agent)
    for _ in range(kills):
        before = blocks(folder)
        wait_until(lambda before=before: blocks(folder) > before, "steps are stored", (tmp_path / "err").read_text)
        time.sleep(chance.random() / 5)  # a moment that has nothing to do with a record's end
        daemons.kill()
        daemons.start()
    agent.kill()
    agent.wait()
    taken = len(said.read_bytes()) - len("begun\n")
    daemons.stop()
    recover_folder(folder)
    assert not (folder / PENDING_NAME).exists()
    check(folder, taken)
    with capsys.disabled():
        print(f"\n{kills} kills: {taken} steps were taken, and each is stored once")


def check(folder: Path, taken: int) -> None:
    """Each step that was taken is there once, in order, with its own action; and maybe the one that was cut off."""
    run = read_run(folder)
    assert run.quarantined == 0
    assert run.step_totals.dropped == {}
    rows = counted = 0
    while rows < run.step_totals.rows:
        steps = run.steps(rows // (LENGTH + 1))
        assert steps.gaps == ()
        assert steps.row.tolist() == list(range(rows, rows + steps.rows))
        assert steps["step"].tolist() == list(range(steps.rows))
        assert steps.complete == (steps.rows == LENGTH + 1)
        played = range(counted, counted + steps.rows - 1)
        np.testing.assert_array_equal(steps["value"][1:], played)
        np.testing.assert_array_equal(steps["action.number"][1:], np.repeat(played, 40).reshape(-1, 40))
        assert [str(text or "") for text in steps["action.said"][1:]] == [str(n) * (n % 4) for n in played]
        rows, counted = rows + steps.rows, counted + steps.rows - 1
    assert counted in (taken, taken + 1)
