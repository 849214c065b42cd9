"""Decide afterwards which episodes are worth a look: by a rule, or by having them happen again."""

import gymnasium as gym

import offcam
from offcam import keep


def train(env):
    for episode in range(30):
        obs, info = env.reset(seed=episode)
        over = False
        while not over:
            obs, reward, terminated, truncated, info = env.step(env.action_space.sample())
            over = terminated or truncated
    env.close()


# Each episode is recorded, and its video is let go unless it is one of these.
env = gym.make("CartPole-v1", render_mode="rgb_array")
train(offcam.record(env, "runs/kept", keep=keep.best(2) | keep.worst(1)))
for clip in offcam.load("runs/kept").clips:
    print(f"{clip.file}: return {clip.return_:.0f}, kept by {clip.keep_reason}")

# Nothing is rendered; any episode can be rendered later: offcam render runs/replayable --best 2
env = gym.make("CartPole-v1")
train(offcam.record(env, "runs/replayable", source="replay", episode_trigger=lambda episode: False))
