"""An env that hangs where a variable says so: in the process that has its episodes happen again.

With ``STUCK`` it does in its first step, and writes its pid there; with ``GATE`` behind its third one, until there is
such a file.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import gymnasium as gym
import numpy as np


class Stuck(gym.Env):
    metadata = {"render_modes": ["rgb_array"], "render_fps": 30}  # noqa: RUF012 - as Gymnasium's
    observation_space = gym.spaces.Box(0, 1, (1,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def __init__(self, render_mode=None):
        self.render_mode = render_mode

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.left = 5
        return np.zeros(1, np.float32), {}

    def step(self, action):
        if marker := os.environ.get("STUCK"):
            with Path(marker).open("a") as file:
                file.write(f"{os.getpid()}\n")
            time.sleep(1000)
        self.left -= 1
        return np.zeros(1, np.float32), 1.0, self.left == 0, False, {}

    def render(self):
        while self.left == 2 and (gate := os.environ.get("GATE")) and not Path(gate).exists():
            time.sleep(0.01)
        return np.zeros((16, 16, 3), np.uint8)
