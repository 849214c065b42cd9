"""A video is read while it is written: whole fragments, to its last one, and nothing that is none."""

from __future__ import annotations

import io
import os
from fractions import Fraction

import av
import numpy as np
import pytest

from offcamd.video.growing import MOST_READ, GrowingVideo, codec_of
from offcamd.video.mp4 import VideoWriter


def picture(number, height=48, width=64):
    planes = np.full((height * 3 // 2, width), 128, np.uint8)
    planes[:height] = 40 + number * 8 % 160
    return planes


@pytest.fixture
def growing(tmp_path):
    """A file that is being written, and what reads it."""
    path = tmp_path / "a.mp4.part"
    writer = VideoWriter(path, width=64, height=48, fps=Fraction(30), preset="flat", crf=23)
    fd = os.open(path, os.O_RDONLY)
    yield writer, GrowingVideo(fd)
    os.close(fd)
    writer.close()


def everything(video):
    return b"".join(iter(video.more, b""))


def times(data):
    with av.open(io.BytesIO(data), format="mp4") as container:
        return [frame.pts for frame in container.decode(video=0)]


def test_each_picture_is_there_when_the_next_one_is_written(growing):
    writer, video = growing
    seen = everything(video)
    for number in range(20):
        writer.write(picture(number), number)
        seen += everything(video)
        if number:
            assert len(times(seen)) == number
    assert not video.over


def test_a_file_that_is_finished_is_read_to_its_last_picture_and_no_further(growing):
    writer, video = growing
    for number in range(20):
        writer.write(picture(number), number)
    seen = everything(video)
    writer.close()
    seen += everything(video)
    assert video.over
    assert video.more() == b""
    assert len(times(seen)) == 20
    assert seen.count(b"moov") == 1


def test_one_that_was_finished_before_has_nothing(growing):
    writer, video = growing
    for number in range(3):
        writer.write(picture(number), number)
    writer.close()
    assert codec_of(everything(video)) is None
    assert video.over


def test_half_a_fragment_is_not_sent(growing, tmp_path):
    writer, video = growing
    for number in range(5):
        writer.write(picture(number), number)
    seen = everything(video)
    other = tmp_path / "cut"
    for cut in range(1, 40):
        other.write_bytes(seen[:-cut])
        fd = os.open(other, os.O_RDONLY)
        whole = everything(GrowingVideo(fd))
        os.close(fd)
        assert len(whole) <= len(seen) - cut
        assert seen.startswith(whole)
        assert seen[len(whole) + 4 : len(whole) + 8] in (b"moof", b"mdat")


def test_a_box_larger_than_a_read(tmp_path):
    path = tmp_path / "noise.mp4.part"
    side = 1024
    writer = VideoWriter(path, width=side, height=side, fps=Fraction(30), preset="ultrafast", crf=0)
    noise = np.random.default_rng(0).integers(16, 235, (side * 3 // 2, side), np.uint8)
    for number in range(3):
        writer.write(noise, number)
    fd = os.open(path, os.O_RDONLY)
    seen = everything(GrowingVideo(fd))
    os.close(fd)
    writer.close()
    assert len(seen) > MOST_READ
    assert len(times(seen)) == 2


def test_its_codec_is_named(growing):
    writer, video = growing
    writer.write(picture(0), 0)
    codec = codec_of(everything(video))
    kind, _, profile = codec.partition(".")
    assert (kind, len(bytes.fromhex(profile))) == ("avc1", 3)
    assert codec_of(b"\0\0\0\x08free") is None
