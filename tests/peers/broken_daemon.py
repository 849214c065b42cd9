"""`offcam serve`, whose first argument says where it breaks; the others are the verb's own.

What breaks raises what nobody expects of it, and only for the first episode's video, so that others show whether the
daemon goes on. ``store``, ``loop`` and ``self-test`` break once the file exists that the variable BREAK_AT names.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from offcamd import dispatch, encoding, index, selftest, service, store
from offcamd.__main__ import main
from offcamd.videofile import VideoWriter

FIRST = "-episode-0.mp4"


def now() -> bool:
    return Path(os.environ["BREAK_AT"]).exists()


def break_writer(method: str, error: BaseException) -> None:
    sound = getattr(VideoWriter, method)

    def broken(self, *arguments, **options):
        path = arguments[0] if method == "__init__" else self._path
        if FIRST in str(path) and (method != "write" or arguments[1] == 3):
            raise error
        return sound(self, *arguments, **options)

    setattr(VideoWriter, method, broken)


def break_when(owner: type, method: str, wanted) -> None:
    sound = getattr(owner, method)

    def broken(self, *arguments, **options):
        if wanted(self, *arguments):
            raise RuntimeError("unforeseen")
        return sound(self, *arguments, **options)

    setattr(owner, method, broken)


def break_self_test() -> None:
    """As a PyAV does whose muxer works differently, but only once the test says so."""
    sound = VideoWriter.copy_to

    def broken(self, target):
        if selftest.FILE in str(target):
            while not now():
                time.sleep(0.005)
            raise AssertionError("unforeseen")
        sound(self, target)

    VideoWriter.copy_to = broken


WAYS = {
    "open": lambda: break_writer("__init__", RuntimeError("unforeseen")),
    "write": lambda: break_writer("write", RuntimeError("unforeseen")),
    "exit": lambda: break_writer("write", SystemExit("unforeseen")),
    "finish": lambda: break_writer("close", AssertionError("unforeseen")),
    "copy": lambda: break_writer("copy_to", AssertionError("unforeseen")),
    "job": lambda: break_when(encoding.ClipJob, "finish", lambda job: FIRST in str(job.spec.final)),
    "worker": lambda: break_when(encoding.ClipJob, "turn", lambda job, **_: FIRST in str(job.spec.final)),
    "row": lambda: break_when(index.RunIndex, "clip_encoded", lambda _, __, clip, ___: clip == 0),
    "records": lambda: break_when(index.RunIndex, "_insert", lambda _, __, last_seq, ___: last_seq == 0),
    "event": lambda: break_when(dispatch.Dispatcher, "_clip_record", lambda *_: now()),
    "message": lambda: break_when(dispatch.Dispatcher, "_records", lambda *_: now()),
    "store": lambda: break_when(store.Store, "_perform", lambda _, batch: batch and now()),
    "loop": lambda: break_when(service.Service, "_answer", lambda _: now()),
    "self-test": break_self_test,
}

if __name__ == "__main__":
    WAYS[sys.argv[1]]()
    sys.argv[1:] = ["serve", *sys.argv[2:]]
    sys.exit(main())
