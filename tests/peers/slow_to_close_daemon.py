"""A daemon like `offcam serve` whose index takes half a second to note that a stream is closed.

Whatever is asked of its store after a flush has passed there comes a moment later, so that no batch has both.
"""

from __future__ import annotations

import time

import likeserve

from offcamd.store.index import RunIndex
from offcamd.store.store import Store
from offcamd.store.tasks import BarrierTask


def main() -> None:
    closes, puts = RunIndex.close_stream, Store.put

    def close_late(index, stream, *, lost=False):
        time.sleep(0.5)
        closes(index, stream, lost=lost)

    def put_apart(store, task):
        puts(store, task)
        if isinstance(task, BarrierTask):
            time.sleep(0.1)

    RunIndex.close_stream, Store.put = close_late, put_apart
    likeserve.run()


if __name__ == "__main__":
    main()
