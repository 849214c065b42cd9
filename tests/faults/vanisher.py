"""An env whose last seconds are held, in a process of its own, until it is killed; says when it has taken its steps."""

from __future__ import annotations

import sys

import offcam
from envs import Barcode

LAST = 20
"""So many steps are taken once the daemon has all before: their frames lie in shared memory. Those before may go by
the socket, and what is not sent yet there is gone with its process."""


def main() -> None:
    folder, seconds, count = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
    env = offcam.record(Barcode(10**6), folder, last_seconds=seconds, overflow="block", resume=True)
    env.reset()
    for number in range(count):
        if number == count - LAST:
            env.flush()
        env.step(0)
    print("there", flush=True)
    for _ in sys.stdin:  # a line asks for so many steps more
        for _ in range(count):
            env.step(0)
        print("there", flush=True)


if __name__ == "__main__":
    main()
