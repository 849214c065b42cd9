"""Record an evaluation with the twins of Gymnasium's wrappers: only the import line is another one."""

import gymnasium as gym
import numpy as np

from offcam import RecordEpisodeStatistics, RecordVideo  # was: from gymnasium.wrappers import ...

env = gym.make("CartPole-v1", render_mode="rgb_array")
env = RecordVideo(env, "runs/evaluation", name_prefix="eval", episode_trigger=lambda episode: True)
env = RecordEpisodeStatistics(env, buffer_length=10)
for episode in range(10):
    obs, info = env.reset(seed=episode)
    over = False
    while not over:
        obs, reward, terminated, truncated, info = env.step(env.action_space.sample())
        over = terminated or truncated
env.close()
print(f"return {np.mean(env.return_queue):.1f}, length {np.mean(env.length_queue):.1f}")
