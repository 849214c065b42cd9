"""Ray's tasks, trials of Tune and workers of Train that record by plain `offcam.record`, set up by a hook of Ray's.

Run as a script: ``ray_setup.py FOLDER``. It prints, as JSON, where the node's recorder is and what each worker had.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import gymnasium as gym
import ray
from ray import train, tune
from ray.train.torch import TorchTrainer

import offcam
from offcam.integrations.ray import addresses


def play(folder: str, prefix: str, episodes: int) -> None:
    """Record so many episodes, and note in a file beside the run what this worker recorded with."""
    env: Any = gym.make("CartPole-v1", render_mode="rgb_array", max_episode_steps=12)
    env = offcam.record(env, folder, every=2, name_prefix=prefix)
    for episode in range(episodes):
        env.reset(seed=episode)
        while not any(env.step(env.action_space.sample())[2:4]):
            pass
    env.close()
    had = {name: os.environ.get(name, "") for name in ("OFFCAM_ADDR", "OFFCAM_SESSION")}
    Path(folder, f"{prefix}.json").write_text(json.dumps(had))


def main(folder: str) -> None:
    """Play in tasks, in trials and in a training's workers, one after the other."""
    given = {name: value for name, value in os.environ.items() if name in ("PYTHONPATH", "XDG_RUNTIME_DIR", "HOME")}
    hook = {"env_vars": given, "worker_process_setup_hook": "offcam.integrations.ray.setup"}
    ray.init(num_cpus=3, include_dashboard=False, log_to_driver=False, runtime_env=hook)
    task = ray.remote(play)
    ray.get([task.remote(f"{folder}/tasks", f"task-{number}", 3) for number in range(3)])

    def trial(config: dict[str, int]) -> None:
        play(f"{folder}/tune-{config['episodes']}", "trial", config["episodes"])

    space = {"episodes": tune.grid_search([2, 4])}
    results = tune.Tuner(trial, param_space=space, run_config=tune.RunConfig(storage_path=f"{folder}/.tune")).fit()
    assert not results.errors, results.errors

    def worker() -> None:
        play(f"{folder}/train", f"rank-{train.get_context().get_world_rank()}", 5)

    scaling = train.ScalingConfig(num_workers=2)
    TorchTrainer(worker, scaling_config=scaling, run_config=train.RunConfig(storage_path=f"{folder}/.train")).fit()
    (recorder,) = addresses().values()
    had = {str(file.relative_to(folder)): json.loads(file.read_text()) for file in Path(folder).glob("*/*.json")}
    print(json.dumps({"recorder": recorder, "had": had}))
    ray.shutdown()


if __name__ == "__main__":
    main(sys.argv[1])
