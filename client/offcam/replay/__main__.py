"""``python -m offcam.replay``: replays episodes and records them. Started by offcam, not by people.

It takes lines of `offcam_runs.replay.requests` on stdin, and answers each with a line on stdout.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
from collections.abc import Callable
from ctypes.util import find_library

from offcam.recorder.env_stream import check_daemon
from offcam.replay import limits
from offcam.replay.following import LOOK_SECONDS, Following
from offcam.replay.worker import RenderWorker
from offcam_proto.errors import MalformedMessage, OffcamError
from offcam_runs.replay.requests import END, Answer, Follow, RenderProgress, Request, parse


def main() -> None:
    """Do what the requests ask for, until the input ends."""
    out = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # an env may print, which must not be among the answers
    _draw_without_display()
    with contextlib.suppress(OffcamError):  # an error is reported when a video is recorded
        check_daemon(strict=True)  # before this process is limited, as a daemon started here inherits its limits
    limits.settle(memory=limits.half_of_the_memory())

    def tell(answer: Answer | RenderProgress) -> None:
        with contextlib.suppress(BrokenPipeError):  # who asked is gone, and the video is made all the same
            out.write(answer.line)
            out.flush()

    worker = RenderWorker(tell)
    signal.signal(signal.SIGUSR1, worker.hurry)  # before, it ends a process that has not made anything
    following = Following(worker.make)
    asked = PipeReader(sys.stdin.fileno())
    while (line := asked.next(_patience(following, tell))) is not None:
        if not line:
            continue
        try:
            request = parse(line)
        except MalformedMessage:  # the asking process ended in the midst of a line
            break
        if isinstance(request, Request):
            tell(worker.do(request))
        else:
            following.begin(request)
            tell(_caught_up(following, request, tell, asked))
    worker.close()


def _patience(following: Following, tell: Callable[[Answer], None]) -> float | None:
    """Make a video that a rule keeps, if there is one to make. Returns seconds until the next look for one."""
    answer = following.go_on()
    if answer is not None:
        tell(answer)
        return 0.0
    return LOOK_SECONDS if following else None


def _caught_up(following: Following, request: Follow, tell: Callable[[Answer], None], asked: PipeReader) -> Answer:
    """Make all videos of a stream that are to be made by now. Returns the answer to the request for that.

    A client that closes its env without waiting gets all of them made; a client that was killed does not.
    """
    try:
        while not asked.broken() and (answer := following.catch_up(request)) is not None:
            tell(answer)
    except OffcamError as error:
        return Answer("what the rule keeps", why=str(error))
    return Answer("")


class PipeReader:
    """Lines from a pipe, each waited for no longer than a given time.

    Args:
        source: the descriptor of the pipe's reading end.
    """

    def __init__(self, source: int) -> None:
        self._source = source
        self._parent = os.getppid()
        self._data = b""
        self._over = False

    def next(self, timeout: float | None) -> str | None:
        """The next line; empty if none came in time, None if no more will come."""
        while b"\n" not in self._data:
            if not self._over and select.select([self._source], [], [], timeout)[0]:
                data = os.read(self._source, 65536)
                self._data += data
                self._over = not data
            elif self._over or os.getppid() != self._parent:  # the parent is gone, though a fork may hold the pipe open
                return None
            else:
                return ""
        line, _, self._data = self._data.partition(b"\n")
        return None if line + b"\n" == END else line.decode()

    def broken(self) -> bool:
        """Whether the process that asks has died. Does not wait."""
        while not self._over and select.select([self._source], [], [], 0.0)[0]:
            data = os.read(self._source, 65536)
            self._data += data
            self._over = not data
        gone = self._over or os.getppid() != self._parent
        return gone and not (self._data.startswith(END) or b"\n" + END in self._data)


def _draw_without_display() -> None:
    """Keep SDL from looking for a display, and complaining that there is none; and MuJoCo from taking one."""
    for name in ("SDL_VIDEODRIVER", "SDL_AUDIODRIVER"):
        os.environ.setdefault(name, "dummy")
    if not {"MUJOCO_GL", "DISPLAY", "WAYLAND_DISPLAY"} & set(os.environ):
        kinds = {"osmesa": "OSMesa", "egl": "EGL"}
        found = next((kind for kind, library in kinds.items() if find_library(library)), None)
        if found is not None:
            os.environ["MUJOCO_GL"] = found


if __name__ == "__main__":
    main()
