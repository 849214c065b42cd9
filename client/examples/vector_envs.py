"""Record four environments that step together: one video shows all four, each of their episodes is kept."""

import gymnasium as gym

import offcam

envs = gym.make_vec("CartPole-v1", num_envs=4, render_mode="rgb_array")
envs = offcam.record(envs, "runs/vector", every=25)
obs, infos = envs.reset(seed=1)
for step in range(1000):
    obs, rewards, terminations, truncations, infos = envs.step(envs.action_space.sample())
envs.close()
print(f"{envs.episode_count} episodes")
