"""Record an env of one's own: a `render_mode`, a picture from `render()`, and `is_success` for the success rate."""

import gymnasium as gym
import numpy as np

import offcam


class Walk(gym.Env):
    """A dot that walks to the right edge; it slips now and then."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}
    observation_space = gym.spaces.Box(0, 1, (1,))
    action_space = gym.spaces.Discrete(2)

    def __init__(self, render_mode=None):
        self.render_mode = render_mode

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place, self.steps = 5, 0
        return self._obs(), {}

    def step(self, action):
        slips = self.np_random.random() < 0.1  # chance from np_random alone: then episodes can happen again
        self.place = max(0, self.place + (1 if action and not slips else -1))
        self.steps += 1
        there = self.place == 15
        return self._obs(), float(there), there, self.steps >= 30, {"is_success": there}

    def render(self):
        picture = np.full((32, 160, 3), 255, np.uint8)
        picture[12:20, self.place * 10 : self.place * 10 + 8] = (200, 60, 40)
        return picture

    def _obs(self):
        return np.array([self.place / 15], np.float32)


env = offcam.record(Walk(render_mode="rgb_array"), "runs/walk", every=10)
for episode in range(40):
    obs, info = env.reset(seed=episode)
    over = False
    while not over:
        obs, reward, terminated, truncated, info = env.step(env.np_random.random() < 0.8)
        over = terminated or truncated
env.close()
rate = offcam.load("runs/walk").episodes.success_rate()
print(f"{rate.successes} of {rate.count} arrived")
