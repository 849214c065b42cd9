"""A daemon like `offcam serve` whose index opens once there is a file: its first argument."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import likeserve

from offcamd.store.index import RunIndex


def main() -> None:
    gate, opens = Path(sys.argv[1]), RunIndex.open

    def open_late(folder, *limits):
        while not gate.exists():
            time.sleep(0.01)
        return opens(folder, *limits)

    RunIndex.open = open_late
    likeserve.run()


if __name__ == "__main__":
    main()
