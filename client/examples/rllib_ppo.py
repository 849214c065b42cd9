"""RLlib: each EnvRunner records its envs into one run, and the algorithm's metrics have what was recorded."""

from functools import partial
from pathlib import Path

import gymnasium as gym
from ray.rllib.algorithms.ppo import PPOConfig
from ray.tune.registry import register_env

import offcam
from offcam.integrations.rllib import OffcamCallback


def make_env(folder, config):
    env = gym.make("CartPole-v1", render_mode="rgb_array")
    return offcam.record(env, folder, every=20, name_prefix=f"worker-{config.worker_index}")


folder = str(Path("runs/rllib").absolute())  # Ray's workers have other working directories
register_env("recorded", partial(make_env, folder))
config = (
    PPOConfig()
    .environment("recorded")
    .env_runners(num_env_runners=1)
    .training(train_batch_size_per_learner=1000, minibatch_size=250, num_epochs=4)
    .callbacks(OffcamCallback)
)
algorithm = config.build_algo()
for iteration in range(3):
    recorded = algorithm.train()["env_runners"]["offcam"]
    print(f"return {recorded['return']:.1f}, videos {recorded.get('video', 'none yet')}")
algorithm.stop()
