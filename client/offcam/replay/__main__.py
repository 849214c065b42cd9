"""``python -m offcam.replay``: has episodes happen again and records them. Started by offcam, not by people.

It takes lines of `offcam_runs.replay.requests.Request` on stdin, and answers each with a line on stdout.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from ctypes.util import find_library

from offcam.recorder.env_stream import check_daemon
from offcam.replay import limits
from offcam.replay.worker import Worker
from offcam_proto.errors import MalformedMessage, OffcamError
from offcam_runs.replay.requests import END, Answer, Request


def main() -> None:
    """Do what is asked for, until nobody asks any more."""
    out = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what an env prints is no answer
    _draw_without_display()
    with contextlib.suppress(OffcamError):  # what is wrong is said where it is recorded into
        check_daemon(strict=True)  # before this: one that is started here would be as bounded as this process
    limits.settle(memory=limits.half_of_the_memory())
    worker = Worker()
    signal.signal(signal.SIGUSR1, worker.hurry)  # before, it ends a process that has not made anything
    for line in sys.stdin:
        if line.encode() == END:
            break
        try:
            request = Request.parse(line)
        except MalformedMessage:  # who asked has left in the midst of it
            break
        try:
            answer = worker.do(request)
        except MemoryError:
            answer = Answer(request.name, why="it takes more than half of this machine's memory")
        with contextlib.suppress(BrokenPipeError):  # who asked is gone, and the video is made all the same
            out.write(answer.line)
            out.flush()
    worker.close()


def _draw_without_display() -> None:
    """MuJoCo takes the display by itself, which a training that rendered nothing may not have had."""
    if not {"MUJOCO_GL", "DISPLAY", "WAYLAND_DISPLAY"} & set(os.environ):
        kinds = {"osmesa": "OSMesa", "egl": "EGL"}
        found = next((kind for kind, library in kinds.items() if find_library(library)), None)
        if found is not None:
            os.environ["MUJOCO_GL"] = found


if __name__ == "__main__":
    main()
