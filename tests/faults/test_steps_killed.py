"""A client that is killed in the midst of its steps: each that was taken is there, once, and none is torn."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from offcam.recorder.journal import MAPPED_TYPES
from offcam_runs.filesystem import filesystem_type
from offcam_runs.format import PENDING_NAME
from offcamd.store.recovery import recover_folder
from stepreader import steps

AGENT = """
import os, sys, numpy, offcam
from gymnasium import spaces
from envs import Barcode
class Texts(Barcode):
    action_space = spaces.Dict(number=spaces.Box(0, 1e9, (3,), numpy.float64), said=spaces.Text(30))
env = offcam.RecordVideo(Texts(50), sys.argv[1], lambda _: False, steps=True)
env.reset()
print("begun", flush=True)
for count in range(10**9):
    if env.step({"number": numpy.full(3, count), "said": str(count) * (count % 4)})[2]:
        env.reset()
    os.write(1, b"x")
"""


@pytest.mark.parametrize("rounds", [4, pytest.param(40, marks=pytest.mark.slow)])
def test_each_step_that_was_taken_is_there(tmp_path, runtime, monkeypatch, rounds):
    if filesystem_type(tmp_path) not in MAPPED_TYPES:
        pytest.skip("its file system is none of those that are mapped")
    monkeypatch.setenv("OFFCAM_ADDR", f"ipc://{runtime}/nobody")
    chance = random.Random(5)
    environment = {**os.environ, "PYTHONPATH": os.fspath(Path(__file__).parents[1])}
    for number in range(rounds):
        folder, least = tmp_path / str(number), chance.randint(1, 6_000)
        command = [sys.executable, "-c", AGENT, str(folder)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment) as agent:
            assert agent.stdout is not None
            assert agent.stdout.readline() == b"begun\n"
            taken = len(agent.stdout.read(least))
            agent.kill()
            taken += len(agent.stdout.read())
        rows = steps(folder)
        assert [row["row"] for row in rows] == list(range(len(rows)))
        played = [row for row in rows if row["step"]]
        assert len(played) in (taken, taken + 1)
        assert [row["action.number"].tolist() for row in played] == [[count] * 3 for count in range(len(played))]
        assert all((str(count) * (count % 4)).encode() in row["action.said"] for count, row in enumerate(played))
        assert len(rows) - len(played) in (1 + (len(played) - 1) // 50, 1 + len(played) // 50)
        recover_folder(folder)
        assert not (folder / PENDING_NAME).exists()
