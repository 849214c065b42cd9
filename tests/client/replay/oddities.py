"""Envs that happen otherwise when they happen again, or need more than what came last; each is a class of its own."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import ClassVar

import gymnasium as gym
import numpy as np


class Counting(gym.Env):
    """It observes a number; its picture has that number, too."""

    metadata: ClassVar = {"render_modes": ["rgb_array"]}
    observation_space = gym.spaces.Box(-np.inf, np.inf, (1,), np.float64)
    action_space = gym.spaces.Discrete(2)

    def __init__(self, render_mode=None, step=1):
        self.render_mode = render_mode
        self.by = step
        self.number = 0.0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.begin()
        return np.array([self.number]), {}

    def begin(self):
        self.number = 0.0

    def step(self, action):
        self.number += self.by
        self.move(action)
        return np.array([self.number]), float(np.sum(action)), False, False, {}

    def move(self, action): ...

    def render(self):
        return np.full((8, 8, 3), int(self.number) % 256, np.uint8)


class Viewed(Counting):
    """Its pictures have the size that it is told, and each of its two cameras sees another grey."""

    def __init__(self, render_mode=None, width=8, height=8, camera_id=None, camera_name=None):
        super().__init__(render_mode)
        grey = {"side": 40, 1: 100}.get(camera_name or camera_id, 200)
        self.picture = np.full((height, width, 3), grey, np.uint8)

    def render(self):
        return self.picture


class Sized(Viewed):
    """It passes on what it does not know, as MuJoCo's envs do."""

    def __init__(self, render_mode=None, **kwargs):
        super().__init__(render_mode, **kwargs)


class Drawing(Counting):
    """It draws from its own generator, as a good env does."""

    def begin(self):
        self.number = self.np_random.normal()

    def move(self, action):
        self.number += self.np_random.normal()


class GlobalRandom(Counting):
    def move(self, action):
        self.number += np.random.normal()  # noqa: NPY002 - that is what is wrong with it


class Looked(Counting):
    """Whoever looks at it changes it."""

    def render(self):
        self.number += 1
        return super().render()


class Clock(Counting):
    def move(self, action):
        self.number = float(time.perf_counter_ns())


class Curriculum(Counting):
    """It becomes harder with each success, which no reset forgets."""

    def __init__(self, render_mode=None):
        super().__init__(render_mode)
        self.level = 0

    def begin(self):
        self.number = float(self.level)

    def move(self, action):
        self.level += int(action)


class HarderFromOutside(Counting):
    """Somebody sets how hard it is between its resets: that is on no tape."""

    level = 0

    def begin(self):
        self.number = float(self.level)


class Aging(Counting):
    """It has become what it is by its last three resets."""

    def __init__(self, render_mode=None):
        super().__init__(render_mode)
        self.last = [0.0, 0.0, 0.0]

    def begin(self):
        self.last = [*self.last[1:], self.np_random.normal()]
        self.number = sum(self.last)


class Hidden(Counting):
    """It has a generator that nobody knows of but the hook that is registered for it."""

    def __init__(self, render_mode=None):
        super().__init__(render_mode)
        self.own = np.random.default_rng()

    def move(self, action):
        self.number += self.own.normal()


class Changing(Counting):
    """It changes the action that it is given, and the options of its reset."""

    action_space = gym.spaces.Box(-1, 1, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.number = float(options.pop("begin")[0]) if options else 0.0
        return np.array([self.number]), {}

    def move(self, action):
        action *= 3
        self.number += float(action[0])


class Flickering(Drawing):
    """It draws its pictures with a random generator of their own."""

    def render(self):
        return np.full((8, 8, 3), np.random.default_rng().integers(256), np.uint8)


class Black(Drawing):
    def render(self):
        return np.zeros((8, 8, 3), np.uint8)


class Gated(Drawing):
    """It draws nothing before a file is there, and says by another one that it waits for that."""

    def render(self):
        gate = Path(os.environ["GATE"])
        while not gate.exists():
            gate.with_name("waits").touch()
            time.sleep(0.01)
        return super().render()
