"""How the daemon's work for a frame grows with the size of frames and the length of clips.

The least thread time over the repetitions counts: it is the work itself, whatever else the machine does.
"""

from __future__ import annotations

import tempfile
import time
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

import agents
import numpy as np

from offcamd.video.h264 import DEFAULT_CRF, DEFAULT_PRESET
from offcamd.video.i420 import I420Converter
from offcamd.video.mp4 import VideoWriter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SIZES = ((84, 84), (210, 160), (400, 600), (720, 1280), (1080, 1920))
LENGTHS = (10, 100, 1000, 10_000, 100_000)
LENGTHS_SIZE = 84, 84
FPS = Fraction(30)


class Growth(TypedDict):
    """The cost of a clip: microseconds for each frame to convert and to write, milliseconds to publish, and bytes."""

    height: int
    width: int
    frames: int
    convert_us: float
    write_us: float
    remux_ms: float
    bytes_per_frame: float
    ns_per_pixel: float


def measure_all(*, quick: bool) -> Iterator[Growth]:
    """Each size with clips of 100 frames, then each length at one size."""
    for height, width in SIZES:
        yield _clip(height, width, 100, 1 if quick else 5)
    for length in LENGTHS[: 3 if quick else None]:
        yield _clip(*LENGTHS_SIZE, length, max(1, min(5, 10_000 // length)))


def text(rows: list[Growth]) -> list[str]:
    """A line for each."""
    titles = ("size", "frames", "convert us", "write us", "ns/pixel", "remux ms", "remux us/frame", "bytes/frame")
    lines = ["  ".join(f"{title:>{max(9, len(title))}}" for title in titles)]
    for row in rows:
        cells = (
            f"{row['width']}x{row['height']}",
            str(row["frames"]),
            f"{row['convert_us']:.1f}",
            f"{row['write_us']:.1f}",
            f"{row['ns_per_pixel']:.2f}",
            f"{row['remux_ms']:.2f}",
            f"{1000 * row['remux_ms'] / row['frames']:.2f}",
            f"{row['bytes_per_frame']:.0f}",
        )
        lines.append("  ".join(f"{cell:>{max(9, len(title))}}" for cell, title in zip(cells, titles, strict=True)))
    return [
        *lines,
        "",
        "A square of a quarter of the height moves over noise, by 1 % of the width each frame. Thread time; the mean",
        "of all frames but the first, least of the repetitions. write: x264 and the container; remux: the file made",
        "a plain MP4.",
    ]


def film(height: int, width: int) -> Iterator[np.ndarray]:
    """Endless frames, of which the same memory is used again."""
    ground = np.random.default_rng(agents.SEED).integers(60, 90, (height, width, 3), np.uint8)
    side = height // 4
    frame = ground.copy()
    left = 0.0
    while True:
        part = slice(side, 2 * side), slice(int(left), int(left) + side)
        frame[part] = (220, 40, 40)
        yield frame
        frame[part] = ground[part]
        left = (left + width / 100) % (width - side)


def _clip(height: int, width: int, frames: int, repetitions: int) -> Growth:
    with tempfile.TemporaryDirectory(prefix="offcam-growth-") as folder:
        path = Path(folder) / "video.mp4"
        runs = [_run(height, width, frames, path) for _ in range(repetitions)]
        size = path.stat().st_size
    convert, write, plain = (min(figure) for figure in zip(*runs, strict=True))
    return Growth(
        height=height,
        width=width,
        frames=frames,
        convert_us=convert / 1e3,
        write_us=write / 1e3,
        remux_ms=plain / 1e6,
        bytes_per_frame=size / frames,
        ns_per_pixel=(convert + write) / (height * width),
    )


def _run(height: int, width: int, frames: int, path: Path) -> tuple[float, float, float]:
    """Nanoseconds to convert and to write a frame, and to remux the file."""
    part = path.with_suffix(".part")
    converter = I420Converter(1, 1)
    writer = VideoWriter(part, width=width, height=height, fps=FPS, preset=DEFAULT_PRESET, crf=DEFAULT_CRF)
    pictures = film(height, width)
    writer.write(converter.convert([next(pictures)]), 0)
    convert = write = 0
    for place in range(1, frames):
        frame = next(pictures)
        begin = time.thread_time_ns()
        planes = converter.convert([frame])
        middle = time.thread_time_ns()
        writer.write(planes, place)
        convert, write = convert + middle - begin, write + time.thread_time_ns() - middle
    writer.close()
    return convert / (frames - 1), write / (frames - 1), _spent(lambda: writer.copy_to(path))


def _spent(work: Callable[[], None]) -> float:
    begin = time.thread_time_ns()
    work()
    return time.thread_time_ns() - begin
