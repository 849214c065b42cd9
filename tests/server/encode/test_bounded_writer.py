"""Memory of encoders: more than is meant for them are not opened, and the clip that wants one says so."""

from __future__ import annotations

import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import pytest

from offcam_proto.errors import EncodeError
from offcam_proto.layout import FrameLayout
from offcamd.encode.bounded_writer import BoundedWriters, half_of_memory
from offcamd.encode.clip_encoder import ClipEncoder, ClipSpec
from offcamd.encode.disk_reserve import DiskReserve
from offcamd.encode.frame import Frame
from offcamd.video.h264 import encoder_bytes
from offcamd.video.mp4 import VideoWriter

SIDE = 64
SETTINGS = {"width": SIDE, "height": SIDE, "fps": Fraction(30), "preset": "flat", "crf": 23}
LAYOUT = FrameLayout((SIDE, SIDE), (SIDE, 1), 0, SIDE * SIDE)


def bounded(memory: int) -> BoundedWriters:
    return BoundedWriters(VideoWriter, DiskReserve(0), memory)


def encoder(writers: BoundedWriters, folder, name: str) -> ClipEncoder:
    final = folder / f"{name}.mp4"
    return ClipEncoder(ClipSpec(folder / f"{name}.mp4.part", final, Fraction(30)), writers)


def show(clip: ClipEncoder, frames: int) -> None:
    for index in range(frames):
        clip.encode(Frame(index, [(bytes(SIDE * SIDE), LAYOUT)], SIDE * SIDE, 0.0), lambda: None)


def test_one_video_too_many_says_so_and_the_next_has_room_again(tmp_path):
    writers = bounded(2 * encoder_bytes(SIDE, SIDE, "flat"))
    first, second, third = (encoder(writers, tmp_path, name) for name in "abc")
    for clip in (first, second, third):
        show(clip, 3)
    done = third.finish()
    assert (done.encoded, done.dropped, done.file) == (0, {"encoder": 3}, None)
    assert "too many videos are open" in done.error
    assert first.finish().file == "a.mp4"
    assert writers.memory_bytes == encoder_bytes(SIDE, SIDE, "flat")
    fourth = encoder(writers, tmp_path, "d")
    show(fourth, 3)
    assert [clip.finish().encoded for clip in (second, fourth)] == [3, 3]
    assert writers.memory_bytes == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mp4", "b.mp4", "d.mp4"]


def test_a_writer_that_cannot_be_made_takes_nothing(tmp_path):
    writers = bounded(half_of_memory())
    with pytest.raises(EncodeError):
        writers(tmp_path / "nowhere" / "x.part", **SETTINGS)
    assert writers.memory_bytes == 0
    writer = writers(tmp_path / "x.part", **SETTINGS)
    writer.close()
    writer.close()
    assert writers.memory_bytes == 0


ENCODERS = """
import os, sys
from fractions import Fraction
from pathlib import Path
import numpy as np
from offcamd.video.mp4 import VideoWriter
from rawpeer import resident_mib

folder, preset, width, height, count = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:])
pictures = np.random.default_rng(0).integers(0, 256, (3, height * 3 // 2, width), np.uint8)
writers, before = [], 0.0
for number in range(count + 1):
    path = Path(folder, f"{number}.part")
    writer = VideoWriter(path, width=width, height=height, fps=Fraction(30), preset=preset, crf=23)
    for index, picture in enumerate(pictures):
        writer.write(picture, index)
    writers.append(writer)
    before = before or resident_mib(os.getpid())
print((resident_mib(os.getpid()) - before) / count)
"""


@pytest.mark.parametrize("preset", ["flat", "superfast", "medium"])
def test_an_encoder_takes_no_more_than_it_is_counted_as(tmp_path, preset):
    """In a process of their own, which has no memory left over from anything else."""
    width, height, count = 640, 480, 12
    command = [sys.executable, "-c", ENCODERS, tmp_path, preset, width, height, count]
    done = subprocess.run(
        list(map(str, command)),
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=True,
    )
    counted = encoder_bytes(width, height, preset) / 2**20
    assert counted / 3 < float(done.stdout) <= counted
