"""A daemon like `offcam serve` that keeps less than usual for indexes that cannot be written: argv[1] bytes."""

from __future__ import annotations

import sys

import likeserve

from offcamd.store import store


def main() -> None:
    store.MOST_STUCK_BYTES = int(sys.argv[1])
    likeserve.run()


if __name__ == "__main__":
    main()
