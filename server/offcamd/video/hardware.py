"""Hardware encoders: which of them work here, and writers that use them.

An encoder is tried before it is used: a child process encodes a few pictures with it, decodes the file and compares.
Half-installed drivers offer encoders that then fail, hang or crash; that happens to the child process only.
"""

from __future__ import annotations

import logging
import sys
import tempfile
import textwrap
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from offcam_proto.errors import EncodeError
from offcamd.video.h264 import AUTO, DEFAULT_CRF, DEFAULT_PRESET, HARDWARE, X264, failure_of
from offcamd.video.mp4 import VideoWriter
from offcamd.video.picture_encoder import SpareEncoders
from offcamd.video.probe import iter_frames

if TYPE_CHECKING:
    from offcamd.video.writer import Writer, WriterFactory

log = logging.getLogger(__name__)

_TRIAL_SIZE = 256, 256  # pixels; hardware encoders refuse small pictures
_TRIAL_LEVELS = (40, 90, 140, 190)
_TRIAL_TOLERANCE = 6


def writer_factory(asked: str) -> WriterFactory:
    """The factory of the daemon's writers. Tries which of the `ENCODERS` asked for work, which takes seconds.

    An encoder that does not work here is replaced by x264, and the log says so.

    Args:
        asked: one of `ENCODERS`.
    """
    software = partial(VideoWriter, spares=SpareEncoders())
    if asked == X264:
        return software
    for encoder in HARDWARE if asked == AUTO else (asked,):
        failure = failure_of(encoder)
        if failure is None:
            log.info("videos are encoded by %s", encoder)
            return _HardwareFirst(encoder, software)
        log.log(logging.INFO if asked == AUTO else logging.WARNING, "%s does not work here: %s", encoder, failure)
    log.info("videos are encoded by x264")
    return software


class _HardwareFirst:
    """Makes writers with a hardware encoder, or with x264 where that takes no more videos or not of this size."""

    def __init__(self, encoder: str, otherwise: WriterFactory) -> None:
        self._encoder = encoder
        self._otherwise = otherwise
        self._told = False

    def __call__(self, path: Path, *, width: int, height: int, fps: Fraction, preset: str, crf: int) -> Writer:
        try:
            return VideoWriter(path, width=width, height=height, fps=fps, preset=preset, crf=crf, encoder=self._encoder)
        except EncodeError as error:
            log.log(logging.DEBUG if self._told else logging.WARNING, "x264 encodes %s instead: %s", path, error)
            self._told = True
        return self._otherwise(path, width=width, height=height, fps=fps, preset=preset, crf=crf)


def trial(encoder: str, folder: Path) -> None:
    """Encode a few pictures into a folder, decode the file and compare; EncodeError if the encoder does not work."""
    width, height = _TRIAL_SIZE
    path = folder / "trial.mp4"
    writer = VideoWriter(
        path, width=width, height=height, fps=Fraction(30), preset=DEFAULT_PRESET, crf=DEFAULT_CRF, encoder=encoder
    )
    try:
        for place, level in enumerate(_TRIAL_LEVELS):
            planes = np.full((height * 3 // 2, width), 128, np.uint8)
            planes[:height] = level
            writer.write(planes, place)
    finally:
        writer.close()
    shown = [float(frame.mean()) for frame in iter_frames(path)]
    expected = [(level - 16) * 255 / 219 for level in _TRIAL_LEVELS]
    close = all(abs(a - b) <= _TRIAL_TOLERANCE for a, b in zip(shown, expected, strict=False))
    if len(shown) != len(expected) or not close:
        levels = [[round(level) for level in some] for some in (expected, shown)]
        raise EncodeError(f"{encoder} was given pictures of levels {levels[0]}, and its file shows {levels[1]}")


def _main() -> int:
    with tempfile.TemporaryDirectory(prefix="offcam-trial-") as folder:
        try:
            trial(sys.argv[1], Path(folder))
        except EncodeError as error:
            print(textwrap.shorten(str(error).replace(folder, ""), 200), file=sys.stderr)  # noqa: T201 - a child process's answer
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(_main())
