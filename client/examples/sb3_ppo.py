"""Stable-Baselines3: videos of PPO and of its evaluations, and what is recorded beside its own log in TensorBoard."""

from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env

import offcam
from offcam.integrations import stable_baselines3 as recording

pictures = {"render_mode": "rgb_array"}
envs = make_vec_env("CartPole-v1", 4, seed=1, env_kwargs=pictures)
envs = recording.record(envs, "runs/sb3", every=20, sync="tensorboard:logdir=logs")
one = make_vec_env("CartPole-v1", 1, seed=2, env_kwargs=pictures)
evaluations = recording.RecordEvaluations(one, "runs/sb3-evaluations", n_eval_episodes=3, eval_freq=1024, verbose=0)

model = PPO("MlpPolicy", envs, n_steps=256, device="cpu", seed=1, tensorboard_log="logs")
model.learn(8192, callback=evaluations)  # `tensorboard --logdir logs` shows PPO_1, which is its own, and offcam
evaluations.close()
envs.close()

returns = offcam.load("runs/sb3").episodes.return_
print(f"{len(returns)} episodes, return {returns[:20].mean():.0f} at first, {returns[-20:].mean():.0f} in the end")
evaluated = offcam.load("runs/sb3-evaluations").episodes
for steps in sorted(set(evaluated.info["timesteps"])):
    print(f"after {steps:.0f} steps {evaluated.return_[evaluated.info['timesteps'] == steps].mean():.0f}")
