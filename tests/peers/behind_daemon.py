"""A daemon like `offcam serve` whose store waits while there is the file argv[1], and which is out of patience at once.

Each time it has looked at who is gone, and somebody is, it writes the file argv[2].
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import likeserve

from offcamd.daemon import dispatcher
from offcamd.store import store


def main() -> None:
    gate, looked = map(Path, sys.argv[1:])
    perform, tick = store.Store._perform, dispatcher.Dispatcher.tick

    def slow(self, batch, **options):
        while gate.exists():
            time.sleep(0.005)
        perform(self, batch, **options)

    def watched(self):
        gone = any(peer.gone_at is not None for peer in self.peers.values())
        tick(self)
        if gone:
            looked.touch()

    store.Store._perform, dispatcher.Dispatcher.tick = slow, watched
    dispatcher.GRACE_SECONDS = 0.0
    likeserve.run()


if __name__ == "__main__":
    main()
