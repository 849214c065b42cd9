"""The two scripts of Gymnasium's guide "Recording Agents", with only their import lines changed."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

import films
from waiting import HANG_SECONDS

EVALUATION = """
import gymnasium as gym
from offcam import RecordEpisodeStatistics, RecordVideo
import numpy as np

# Configuration
num_eval_episodes = 4
env_name = "CartPole-v1"  # Replace with your environment

# Create environment with recording capabilities
env = gym.make(env_name, render_mode="rgb_array")  # rgb_array needed for video recording

# Add video recording for every episode
env = RecordVideo(
    env,
    video_folder="cartpole-agent",    # Folder to save videos
    name_prefix="eval",               # Prefix for video filenames
    episode_trigger=lambda x: True    # Record every episode
)

# Add episode statistics tracking
env = RecordEpisodeStatistics(env, buffer_length=num_eval_episodes)

print(f"Starting evaluation for {num_eval_episodes} episodes...")
print(f"Videos will be saved to: cartpole-agent/")

for episode_num in range(num_eval_episodes):
    obs, info = env.reset()
    episode_reward = 0
    step_count = 0

    episode_over = False
    while not episode_over:
        # Replace this with your trained agent's policy
        action = env.action_space.sample()  # Random policy for demonstration

        obs, reward, terminated, truncated, info = env.step(action)
        episode_reward += reward
        step_count += 1

        episode_over = terminated or truncated

    print(f"Episode {episode_num + 1}: {step_count} steps, reward = {episode_reward}")

env.close()

# Print summary statistics
print(f'\\nEvaluation Summary:')
print(f'Episode durations: {list(env.time_queue)}')
print(f'Episode rewards: {list(env.return_queue)}')
print(f'Episode lengths: {list(env.length_queue)}')

# Calculate some useful metrics
avg_reward = np.sum(env.return_queue)
avg_length = np.sum(env.length_queue)
std_reward = np.std(env.return_queue)

print(f'\\nAverage reward: {avg_reward:.2f} ± {std_reward:.2f}')
print(f'Average episode length: {avg_length:.1f} steps')
print(f'Success rate: {sum(1 for r in env.return_queue if r > 0) / len(env.return_queue):.1%}')
"""

TRAINING = """
import logging
import gymnasium as gym
from offcam import RecordEpisodeStatistics, RecordVideo

# Training configuration
training_period = 250           # Record video every 250 episodes
num_training_episodes = 10_000  # Total training episodes
env_name = "CartPole-v1"

# Set up logging for episode statistics
logging.basicConfig(level=logging.INFO, format='%(message)s')

# Create environment with periodic video recording
env = gym.make(env_name, render_mode="rgb_array")

# Record videos periodically (every 250 episodes)
env = RecordVideo(
    env,
    video_folder="cartpole-training",
    name_prefix="training",
    episode_trigger=lambda x: x % training_period == 0  # Only record every 250th episode
)

# Track statistics for every episode (lightweight)
env = RecordEpisodeStatistics(env)

print(f"Starting training for {num_training_episodes} episodes")
print(f"Videos will be recorded every {training_period} episodes")
print(f"Videos saved to: cartpole-training/")

for episode_num in range(num_training_episodes):
    obs, info = env.reset()
    episode_over = False

    while not episode_over:
        # Replace with your actual training agent
        action = env.action_space.sample()  # Random policy for demonstration
        obs, reward, terminated, truncated, info = env.step(action)
        episode_over = terminated or truncated

    # Log episode statistics (available in info after episode ends)
    if "episode" in info:
        episode_data = info["episode"]
        logging.info(f"Episode {episode_num}: "
                    f"reward={episode_data['r']:.1f}, "
                    f"length={episode_data['l']}, "
                    f"time={episode_data['t']:.2f}s")

        # Additional analysis for milestone episodes
        if episode_num % 1000 == 0:
            # Look at recent performance (last 100 episodes)
            recent_rewards = list(env.return_queue)[-100:]
            if recent_rewards:
                avg_recent = sum(recent_rewards) / len(recent_rewards)
                print(f"  -> Average reward over last 100 episodes: {avg_recent:.1f}")

env.close()
"""


PATIENT = """
import offcam.connection.timeouts
offcam.connection.timeouts.PATIENCE_SECONDS, offcam.connection.timeouts.WAIT_BUDGET_SECONDS = 20.0, 1e6
"""
"""On a busy machine frames are dropped, and counted, where the daemon is far behind; here it is waited for instead."""


def run(script: str, daemon, folder) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-c", PATIENT + script],
        env={**daemon.environment, "OFFCAM": "require"},  # however long the daemon takes on a busy machine
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=HANG_SECONDS,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert "WARN" not in done.stderr, done.stderr
    return done


def check_videos(folder, prefix: str, lengths: dict[int, int]) -> None:
    """Each video holds exactly its episode: steps + 1 frames, all accounted for."""
    films.check(folder)
    assert films.videos(folder) == sorted(f"{prefix}-episode-{episode}.mp4" for episode in lengths)
    clips = films.clips(folder)
    for episode, length in lengths.items():
        clip = clips[f"{prefix}-episode-{episode}.mp4"]
        assert (clip.frames, clip.dropped, clip.length) == (length + 1, {}, length)
        assert sum(1 for _ in films.shots(folder / str(clip.file))) == length + 1


def test_evaluation(tmp_path, daemon):
    done = run(EVALUATION, daemon, tmp_path)
    lengths = [int(text) for text in re.findall(r"Episode \d: (\d+) steps", done.stdout)]
    assert len(lengths) == 4
    assert f"Episode lengths: {lengths}" in done.stdout
    check_videos(tmp_path / "cartpole-agent", "eval", dict(enumerate(lengths)))
    assert [episode.length for episode in films.episodes(tmp_path / "cartpole-agent")] == lengths


def check_training(tmp_path, daemon, episodes: int, period: int) -> None:
    script = TRAINING.replace("10_000", str(episodes)).replace("training_period = 250", f"training_period = {period}")
    done = run(script, daemon, tmp_path)
    lengths = [int(text) for text in re.findall(r"length=(\d+)", done.stderr)]
    assert len(lengths) == episodes
    rows = films.episodes(tmp_path / "cartpole-training")
    assert [(row.episode, row.length, row.return_) for row in rows] == [
        (episode, length, float(length)) for episode, length in enumerate(lengths)
    ]
    check_videos(
        tmp_path / "cartpole-training", "training", {number: lengths[number] for number in range(0, episodes, period)}
    )


@pytest.mark.parametrize("episodes", [1001, pytest.param(10_000, marks=pytest.mark.slow)])
def test_training(tmp_path, daemon, episodes):
    check_training(tmp_path, daemon, episodes, 250)
