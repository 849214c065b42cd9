"""Clients that record and leave, one after the other, each into a folder of its own; prints what each had finished.

Each is forked, as an interpreter that starts anew takes longer than what it is here for.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
from pathlib import Path

import offcam
from envs import Barcode, play
from offcam.connection.settings import daemon_endpoint
from offcamd.process.instance_lock import read_lock

SELF = ("close", "end", "error", "os._exit", "flush_on_signal")
"""How a client leaves by itself, in the midst of its loop or behind it."""

KILLED = ("SIGKILL", "SIGTERM", "SIGKILL of both")
"""How somebody else ends it at any moment, with its daemon or without."""

MOST_EPISODES = 100


def record(folder: str, write: int, way: str, episodes: int) -> None:
    env = offcam.record(Barcode(2), folder, episode_trigger=lambda _: False)
    if way == "flush_on_signal":
        offcam.flush_on_signal()
    while way in KILLED or episodes:
        play(env, 1)
        os.write(write, b".")
        episodes -= 1
    if way == "close":
        env.close()
    elif way == "flush_on_signal":
        os.kill(os.getpid(), signal.SIGTERM)
    elif way == "os._exit":
        os._exit(0)
    elif way == "error":
        raise ArithmeticError("as in a training loop")


def watch(pid: int, read: int, way: str, episodes: int) -> int:
    """Count what it finishes, and kill it in the midst of that if this is its way."""
    finished = 0
    while chunk := os.read(read, 1 if finished < episodes else 1 << 16):
        finished += len(chunk)
        if way in KILLED and finished == episodes:
            if way == "SIGKILL of both" and (daemon := read_lock(daemon_endpoint()[0])):
                os.kill(daemon.pid, signal.SIGKILL)
            os.kill(pid, signal.SIGTERM if way == "SIGTERM" else signal.SIGKILL)
    os.waitpid(pid, 0)
    return finished


def main() -> None:
    place, way, clients = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    chance = random.Random(way)
    finished = {}
    for number in range(clients):
        folder, episodes = str(place / str(number)), chance.randint(1, MOST_EPISODES)
        read, write = os.pipe()
        if not (pid := os.fork()):
            os.close(read)
            record(folder, write, way, episodes)
            return
        os.close(write)
        finished[folder] = watch(pid, read, way, episodes)
        os.close(read)
    print(json.dumps(finished))


if __name__ == "__main__":
    main()
