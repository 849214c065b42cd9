"""The base install, whose statistics need nobody else, and which records with a daemon that another environment has."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys

import pytest
from place import Place, place

DAEMON = os.environ.get("OFFCAM_SMOKE_DAEMON")
"""The ``offcam`` of an environment with the server extra."""

pytestmark = [
    pytest.mark.slow,  # as `test_smoke` is
    pytest.mark.skipif(
        importlib.util.find_spec("av") is not None, reason="this environment has more than the base install"
    ),
]

ENV = """
import sys
import gymnasium as gym
import numpy as np
import offcam, offcam.vector

class Env(gym.Env):
    metadata = {"render_modes": ["rgb_array"], "render_fps": 30}
    observation_space = gym.spaces.Discrete(9)
    action_space = gym.spaces.Discrete(2)
    render_mode = "rgb_array"
    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return 0, {}
    def step(self, action):
        self.steps += 1
        return self.steps, 0.5, self.steps == 4, False, {}
    def render(self):
        return np.full((48, 64, 3), 40 * self.steps, np.uint8)

def play(env):
    env.reset(seed=0)
    for _ in range(4):
        *_, info = env.step(env.action_space.sample())
    return np.ravel(info["episode"]["r"]).tolist(), np.ravel(info["episode"]["l"]).tolist()
"""

STATISTICS = """
env = offcam.RecordEpisodeStatistics(Env())
assert play(env) == ([2.0], [4]), "single"
assert list(env.return_queue) == [2.0]
env.close()
envs = offcam.vector.RecordEpisodeStatistics(gym.vector.SyncVectorEnv([Env] * 3))
assert play(envs) == ([2.0] * 3, [4] * 3), "vector"
assert list(envs.length_queue) == [4] * 3
envs.close()
try:
    offcam.RecordVideo(Env(), "videos")
except offcam.OffcamError as error:
    assert "offcam[server]" in str(error), error
else:
    raise AssertionError("no daemon can be started here")
"""

VIDEO = """
env = offcam.record(Env(), sys.argv[1])
assert play(env) == ([2.0], [4])
env.close()
run = offcam.load(sys.argv[1], session="all")
assert run.episodes.return_.tolist() == [2.0]
(clip,) = run.clips
assert (clip.state, clip.frames, clip.width, clip.height) == ("final", 5, 64, 48), clip
"""


@pytest.fixture
def home():
    with place() as here:
        yield here


def test_statistics_alone(home: Place):
    home.run(sys.executable, "-c", ENV + STATISTICS, OFFCAM="on")


@pytest.mark.skipif(DAEMON is None, reason="OFFCAM_SMOKE_DAEMON names no daemon")
def test_a_daemon_of_another_environment_records(home: Place):
    address = f"ipc://{home.root}/r/other.sock"
    command = [str(DAEMON), "serve", "--endpoint", address]
    with subprocess.Popen(command, env=home.environment, stdout=subprocess.PIPE, cwd=home.root) as daemon:
        assert daemon.stdout is not None
        try:
            assert daemon.stdout.readline()
            home.run(sys.executable, "-c", ENV + VIDEO, str(home.root / "run"), OFFCAM_ADDR=address)
            assert "all is well" in home.run(str(DAEMON), "verify", str(home.root / "run"))
        finally:
            daemon.terminate()
    assert daemon.returncode == 0
