"""What type checkers make of a user's script: what is right passes in strict mode, and what is not is named."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

NODE_MODULES = Path(__file__).parents[1] / "javascript" / "node_modules"

pytestmark = pytest.mark.slow  # a checker reads numpy's and Gymnasium's types first: 5 to 20 s

RIGHT = """
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

import offcam
import offcam.vector

env = gym.make("CartPole-v1", render_mode="rgb_array")
rec = offcam.record(env, Path("runs"), every=np.int64(10), video_length=np.int32(5), fps=np.float32(30))
print(rec.return_queue, rec.length_queue, rec.episode_count, rec.run_folder, rec.flush())
plain: gym.Env[Any, Any] = rec
rec.step(rec.action_space.sample())

env = offcam.record(env)  # the usual way to write it; the name keeps what it can do
print(env.return_queue)

envs = offcam.record(gym.make_vec("CartPole-v1", 2, render_mode="rgb_array"), "runs", record_first_only=True)
print(envs.return_queue, envs.episode_returns.mean(), envs.num_envs)
plain_envs: gym.vector.VectorEnv[Any, Any, Any] = envs


class Mine(gym.Env[int, float]):
    pass


obs, info = offcam.record(Mine(), episode_trigger=lambda episode: episode > 3).reset()
number: int = obs
video = offcam.RecordVideo(Mine(), Path("runs"), video_length=np.int64(3))
vector_video = offcam.vector.RecordVideo(plain_envs, Path("runs"))
print(video.video_folder, vector_video.frame_cols, offcam.load(Path("runs")).episodes.return_[-1])
try:
    offcam.load("elsewhere")
except (offcam.NotARunFolder, offcam.RunFormatTooNew) as error:
    print(error)
"""

WRONG = (
    "offcam.record(env, evry=10)",
    'offcam.record(env, every="10")',
    "offcam.record(env, episode_trigger=100)",
    "offcam.record(env, record_first_only=True)",
    'offcam.record("CartPole-v1")',
    "offcam.record(env).video_lenght",
    "offcam.RecordVideo(env, 5)",
)
HEAD = 'import gymnasium as gym\n\nimport offcam\n\nenv = gym.make("CartPole-v1")\n'


def mypy(script: Path) -> subprocess.CompletedProcess[str]:
    pytest.importorskip("mypy")
    return _run(
        [
            sys.executable,
            "-m",
            "mypy",
            "--strict",
            "--config-file",
            os.devnull,
            "--cache-dir",
            ".mypy_cache",
            script.name,
        ],
        script,
    )


def pyright(script: Path) -> subprocess.CompletedProcess[str]:
    beside = os.path.dirname(sys.executable)  # noqa: PTH120 - not a link's target
    places = os.pathsep.join([str(NODE_MODULES / ".bin"), beside, os.environ.get("PATH", "")])
    program = shutil.which("pyright", path=places)
    if program is None:
        pytest.skip("pyright is not here (`npm --prefix tests/javascript install`)")
    return _run([program, "--pythonpath", sys.executable, script.name], script)


def _run(command: list[str], script: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=script.parent, capture_output=True, text=True, timeout=110, check=False)


@pytest.mark.parametrize("checker", [mypy, pyright])
def test_a_users_script(checker, tmp_path):
    script = tmp_path / "train.py"
    script.write_text(RIGHT)
    done = checker(script)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("checker", [mypy, pyright])
def test_a_users_mistakes(checker, tmp_path):
    script = tmp_path / "train.py"
    script.write_text(HEAD + "\n".join(WRONG))
    done = checker(script)
    assert done.returncode == 1, done.stdout + done.stderr
    for number, line in enumerate(WRONG, HEAD.count("\n") + 1):
        found = [row for row in done.stdout.splitlines() if f"train.py:{number}:" in row and "error" in row]
        assert found, f"nothing is said of {line!r}:\n{done.stdout}"
