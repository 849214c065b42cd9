"""An env whose last seconds are held, in a process of its own, until it is killed; says how many steps it took."""

from __future__ import annotations

import sys
import time

import offcam
from envs import Barcode


def main() -> None:
    folder, seconds, count = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
    env = offcam.record(Barcode(10**6), folder, last_seconds=seconds, overflow="block", resume=True)
    env.reset()
    for _ in range(count):
        env.step(0)
    print("there", flush=True)
    time.sleep(600)


if __name__ == "__main__":
    main()
