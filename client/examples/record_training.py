"""Record a training, in one call."""

import gymnasium as gym

import offcam

env = gym.make("CartPole-v1", render_mode="rgb_array")
env = offcam.record(env, "runs/cartpole", every=100)  # a video of each 100th episode, statistics of all
for episode in range(1000):
    obs, info = env.reset()
    over = False
    while not over:
        obs, reward, terminated, truncated, info = env.step(env.action_space.sample())
        over = terminated or truncated
env.close()  # returns when the files are final
