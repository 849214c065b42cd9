"""Record a simulator that steps many envs at once: a video shows four of them, statistics are kept of all."""

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

import offcam


class Balls(VectorEnv):
    """Balls on a line, each pushed to the left or the right, that should not roll off. All arrays are (num_envs,)."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 30, "autoreset_mode": AutoresetMode.NEXT_STEP}

    def __init__(self, num_envs, render_mode=None):
        self.num_envs, self.render_mode = num_envs, render_mode
        self.single_observation_space = gym.spaces.Box(-np.inf, np.inf, (2,))
        self.single_action_space = gym.spaces.Discrete(2)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place, self.speed = np.zeros(self.num_envs), np.zeros(self.num_envs)
        self._begin(np.full(self.num_envs, fill_value=True))
        return self._obs(), {}

    def step(self, actions):
        begins = self.over  # NEXT_STEP: those that ended in the last step begin anew in this one
        self.speed += np.where(actions, 0.01, -0.01)
        self.place += self.speed
        self._begin(begins)
        self.over = np.abs(self.place) > 1
        return self._obs(), np.where(begins, 0.0, 1.0), self.over, np.zeros(self.num_envs, bool), {}

    def render(self):
        pictures = np.full((self.num_envs, 32, 96, 3), 255, np.uint8)
        columns = np.clip(48 + 40 * self.place, 4, 91).astype(int)
        for picture, column in zip(pictures, columns):
            picture[12:20, column - 4 : column + 4] = (200, 60, 40)
        return pictures

    def _begin(self, which):
        self.place[which] = self.np_random.uniform(-0.5, 0.5, which.sum())
        self.speed[which] = 0
        self.over = np.zeros(self.num_envs, bool)

    def _obs(self):
        return np.stack([self.place, self.speed], 1).astype(np.float32)


envs = offcam.record(Balls(256, render_mode="rgb_array"), "runs/balls", every=2, record_envs=4)
obs, infos = envs.reset(seed=1)
envs.action_space.seed(1)
for step in range(300):
    obs, rewards, terminations, truncations, infos = envs.step(envs.action_space.sample())
envs.close()
print(f"{envs.episode_count} episodes of {envs.num_envs} balls")
