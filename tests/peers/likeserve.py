"""What `offcam serve` does, for daemons that differ from it in one thing."""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING

from offcamd.config.settings import load
from offcamd.daemon.service import Service
from offcamd.process import logs
from offcamd.video.mp4 import VideoWriter

if TYPE_CHECKING:
    from collections.abc import Mapping

    from offcamd.video.writer import WriterFactory


def run(writer_factory: WriterFactory = VideoWriter, flags: Mapping[str, str] | None = None) -> None:
    """Serve until SIGTERM. ``flags`` are settings by name, as from the command line."""
    settings = load(flags or {})
    logs.configure(settings.log_level, settings.log_file)
    service = Service(settings, writer_factory)
    signal.signal(signal.SIGTERM, lambda *_: service.stop("SIGTERM"))
    service.start()
    print("offcam ready", flush=True)
    service.tell()
    service.test_itself()
    service.wait()
    sys.exit(1 if service.unfinished else 0)
