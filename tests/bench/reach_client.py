"""A client of `reach`: ``python reach_client.py KIND AMOUNT FOLDER`` says it is ready, waits, and prints JSON."""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

import offcam
from offcam.recorder.env_stream import EnvStream
from offcam_proto.records import EpisodeRecord

PACE_FPS = 60
WAIT_SECONDS = 60.0


class Pictures(gym.Env[int, int]):
    """Shows a few pictures in turn, made beforehand: a block that moves over a plain ground."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": PACE_FPS}  # noqa: RUF012 - as Gymnasium declares it
    observation_space = gym.spaces.Discrete(1)
    action_space = gym.spaces.Discrete(1)
    render_mode = "rgb_array"

    def __init__(self, height: int, width: int) -> None:
        side = height // 5
        self._pictures = [np.full((height, width, 3), 230, np.uint8) for _ in range(16)]
        for number, picture in enumerate(self._pictures):
            left = number * (width - side) // 16
            picture[2 * side : 3 * side, left : left + side] = (40, 90, 160)
        self._steps = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
        return 0, {}

    def step(self, action: int) -> tuple[int, float, bool, bool, dict[str, Any]]:
        self._steps += 1
        return 0, 1.0, False, False, {}

    def render(self) -> Any:
        return self._pictures[self._steps % len(self._pictures)]


def filmed(height: int, width: int, folder: str, *, block: bool = False) -> gym.Env[Any, Any]:
    """Such an env whose every frame is recorded, with its first episode begun."""
    overflow = "block" if block else "drop"
    env = offcam.RecordVideo(Pictures(height, width), folder, episode_trigger=lambda _: True, overflow=overflow)
    env.reset()
    return env


def records(amount: int, folder: str) -> dict[str, float]:
    stream = EnvStream(folder, env_id="Bench-v0", num_envs=1, vector=False).acquire(stream_user)
    stream.open()
    begun = ready()
    for number in range(amount):
        stream.record(EpisodeRecord(0, number, 1.0, 1, 0.1, 0.0, True, False, None))
    stream.release(stream_user)
    return {"per second": amount / (time.perf_counter() - begun)}


stream_user = object()


def start(_amount: int, folder: str) -> dict[str, float]:
    """An embedded daemon's CPU from its spawn until a first record is acked, and that of what spawned it."""
    stream = EnvStream(folder, env_id="Bench-v0", num_envs=1, vector=False).acquire(stream_user)
    ready()
    stream.open()
    stream.record(EpisodeRecord(0, 0, 1.0, 1, 0.1, 0.0, True, False, None))
    connection = stream.connection
    assert connection.wait(lambda: not connection.unacked and connection.session.pid > 0, WAIT_SECONDS)
    pid = connection.session.pid
    spent = sum(int(file.read_text().split()[0]) for file in Path(f"/proc/{pid}/task").glob("*/schedstat")) / 1e9
    used = resource.getrusage(resource.RUSAGE_CHILDREN)  # the daemon is nobody's child
    os.kill(pid, signal.SIGTERM)
    return {"daemon": spent, "launcher": used.ru_utime + used.ru_stime}


def paced(amount: int, folder: str) -> dict[str, float]:
    env = filmed(1080, 1920, folder)
    begun = ready()
    longest = 0.0
    for number in range(amount):
        time.sleep(max(begun + number / PACE_FPS - time.perf_counter(), 0))
        before = time.perf_counter()
        env.step(0)
        longest = max(longest, time.perf_counter() - before)
    seconds = time.perf_counter() - begun
    env.close()
    return {
        "offered": amount + 1,
        "in the file": frames_in(folder),
        "steps a second": amount / seconds,
        "longest step ms": longest * 1000,
    }


def growth(amount: int, folder: str) -> dict[str, float]:
    env = filmed(480, 480, folder, block=True)
    ready()
    before = 0.0
    for number in range(amount):
        if number == 100:
            before = resident_mib()
        env.step(0)
    after = resident_mib()
    env.close()
    return {"frames": frames_in(folder), "MiB": after - before}


def flood(amount: int, folder: str) -> dict[str, float]:
    env = filmed(210, 160, folder, block=True)
    begun, cpu = ready(), time.process_time()
    for _ in range(amount):
        env.step(0)
    seconds = time.perf_counter() - begun
    env.close()
    spent = {"seconds": seconds, "ended": time.perf_counter(), "cpu": time.process_time() - cpu}
    return {"frames": frames_in(folder), **spent}


def ready() -> float:
    """Say so, wait for the word, and return the time."""
    print("ready", flush=True)
    sys.stdin.readline()
    return time.perf_counter()


def frames_in(folder: str) -> int:
    """Frames in the files, as the run's index counts them."""
    from offcam_runs.run import read_run  # noqa: PLC0415 - after what is measured

    return sum(clip.frames for clip in read_run(Path(folder)).clips)


def resident_mib() -> float:
    """Memory of this process alone and shared with others, MiB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    kind, amount, folder = sys.argv[1:]
    if kind in ("statistics", "single", "million"):
        import vector_client

        print(json.dumps(getattr(vector_client, kind)(int(amount), folder, ready)))
    else:
        kinds = {"start": start, "records": records, "paced": paced, "growth": growth, "flood": flood}
        print(json.dumps(kinds[kind](int(amount), folder)))
