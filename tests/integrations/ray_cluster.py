"""Three nodes of Ray's on one machine, whose workers record while actors, daemons, workers and a node die at random.

Run as a script: ``ray_cluster.py FOLDER PLAYED WORKERS EPISODES DEATHS SEED``. Each worker plays so many episodes and
writes each that has ended into a file of its own in PLAYED; so often somebody dies before the last node does. It
prints, as JSON, where the workers recorded and who died.
"""

from __future__ import annotations

import json
import os
import random
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


def listens(address: str) -> int:
    """The process that listens there, 0 for none."""
    info = read_lock(parse_endpoint(address, "the recorder"))
    return 0 if info is None else info.pid


def outcome(reference: Any) -> str:
    """Where a worker recorded; nothing where it was killed."""
    try:
        return str(ray.get(reference))
    except RayError:
        return ""


class Deaths:
    """Whoever may die, and how.

    Args:
        nodes: ids of the nodes that stay.
        workers: actors that play, by number; those that are killed leave it.
        seed: of what is chosen.
    """

    def __init__(self, nodes: list[str], workers: dict[int, Any], seed: int) -> None:
        self._nodes = nodes
        self._workers = workers
        self._random = random.Random(seed)
        self.told: list[str] = []

    def one(self) -> None:
        """Have an actor, a daemon or a worker die."""
        kinds = [self.actor, self.daemon, *[self.worker] * (len(self._workers) > 2 * len(self._nodes))]
        self._random.choice(kinds)(self._random.choice(self._nodes))

    def actor(self, node: str) -> None:
        """Of a recorder, without its daemon; Ray makes another one."""
        daemon = daemon_pid(addresses()[node])
        ray.kill(ray.get_actor(f"offcam-{node}", NAMESPACE), no_restart=False)
        wait_until(lambda: node in addresses(), "the recorder's actor is there again")
        assert daemon_pid(addresses()[node]) == daemon
        self.told.append("actor")

    def daemon(self, node: str) -> None:
        """Of a recorder, whose actor starts another one."""
        address = addresses()[node]
        daemon = daemon_pid(address)
        os.kill(daemon, signal.SIGKILL)
        wait_until(lambda: listens(address) not in (0, daemon), "the recorder has another daemon")
        self.told.append("daemon")

    def worker(self, _node: str) -> None:
        """For ever."""
        number = self._random.choice(sorted(self._workers))
        ray.kill(self._workers.pop(number))
        self.told.append(f"worker {number}")


def main(folder: str, played: str, count: int, episodes: int, deaths: int, seed: int) -> None:
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
    workers = {
        number: kind.options(
            num_cpus=5.9 / count, scheduling_strategy=NodeAffinitySchedulingStrategy(nodes[number % 3], soft=False)
        ).remote()
        for number in range(count)
    }
    # those of the node that dies play until then
    done = {
        number: worker.play.remote(number, sys.maxsize if number % 3 == 2 else episodes, folder, played)
        for number, worker in workers.items()
    }

    def ended(number: int) -> int:
        file = Path(played, f"{number}.txt")
        return len(file.read_text().splitlines()) if file.exists() else 0

    wait_until(lambda: min(map(ended, range(count))) > 0, "all workers play")
    recorders = addresses()
    assert set(recorders) == set(nodes), (recorders, nodes)
    living = {number: worker for number, worker in workers.items() if number % 3 != 2}
    die = Deaths(nodes[:2], living, seed)
    for death in range(deaths):
        further = episodes * death // (deaths + 1)
        wait_until(lambda: min(map(ended, living)) >= further, "they go on")  # noqa: B023 - it is waited for in here
        die.one()
    cluster.remove_node(others[-1], allow_graceful=False)
    finished = {number: outcome(reference) for number, reference in done.items()}
    wait_until(lambda: set(addresses()) == set(nodes[:2]), "the recorders of the nodes that live are there")
    assert addresses() == {node: recorders[node] for node in nodes[:2]}
    print(json.dumps({"finished": finished, "addresses": recorders, "nodes": nodes, "died": die.told}))
    ray.shutdown()
    cluster.shutdown()


if __name__ == "__main__":
    main(*sys.argv[1:3], *map(int, sys.argv[3:]))
