"""Workers of two nodes of Ray's that record to object storage, while a process that sends is killed.

Run as a script: ``ray_objects.py URL EPISODES``. It prints, as JSON, where the recorders are, where the nodes recorded,
and whether all was sent.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import Any

import gymnasium as gym
import psutil
import ray
from ray.cluster_utils import Cluster
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from offcam.integrations.ray import addresses, flush, record
from waiting import wait_until

WORKERS = 4


def play(number: int, episodes: int, url: str) -> str:
    """Record so many episodes; returns the folder on this node. Every other worker's node has no room for videos."""
    env: Any = gym.make("CartPole-v1", render_mode="rgb_array", max_episode_steps=12)
    limit = "1" if number % 2 else None
    env = record(env, url, local_limit=limit, every=10, name_prefix=f"worker-{number}", overflow="block")
    for episode in range(episodes):
        env.reset(seed=1000 * number + episode)
        while not any(env.step(env.action_space.sample())[2:4]):
            pass
    env.close()
    return str(env.run_folder)


def sending() -> list[psutil.Process]:
    """The processes that send."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if words[-2:] == ["-m", "offcam.sync"] and process.environ().get("HOME") == os.environ["HOME"]:
            found.append(process)
    return found


def main(url: str, episodes: int) -> None:
    """Play on two nodes, kill who sends, play on, and have all sent."""
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    cluster.add_node(num_cpus=2)
    given = {name: value for name, value in os.environ.items() if name in ("PYTHONPATH", "XDG_RUNTIME_DIR", "HOME")}
    ray.init(address=cluster.address, log_to_driver=False, runtime_env={"env_vars": given})
    nodes = [node["NodeID"] for node in ray.nodes()]

    def round_of(first: int) -> list[str]:
        task = ray.remote(play)
        return ray.get([
            task.options(scheduling_strategy=NodeAffinitySchedulingStrategy(nodes[number % 2], soft=False)).remote(
                first + number, episodes, url
            )
            for number in range(WORKERS)
        ])  # fmt: skip

    folders = round_of(0)
    wait_until(lambda: len(sending()) == len(nodes), "each node sends")
    for process in sending():
        process.send_signal(signal.SIGKILL)
        process.wait()
    round_of(WORKERS)
    sent = flush(timeout=300.0)
    left = len(sending())
    print(json.dumps({"sent": sent, "left": left, "folders": sorted(set(folders)), "addresses": addresses()}))
    ray.shutdown()
    cluster.shutdown()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
