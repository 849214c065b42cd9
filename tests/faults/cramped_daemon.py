"""A daemon like `offcam serve` that keeps less than usual for indexes that cannot be written: argv[1] bytes."""

from __future__ import annotations

import signal
import sys

from offcamd import logs, store
from offcamd.config import load
from offcamd.service import Service


def main() -> None:
    store.MOST_STUCK_BYTES = int(sys.argv[1])
    settings = load({})
    logs.configure_from(settings)
    service = Service(settings)
    signal.signal(signal.SIGTERM, lambda *_: service.stop("SIGTERM"))
    service.start()
    print("offcam ready", flush=True)
    service.wait()


if __name__ == "__main__":
    main()
