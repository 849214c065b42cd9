"""Three nodes of Ray's on one machine, whose workers record while actors, daemons, workers and a node die.

Run as a script: ``ray_cluster.py FOLDER PLAYED EPISODES``. Each worker plays so many episodes and writes each that has
ended into a file of its own in PLAYED. It prints, as JSON, where the workers recorded.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import gymnasium as gym
import ray
from ray.cluster_utils import Cluster
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from offcam.integrations.ray import NAMESPACE, addresses, record
from offcam_proto.endpoints import parse_endpoint
from offcamd.process.instance_lock import read_lock
from waiting import wait_until

WORKERS = 6
KILLED = (2, 3, 5)
"""One by itself, and those of the node that dies: until then they play."""


class Worker:
    """Records an env; an actor, so that it can be killed."""

    def play(self, number: int, episodes: int, folder: str, played: str) -> str:
        """Play, and return the run's folder."""
        env: Any = gym.make("CartPole-v1", render_mode="rgb_array", max_episode_steps=12)
        env = record(env, folder, every=10, name_prefix=f"worker-{number}")
        env.action_space.seed(number)
        with Path(played, f"{number}.txt").open("a", buffering=1) as told:
            for episode in range(episodes):
                env.reset(seed=1000 * number + episode)
                over = False
                while not over:
                    *_, terminated, truncated, info = env.step(env.action_space.sample())
                    over = terminated or truncated
                told.write(f"{episode} {info['episode']['r']}\n")
        env.close()
        return str(env.run_folder)


def daemon_pid(address: str) -> int:
    """The process that listens there."""
    info = read_lock(parse_endpoint(address, "the recorder"))
    assert info is not None
    return info.pid


def outcome(reference: Any) -> str:
    """Where a worker recorded; nothing where it was killed."""
    try:
        return str(ray.get(reference))
    except RayError:
        return ""


def main(folder: str, played: str, episodes: int) -> None:
    """Play, with deaths in the middle."""
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    others = [cluster.add_node(num_cpus=2) for _ in range(2)]
    given = {name: value for name, value in os.environ.items() if name in ("PYTHONPATH", "XDG_RUNTIME_DIR", "HOME")}
    ray.init(address=cluster.address, log_to_driver=False, runtime_env={"env_vars": given})
    nodes = [node["NodeID"] for node in ray.nodes()]
    head = ray.get_runtime_context().get_node_id()
    dying = next(node["NodeID"] for node in ray.nodes() if node["NodeManagerPort"] == others[-1].node_manager_port)
    nodes = [head, next(node for node in nodes if node not in (head, dying)), dying]
    kind = ray.remote(Worker)
    workers = [
        kind.options(
            num_cpus=0.5, scheduling_strategy=NodeAffinitySchedulingStrategy(nodes[number % 3], soft=False)
        ).remote()
        for number in range(WORKERS)
    ]
    done = [
        worker.play.remote(number, sys.maxsize if number in KILLED else episodes, folder, played)
        for number, worker in enumerate(workers)
    ]

    def ended(number: int) -> int:
        file = Path(played, f"{number}.txt")
        return len(file.read_text().splitlines()) if file.exists() else 0

    wait_until(lambda: min(map(ended, range(WORKERS))) > episodes // 10, "all workers play")
    recorders = addresses()
    assert set(recorders) == set(nodes), (recorders, nodes)
    pids = {node: daemon_pid(address) for node, address in recorders.items()}
    ray.kill(ray.get_actor(f"offcam-{nodes[0]}", NAMESPACE), no_restart=False)  # the recorder's actor, not its daemon
    os.kill(pids[nodes[1]], signal.SIGKILL)
    ray.kill(workers[3])
    cluster.remove_node(others[-1], allow_graceful=False)
    finished = {number: outcome(reference) for number, reference in enumerate(done)}
    wait_until(lambda: set(addresses()) == set(nodes[:2]), "the recorders of the nodes that live are there")
    again = addresses()
    assert {node: again[node] for node in nodes[:2]} == {node: recorders[node] for node in nodes[:2]}
    assert daemon_pid(again[nodes[0]]) == pids[nodes[0]] != daemon_pid(again[nodes[1]])
    print(json.dumps({"finished": finished, "addresses": recorders, "nodes": nodes}))
    ray.shutdown()
    cluster.shutdown()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
