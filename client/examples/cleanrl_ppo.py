"""PPO as in CleanRL's single file: offcam is in `make_env`, where Gymnasium's wrappers are; env 0 has the videos."""

import gymnasium as gym
import numpy as np
import torch
from torch import nn
from torch.distributions import Categorical

import offcam

folder, num_envs, num_steps, updates, epochs, minibatch = "runs/cleanrl", 4, 128, 16, 4, 128
gamma, lam, clip, entropy, rate = 0.99, 0.95, 0.2, 0.01, 1e-3


def make_env(index):
    def thunk():
        if index > 0:
            return offcam.RecordEpisodeStatistics(gym.make("CartPole-v1"), folder=folder)
        return offcam.record(gym.make("CartPole-v1", render_mode="rgb_array"), folder, every=20)

    return thunk


class Agent(nn.Module):
    """An actor and a critic."""

    def __init__(self):
        super().__init__()
        layer = lambda *size: nn.Sequential(nn.Linear(*size), nn.Tanh())  # noqa: E731
        self.actor = nn.Sequential(layer(4, 64), layer(64, 64), nn.Linear(64, 2))
        self.critic = nn.Sequential(layer(4, 64), layer(64, 64), nn.Linear(64, 1))

    def forward(self, obs, action=None):
        policy = Categorical(logits=self.actor(obs))
        action = policy.sample() if action is None else action
        return action, policy.log_prob(action), policy.entropy(), self.critic(obs).squeeze(-1)


torch.set_num_threads(1)  # networks as small as these are slower with more
torch.manual_seed(1)
envs = gym.vector.SyncVectorEnv([make_env(index) for index in range(num_envs)])
agent = Agent()
optimizer = torch.optim.Adam(agent.parameters(), lr=rate)
obs = torch.as_tensor(envs.reset(seed=1)[0])
over = torch.zeros(num_envs)
for update in range(updates):
    rows = []
    for _ in range(num_steps):
        with torch.no_grad():
            action, log_prob, _, value = agent(obs)
        new, reward, terminations, truncations, infos = envs.step(action.numpy())
        rows.append((obs, action, log_prob, value, torch.as_tensor(reward, dtype=torch.float32), over))
        obs, over = torch.as_tensor(new), torch.as_tensor(terminations | truncations, dtype=torch.float32)
    all_obs, actions, log_probs, values, rewards, begins = map(torch.stack, zip(*rows))
    with torch.no_grad():
        after, last = agent(obs)[3], torch.zeros(num_envs)
    advantages = torch.zeros_like(rewards)
    for step in reversed(range(num_steps)):
        goes_on = 1 - (begins[step + 1] if step + 1 < num_steps else over)
        delta = rewards[step] + gamma * goes_on * after - values[step]
        advantages[step] = last = delta + gamma * lam * goes_on * last
        after = values[step]
    played = (begins == 0).flatten()  # without the steps in which an env was reset, as these are not the agent's
    batch = [each.flatten(0, 1)[played] for each in (all_obs, actions, log_probs, advantages, advantages + values)]
    for _ in range(epochs):
        for rows in torch.randperm(len(batch[0])).split(minibatch):
            obs_, action, old, advantage, target = (each[rows] for each in batch)
            _, log_prob, spread, value = agent(obs_, action)
            advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
            ratio = (log_prob - old).exp()
            policy_loss = -torch.min(ratio * advantage, ratio.clamp(1 - clip, 1 + clip) * advantage).mean()
            loss = policy_loss + 0.5 * (value - target).square().mean() - entropy * spread.mean()
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(agent.parameters(), 0.5)
            optimizer.step()
envs.close()
returns = offcam.load(folder).episodes.return_
print(f"{len(returns)} episodes, return {np.mean(returns[:20]):.0f} at first, {np.mean(returns[-20:]):.0f} in the end")
