"""TorchRL: a policy gradient in an env that is recorded, and evaluations whose videos its VideoRecorder hands over."""

import gymnasium as gym
import torch
from tensordict.nn import InteractionType, ProbabilisticTensorDictModule, TensorDictModule, TensorDictSequential
from torchrl.envs import GymEnv, GymWrapper, TransformedEnv
from torchrl.modules import MLP, OneHotCategorical
from torchrl.record import VideoRecorder

import offcam
from offcam.integrations.torchrl import OffcamLogger

torch.set_num_threads(1)  # a network as small as this is slower with more
torch.manual_seed(1)
env = GymWrapper(offcam.record(gym.make("CartPole-v1", render_mode="rgb_array"), "runs/torchrl", every=10))
logger = OffcamLogger("torchrl-evaluation", "runs", fps=50)
pixels = GymEnv("CartPole-v1", from_pixels=True, pixels_only=False)
evaluation = TransformedEnv(pixels, VideoRecorder(logger, tag="policy", skip=1))

network = TensorDictModule(MLP(in_features=4, out_features=2, num_cells=[64]), ["observation"], ["logits"])
choice = ProbabilisticTensorDictModule(
    ["logits"], ["action"], distribution_class=OneHotCategorical, default_interaction_type=InteractionType.RANDOM
)
policy = TensorDictSequential(network, choice)
optimizer = torch.optim.Adam(policy.parameters(), lr=5e-3)
for episode in range(40):
    with torch.no_grad():
        played = env.rollout(500, policy)
    rewards = played["next", "reward"].squeeze(-1)
    to_go = rewards.flip(0).cumsum(0).flip(0)
    advantage = (to_go - to_go.mean()) / (to_go.std() + 1e-6)
    logits = network(played)["logits"]
    loss = -(OneHotCategorical(logits=logits).log_prob(played["action"]) * advantage).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if episode % 20 == 19:
        with torch.no_grad():
            evaluation.rollout(500, policy)
        evaluation.transform.dump()
env.close()
logger.close()
returns = offcam.load("runs/torchrl").episodes.return_
print(f"{len(returns)} episodes, return {returns[:10].mean():.0f} at first, {returns[-10:].mean():.0f} in the end")
