"""What steps cost behind the loop: bytes of a step on the disk, and the store's thread for each block.

``PYTHONPATH=tests python tests/bench/steps.py [--steps 20000]`` plays envs by a random policy without a video, writes
their steps as the daemon's store does, and prints a table. An env that is not installed is left out.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import gymnasium as gym

import offcam
from offcam_proto.codec import pack_record
from offcam_proto.messages import OpenStream
from offcam_proto.records import StepRecord
from offcam_runs.run import read_run
from offcam_runs.steps import files
from offcam_runs.steps.layout import STEPS
from offcamd.store.entries import StreamOwner
from offcamd.store.index import RunIndex
from stepreader import records

CASES = (
    ("CartPole-v1", ""), ("CartPole-v1", "value"), ("HalfCheetah-v5", ""), ("Pendulum-v1", ""),
    ("CartPole-v1", "replay"), ("LunarLander-v3", "replay"), ("HalfCheetah-v5", "replay"), ("Pendulum-v1", "replay"),
)  # fmt: skip
"""The envs, and what is recorded beside: a number of the agent's that changes in each step, or what replay needs."""

STREAM = b"s" * 16
OWNER = StreamOwner("host", 1, "bench")


def played(env_id: str, steps: int, folder: Path, more: str) -> list[StepRecord]:
    """The records of so many steps, as a client makes them."""
    inner = gym.make(env_id, render_mode=None if more == "replay" else "rgb_array")
    how: dict[str, Any] = {"source": "replay"} if more == "replay" else {"steps": True}
    env = offcam.RecordVideo(inner, str(folder), lambda _: False, **how)  # no daemon: records stay beside the run
    env.action_space.seed(0)
    env.reset(seed=0)
    for count in range(steps):
        if more == "value":
            offcam.trace(env, value=count / 7)
        _, _, terminated, truncated, _ = env.step(env.action_space.sample())
        if terminated or truncated:
            env.reset()
    found = [record for record in records(folder) if isinstance(record, StepRecord)]
    env.close()
    return found


def written(made: list[StepRecord], folder: Path) -> tuple[float, int, float]:
    """Have an index take records in, each in a transaction of its own.

    Returns:
        Seconds of the thread for a block, bytes in the run's files of steps, seconds to read all of them.
    """
    bodies = [pack_record(record) for record in made]
    index = RunIndex.open(folder)
    index.open_stream(OpenStream(0, STREAM, str(folder), "rl-video", 0, False, "x", 1, False, 0.0), OWNER)
    began = time.thread_time()
    for seq, body in enumerate(bodies, 1):
        index.apply(STREAM, seq, [body])
    took = time.thread_time() - began
    index.close()
    size = sum(path.stat().st_size for path in (folder / files.FOLDER).iterdir())
    began = time.thread_time()
    episodes = max(record.last_episode for record in made) + 1
    run = read_run(folder)
    for number in range(min(episodes, 100)):
        run.steps(number)
    return took / len(bodies), size, (time.thread_time() - began) / min(episodes, 100)


def row(env_id: str, steps: int, more: str) -> tuple[Any, ...] | None:
    with tempfile.TemporaryDirectory() as name:
        try:
            made = played(env_id, steps, Path(name) / "client", more)
        except gym.error.Error:
            return None
        rows = sum(record.count for record in made if record.table == STEPS)
        block, size, read = written(made, Path(name) / "run")
        plain = sum(len(record.rows) + len(record.heap) for record in made) / rows
        return env_id, more or "-", rows, len(made), plain, size / rows, block * 1e3, read * 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=20_000)
    steps = parser.parse_args().steps
    warnings.simplefilter("ignore")  # that there is no daemon
    os.environ["OFFCAM_ADDR"] = f"ipc://{tempfile.gettempdir()}/nobody-listens-here"
    print("env             more     rows  blocks  plain B/row  disk B/row  store ms/block  read ms/episode")
    for env_id, more in CASES:
        if found := row(env_id, steps, more):
            print("{:<15} {:<6} {:>6} {:>7} {:>12.1f} {:>11.2f} {:>15.2f} {:>16.2f}".format(*found))


if __name__ == "__main__":
    main()
