"""Makes and reads a tiny video as every clip is made and read, to see whether the libraries installed here can.

The daemon does it once, on a thread of its own after its ready line: 19 ms of CPU (Python 3.11, PyAV 18.1). `offcam
doctor` does it in a process of its own.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import stat
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from offcam_proto.errors import EncodeError
from offcam_proto.layout import FrameLayout
from offcam_runs.format import PART_EXTENSION
from offcamd.encode.clip_encoder import ClipEncoder, ClipSpec
from offcamd.encode.frame import Frame
from offcamd.process.health import FAILED, PASSED, SKIPPED
from offcamd.video.av_errors import libraries
from offcamd.video.mp4 import VideoWriter
from offcamd.video.probe import iter_frames

if TYPE_CHECKING:
    from collections.abc import Sequence

    from offcamd.video.writer import WriterFactory

FILE = "offcam-self-test.mp4"

PREFIX = "offcam-self-test-"
"""Prefix of the folder in which the video is made."""

_LEFT_SECONDS = 600.0
"""A folder of that age was left by a process that was killed."""

_SIDE = 256  # hardware encoders refuse small pictures
_LEVELS = (40, 90, 140, 190)
_TOLERANCE = 6
_MEMORY = Path("/dev/shm")  # noqa: S108 - it makes a directory of its own there
_NO_FAULT = ("disk_full", "io")  # reasons that are not the libraries' fault: another folder may do


@dataclass(frozen=True, slots=True)
class SelfTestResult:
    """What the self-test found.

    Attributes:
        state: `PASSED`, `FAILED`, or `SKIPPED` where no folder had room for its file.
        text: what was found, in one line, and the fix.
        seconds: how long it took.
    """

    state: str
    text: str
    seconds: float


def self_test(make_writer: WriterFactory = VideoWriter, folders: Sequence[Path] = ()) -> SelfTestResult:
    """Encode four pictures of 256x256, finish the file as a clip's, decode it, and compare. Never raises.

    Args:
        make_writer: makes the video's writer.
        folders: further places for the file, beside the temporary folder and ``/dev/shm``. It is removed again.
    """
    began = time.perf_counter()
    state, text = SKIPPED, "there is no folder for it"
    for folder in (None, *folders, _MEMORY):
        try:
            with tempfile.TemporaryDirectory(prefix=PREFIX, dir=folder, ignore_cleanup_errors=True) as own:
                _remove_left(Path(own).parent)
                _make_and_read(make_writer, Path(own))
            state, text = PASSED, f"a video was made and read with {libraries()}"
            break
        except OSError as error:  # the folder's: a writer raises EncodeError
            text = f"{folder or 'the folder for temporary files'} has no room for its file: {error}"
        except EncodeError as error:
            state, text = (SKIPPED if error.reason in _NO_FAULT else FAILED), str(error)
        except BaseException as error:  # noqa: BLE001 - a library that does not work raises what it likes
            state, text = FAILED, f"unexpected {error!r}"
        if state == FAILED:
            text = f"no video can be made here: {text} ({libraries()}). Statistics go on. Run: {fix()}"
            break
    return SelfTestResult(state, text, time.perf_counter() - began)


def _make_and_read(make_writer: WriterFactory, folder: Path) -> None:
    final = folder / FILE
    encoder = ClipEncoder(ClipSpec(final.with_name(FILE + PART_EXTENSION), final, Fraction(30)), make_writer)
    nbytes = _SIDE * _SIDE * 3
    layout = FrameLayout((_SIDE, _SIDE, 3), (_SIDE * 3, 3, 1), 0, nbytes)
    for index, level in enumerate(_LEVELS):
        encoder.encode(Frame(index, [(bytes([level]) * nbytes, layout)], nbytes, 0.0), lambda: None)
    result = encoder.finish()
    if (error := encoder.error or encoder.not_plain) is not None:
        raise error
    shown = [float(np.mean(frame)) for frame in iter_frames(final)]
    close = len(shown) == len(_LEVELS) and np.allclose(shown, _LEVELS, atol=_TOLERANCE)
    if not (result.file == final.name and close):
        levels = ", ".join(f"{level:.0f}" for level in shown)
        raise EncodeError(
            f"pictures of levels {', '.join(map(str, _LEVELS))} were encoded, and the file shows {levels}"
        )


def _remove_left(folder: Path) -> None:
    """Remove the folders of this user's processes that were killed during their self-test."""
    now = time.time()
    for path in folder.glob(f"{PREFIX}*"):
        with suppress(OSError):
            found = path.lstat()
            if stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and now - found.st_mtime > _LEFT_SECONDS:
                shutil.rmtree(path, ignore_errors=True)


def fix() -> str:
    """The command that installs another version of the video library, one that offcam is made for."""
    package = "av"
    with suppress(PackageNotFoundError):
        wanted = next((line for line in requires("offcam") or () if re.match(r"av\b", line)), package)
        package = wanted.partition(";")[0].strip()
        package += f"{',' if package != 'av' else ''}!={version('av')}"
    return f"{shlex.quote(sys.executable)} -m pip install --force-reinstall --only-binary av {shlex.quote(package)}"


def _main() -> int:
    outcome = self_test()
    print(outcome.text)  # noqa: T201 - a child process's answer
    print(f"{outcome.seconds:.3f}")  # noqa: T201 - as above
    return (PASSED, FAILED, SKIPPED).index(outcome.state)


if __name__ == "__main__":
    sys.exit(_main())
