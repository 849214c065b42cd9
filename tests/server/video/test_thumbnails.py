"""The picture that stands for a video."""

from __future__ import annotations

import os

import av
import numpy as np
import pytest

from offcam_proto.errors import EncodeError
from offcamd.video import thumbnails
from offcamd.video.thumbnails import middle_picture

FRAMES, WIDTH, HEIGHT = 101, 96, 64
FRAGMENTED = "frag_every_frame+empty_moov+default_base_moof"


def make(path, keyframes=1000, movflags=""):
    """A video whose frames are ever brighter: frame n has the luma 16 + 2 n."""
    with av.open(str(path), "w", format="mp4", options={"movflags": movflags} if movflags else {}) as video:
        stream = video.add_stream("libx264", rate=50, options={"g": str(keyframes), "crf": "1"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for number in range(FRAMES):
            planes = np.full((HEIGHT * 3 // 2, WIDTH), 128, np.uint8)
            planes[:HEIGHT] = 16 + 2 * number
            video.mux(stream.encode(av.VideoFrame.from_ndarray(planes, format="yuv420p")))
        video.mux(stream.encode())
    return path


def shown(path):
    """Which frame the picture is."""
    with path.open("rb") as file:
        picture = middle_picture(file, path.name)
        assert not file.closed
    assert picture.shape == (HEIGHT, WIDTH, 3)
    return picture.mean() * 219 / 255 / 2


@pytest.mark.parametrize("keyframes", [1000, 40, 1])
@pytest.mark.parametrize("movflags", ["", FRAGMENTED])
def test_it_is_of_the_middle_wherever_keyframes_are(tmp_path, keyframes, movflags):
    assert shown(make(tmp_path / "clip.mp4", keyframes, movflags)) == pytest.approx(FRAMES // 2, abs=1.5)


def test_few_frames_are_decoded(tmp_path, monkeypatch):
    monkeypatch.setattr(thumbnails, "MOST_PIXELS", 10 * WIDTH * HEIGHT)
    assert shown(make(tmp_path / "clip.mp4")) == pytest.approx(9, abs=1.5)
    assert shown(make(tmp_path / "clip.mp4", 45)) == pytest.approx(50, abs=1.5)


@pytest.mark.parametrize("share", [0.3, 0.8])
def test_of_a_file_that_was_cut_off_it_is_of_what_is_there(tmp_path, share):
    clip = make(tmp_path / "clip.mp4.part", 40, FRAGMENTED)
    os.truncate(clip, int(clip.stat().st_size * share))
    assert 0 < shown(clip) < FRAMES * share


@pytest.mark.parametrize("content", [b"", b"no video" * 1000])
def test_no_picture(tmp_path, content):
    path = tmp_path / "clip.mp4"
    path.write_bytes(content)
    with pytest.raises(EncodeError, match=r"clip\.mp4"):
        shown(path)


def test_no_picture_of_a_video_that_no_decoder_takes(tmp_path):
    path = make(tmp_path / "clip.mp4")
    path.write_bytes(path.read_bytes().replace(b"avc1", b"zzz1"))
    with pytest.raises(EncodeError, match=r"clip\.mp4.*no video that can be decoded"):
        shown(path)
