"""Does a piece of the daemon's work in a forked process that is killed just before a given step of it.

A step is whatever asks Python for something of the run folder's files: opening, renaming, removing, truncating one.
Each line of stdin is ``ACTION MOMENT FOLDER``, the moment 0 for none; it is answered by the process's exit code.
"""

from __future__ import annotations

import os
import signal
import sys
from fractions import Fraction
from pathlib import Path

from envs import encode
from offcam_proto.layout import FrameLayout
from offcam_proto.messages import OpenClip, OpenStream
from offcamd.encode.clip_encoder import ClipEncoder, ClipSpec
from offcamd.encode.frame import Frame
from offcamd.store.entries import StreamOwner
from offcamd.store.index import RunIndex
from offcamd.store.recovery import recover_folder
from offcamd.video.mp4 import VideoWriter

FRAMES = 20
FILE = "v-episode-1.mp4"
STREAM = b"s" * 16
STARTED = 1_000_000.0
"""When the clip was begun; an older file of its name is older than that."""

LAYOUT = FrameLayout((84, 84), (84, 1), 0, 84 * 84)
STEPS = {"open", "os.rename", "os.remove", "os.truncate"}


def die_before(moment: int, folder: Path) -> None:
    """From now on, count steps, and do not survive the last."""
    left = [moment]

    def look(event: str, arguments: tuple[object, ...]) -> None:
        if event in STEPS and str(arguments[0]).startswith(str(folder)):
            left[0] -= 1
            if not left[0]:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(look)


def finish_clip(folder: Path, moment: int, *, aborted: bool) -> None:
    """Record a clip, and from its end on be mortal."""
    index = RunIndex.open(folder)
    stream = OpenStream(
        handle=0, stream=STREAM, folder="/x", prefix="v", suffix=0, video=True, env_id="E", num_envs=1, vector=False,
        started=1.0,
    )  # fmt: skip
    index.open_stream(stream, StreamOwner("h", 1, "c"))
    part = folder / f"{FILE}.part"
    index.clip_opened(STREAM, OpenClip(0, 0, FILE[:-4], 1, 30.0, 1, 1, 1, 0, STARTED, 100), FILE)
    encoder = ClipEncoder(ClipSpec(part, folder / FILE, Fraction(30)), VideoWriter)
    for number in range(FRAMES):
        encoder.encode(Frame(number, [(encode(number, 84, 84).tobytes(), LAYOUT)], 84 * 84, 0.0), lambda: None)
    die_before(moment, folder)
    index.clip_encoded(STREAM, 0, encoder.finish(aborted=aborted))
    index.close_stream(STREAM)
    index.close()


def perform(action: str, moment: int, folder: Path) -> None:
    if action == "recover":
        die_before(moment, folder)
        recover_folder(folder)
    else:
        finish_clip(folder, moment, aborted=action == "abort")


def main() -> None:
    for line in sys.stdin:
        action, moment, folder = line.rstrip("\n").split(" ", 2)
        child = os.fork()
        if not child:
            perform(action, int(moment), Path(folder))
            os._exit(0)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    main()
