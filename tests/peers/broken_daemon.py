"""`offcam serve`, whose first argument says where it breaks; the others are the verb's own.

What breaks raises what nobody expects of it, and only for some videos, so that others show whether the daemon goes on;
or once the file exists that the variable BREAK_AT names.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from offcam_runs import record_rows
from offcamd.__main__ import main
from offcamd.daemon import dispatcher, loop
from offcamd.encode import clip_encoder, pool, self_test
from offcamd.encode.workers import process, serving
from offcamd.store import index, store
from offcamd.video.mp4 import VideoWriter


def now() -> bool:
    return Path(os.environ["BREAK_AT"]).exists()


def break_clips() -> None:
    """Each of the first episodes' videos in another way."""
    for method, ways in {
        "__init__": {0: RuntimeError("unforeseen")},
        "write": {1: RuntimeError("unforeseen"), 2: SystemExit("unforeseen")},
        "close": {3: AssertionError("unforeseen")},
        "copy_to": {4: AssertionError("unforeseen")},
    }.items():
        break_writer(method, ways)
    break_when(clip_encoder.ClipEncoder, "finish", lambda encoder, **_: "-episode-5.mp4" in str(encoder.spec.final))


def break_writer(method: str, ways: dict[int, BaseException]) -> None:
    sound = getattr(VideoWriter, method)

    def broken(self, *arguments, **options):
        path = str(arguments[0] if method == "__init__" else self._path)
        for episode, error in ways.items():
            if f"-episode-{episode}.mp4" in path and (method != "write" or arguments[1] == 3):
                raise error
        return sound(self, *arguments, **options)

    setattr(VideoWriter, method, broken)


def break_when(owner, method: str, wanted) -> None:
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
        if self_test.FILE in str(target):
            while not now():
                time.sleep(0.005)
            raise AssertionError("unforeseen")
        sound(self, target)

    VideoWriter.copy_to = broken


WAYS = {
    "clips": break_clips,
    "worker": lambda: break_when(pool.ClipJob, "turn", lambda job, **_: "-episode-0.mp4" in str(job.spec.final)),
    "row": lambda: break_when(index.RunIndex, "clip_encoded", lambda _, __, clip, ___: clip == 0),
    "records": lambda: break_when(record_rows, "_add_one", lambda _, __, seq, *___: seq == 1),
    "event": lambda: break_when(dispatcher.Dispatcher, "_committed", lambda _, event: event.applied.clips and now()),
    "message": lambda: break_when(dispatcher.Dispatcher, "_records", lambda *_: now()),
    "store": lambda: break_when(store.Store, "_perform", lambda _, batch: batch and now()),
    "loop": lambda: break_when(loop.Loop, "_turn", lambda *_: now()),
    "self-test": break_self_test,
}

if __name__ == "__main__":
    WAYS[sys.argv[1]]()
    process.COMMAND = (__file__, sys.argv[1])
    if sys.argv[2].isdigit():  # an encoder process of it, which breaks in the same way
        sys.exit(serving.main(*map(int, sys.argv[2:])))
    sys.argv[1:] = ["serve", *sys.argv[2:]]
    sys.exit(main())
