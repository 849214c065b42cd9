"""Gymnasium's guide to W&B, with the import changed and one line more: each video is uploaded."""

import os

import gymnasium as gym
import wandb

import offcam
from offcam import RecordEpisodeStatistics, RecordVideo

training_period = 25  # record a video every 25 episodes
num_training_episodes = 100

env = gym.make("CartPole-v1", render_mode="rgb_array")
env = RecordVideo(
    env,
    video_folder="cartpole-training",
    name_prefix="training",
    episode_trigger=lambda x: x % training_period == 0,
)
env = RecordEpisodeStatistics(env)

wandb.init(project="cartpole-training", name="q-learning-run-1")
offcam.sync(env, "wandb")  # the one line

for episode_num in range(num_training_episodes):
    obs, info = env.reset()
    episode_over = False
    while not episode_over:
        action = env.action_space.sample()
        obs, reward, terminated, truncated, info = env.step(action)
        episode_over = terminated or truncated

    if "episode" in info:
        episode_data = info["episode"]
        wandb.log(
            {
                "episode": episode_num,
                "reward": episode_data["r"],
                "length": episode_data["l"],
                "episode_time": episode_data["t"],
            }
        )

    # a file is looked for before it is there: what this finds is luck, with any recorder
    if episode_num % training_period == 0:
        video_path = f"cartpole-training/training-episode-{episode_num}.mp4"
        if os.path.exists(video_path):
            wandb.log({"training_video": wandb.Video(video_path)})

env.close()
wandb.finish()
