"""LeRobot's own reader over an exported dataset, in an environment of its own: it asks for an older PyAV."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import ClassVar

import gymnasium as gym
import numpy as np
import pytest

import films
import offcam
from envs import Barcode, play
from offcam_runs.run import read_run
from waiting import HANG_SECONDS

READER = Path(__file__).with_name("lerobot_reader.py")
PYTHON = Path(__file__).parents[2] / ".venv-lerobot" / "bin" / "python"
CAMERA = "observation.images.render"

pytestmark = [
    pytest.mark.integrations,
    pytest.mark.usefixtures("daemon"),
    pytest.mark.skipif(not PYTHON.exists(), reason="LeRobot has no environment here: see `.ci/integrations --all`"),
]


class Arms(Barcode):
    action_space: ClassVar = gym.spaces.Dict(
        {"arm": gym.spaces.Box(-1, 1, (2,)), "grid": gym.spaces.Box(0, 9, (2, 3)), "gripper": gym.spaces.Discrete(3)}
    )


class Reacher(Barcode):
    action_space: ClassVar = gym.spaces.Box(-1, 1, (3,))


def read(exported: Path, tmp_path: Path):
    """What LeRobot reads: each column, and what it says of the dataset. Nobody may be asked on the network."""
    out = tmp_path / "read"
    out.mkdir()
    own = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "cache"), "PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    done = subprocess.run(
        [PYTHON, READER, exported, out], env=own, capture_output=True, text=True, check=False, timeout=HANG_SECONDS
    )
    assert done.returncode == 0, done.stderr
    with np.load(out / "rows.npz") as rows:
        return dict(rows), json.loads((out / "told.json").read_text())


def exported(folder: Path, offcam_command, tmp_path: Path) -> Path:
    target = tmp_path / "dataset"
    done = offcam_command("export", str(folder), "--to", "lerobot", "-o", str(target))
    assert done.returncode == 0, done.stderr
    return target


def test_each_row_has_its_picture_and_its_action(folder, tmp_path, offcam_command):
    env = offcam.record(Reacher(length=40, truncates=True), folder, every=1, steps=True)
    given = []
    for episode in range(3):
        env.reset()
        for _ in range(40):
            offcam.trace(env, value=episode / 8)
            given.append(env.action_space.sample())
            env.step(given[-1])
    env.close()
    rows, told = read(exported(folder, offcam_command, tmp_path), tmp_path)
    assert (told["episodes"], told["lengths"], told["fps"], told["camera"]) == (3, [40] * 3, 30, CAMERA)
    np.testing.assert_array_equal(rows["action"], given)
    np.testing.assert_array_equal(rows["next.reward"], np.ones(120, np.float32))
    np.testing.assert_array_equal(rows["next.done"], np.arange(120) % 40 == 39)
    np.testing.assert_array_equal(rows["trace.value"], np.repeat([0, 0.125, 0.25], 40))
    np.testing.assert_allclose(rows["timestamp"], np.tile(np.arange(40) / 30, 3), atol=1e-5)
    shown = [films.decode(picture, 84, 84) for picture in rows["picture"]]
    assert shown == list(range(40)) * 3
    np.testing.assert_allclose(told["means"]["action"], np.mean(given, axis=0), atol=1e-6)
    assert told["stats"][CAMERA]["mean"] == [3, 1, 1]
    assert (told["batch"], told["chunk"]) == ({"action": [4, 3]}, {"action": [3, 3]})
    assert set(rows["task"]) == {read_run(folder).streams[0].env_id}


def test_actions_of_several_kinds(folder, tmp_path, offcam_command):
    env = offcam.record(Arms(length=6), folder, every=1, steps=True)
    play(env, 2)
    env.close()
    target = exported(folder, offcam_command, tmp_path)
    names = ("arm", "grid", "gripper")
    run = read_run(folder)
    rows, told = read(target, tmp_path)
    for name in names:
        wanted = np.concatenate([clip.steps()[f"action.{name}"][1:] for clip in run.clips])
        np.testing.assert_array_equal(rows[f"action.{name}"], wanted.reshape(rows[f"action.{name}"].shape))
    assert told["batch"] == {"action.arm": [4, 2], "action.grid": [4, 6], "action.gripper": [4]}
