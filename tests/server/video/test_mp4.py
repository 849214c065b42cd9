from __future__ import annotations

import os
import signal
import struct
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from offcam_proto.errors import EncodeError
from offcamd.video.files import publish, salvage
from offcamd.video.i420 import I420Converter
from offcamd.video.mp4 import VideoWriter
from offcamd.video.probe import iter_frames, probe, survey
from offcamd.video.remux import remux


def picture(number: int, height: int = 48, width: int = 64) -> np.ndarray:
    """A grey whose level says which picture it is: decoded, it is recognised within a few levels."""
    planes = np.full((height * 3 // 2, width), 128, np.uint8)
    planes[:height] = 40 + number * 8 % 160
    return planes


def write(
    path: Path, pts: list[int], *, fps: Fraction = Fraction(30), width: int = 64, height: int = 48
) -> VideoWriter:
    writer = VideoWriter(path, width=width, height=height, fps=fps, preset="superfast", crf=23)
    for number, at in enumerate(pts):
        writer.write(picture(number, height, width), at)
    return writer


def boxes(path: Path) -> list[bytes]:
    data, start, kinds = path.read_bytes(), 0, []
    while start < len(data):
        size, kind = struct.unpack_from(">I4s", data, start)
        kinds.append(kind)
        start += size
    return kinds


def times(path: Path) -> list[Fraction]:
    with av.open(str(path)) as container:
        return [frame.pts * frame.time_base for frame in container.decode(video=0)]


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_closed_file_is_a_plain_mp4_with_each_picture_in_it(tmp_path) -> None:
    path = tmp_path / "a.mp4.part"
    write(path, list(range(20))).close()
    assert boxes(path) == [b"ftyp", b"free", b"mdat", b"moov"]
    info = probe(path)
    assert (info.frames, info.width, info.height, info.fps) == (20, 64, 48, 30)
    assert (info.pix_fmt, info.codec, info.error, info.strictly_increasing) == ("yuv420p", "h264", None, True)
    levels = [int(frame[24, 32, 0]) for frame in iter_frames(path)]
    assert len(set(levels)) == 20
    assert np.allclose(levels, [(int(picture(n)[0, 0]) - 16) * 255 / 219 for n in range(20)], atol=3)


@pytest.mark.parametrize("fps", [Fraction(1), Fraction(25, 2), Fraction(30000, 1001), Fraction(50), Fraction(1000)])
def test_picture_i_is_shown_at_i_over_fps_and_the_last_for_as_long_as_the_others(tmp_path, fps) -> None:
    path = tmp_path / "a.mp4"
    write(path, list(range(10)), fps=fps).close()
    assert times(path) == [number / fps for number in range(10)]
    info = probe(path)
    assert info.fps == fps
    assert info.duration_seconds == pytest.approx(float(10 / fps))


def test_dropped_frames_leave_gaps_that_keep_the_timing(tmp_path) -> None:
    path = tmp_path / "a.mp4"
    write(path, [0, 1, 5, 6, 12]).close()
    assert times(path) == [Fraction(at, 30) for at in (0, 1, 5, 6, 12)]
    info = probe(path)
    assert info.duration_seconds == pytest.approx(13 / 30)
    assert info.fps == 30


def test_the_first_picture_is_shown_from_the_start_even_if_those_before_it_were_dropped(tmp_path) -> None:
    path = tmp_path / "a.mp4"
    write(path, [5, 6, 9]).close()
    assert times(path) == [0, Fraction(6, 30), Fraction(9, 30)]


@pytest.mark.parametrize("size", [(1, 1), (2, 6), (37, 53), (84, 84), (160, 210), (600, 400), (1280, 720), (3, 501)])
def test_every_size_plays_and_shows_each_pixel_where_it_was_drawn(tmp_path, size) -> None:
    width, height = size
    grey = np.random.default_rng(0).integers(0, 256, (height, width), dtype=np.uint8)
    planes = I420Converter(1, 1).convert([grey])
    even = (planes.shape[1], planes.shape[0] * 2 // 3)
    path = tmp_path / "a.mp4"
    writer = VideoWriter(path, width=even[0], height=even[1], fps=Fraction(30), preset="superfast", crf=1)
    for number in range(3):
        writer.write(planes, number)
    writer.close()
    info = probe(path)
    assert (info.frames, info.pix_fmt, info.error) == (3, "yuv420p", None)
    assert (info.width, info.height) == even == (width + width % 2, height + height % 2)
    for frame in iter_frames(path):
        assert abs(frame[:height, :width, 1].astype(int) - grey).mean() < 3


def test_the_colours_that_were_drawn_are_shown_and_tagged(tmp_path) -> None:
    drawn = np.zeros((48, 64, 3), np.uint8)
    drawn[:, :32], drawn[:, 32:] = (220, 30, 60), (20, 90, 200)
    writer = VideoWriter(tmp_path / "a.mp4", width=64, height=48, fps=Fraction(30), preset="superfast", crf=1)
    writer.write(I420Converter(1, 1).convert([drawn]), 0)
    writer.close()
    (shown,) = iter_frames(tmp_path / "a.mp4")
    assert abs(shown[24, [8, 56]].astype(int) - drawn[24, [8, 56]]).max() <= 4
    data = (tmp_path / "a.mp4").read_bytes()
    assert data[data.rindex(b"colr") + 4 :].startswith(b"nclx" + struct.pack(">HHHB", 1, 13, 6, 0))
    with av.open(str(tmp_path / "a.mp4")) as container:
        next(container.decode(video=0))  # from here on the tags are those of the H.264 stream itself
        video = container.streams.video[0].codec_context
        tags = video.color_primaries, video.color_trc, video.colorspace, video.color_range
    assert tags == (1, 13, 6, 1)


def test_a_player_can_seek_within_seconds(tmp_path) -> None:
    write(tmp_path / "a.mp4", list(range(300))).close()
    with av.open(str(tmp_path / "a.mp4")) as container:
        keys = [int(packet.pts * packet.time_base) for packet in container.demux(video=0) if packet.is_keyframe]
    assert keys == [0, 4, 8]


def test_the_picture_may_be_reused_once_it_is_written(tmp_path) -> None:
    writer = VideoWriter(tmp_path / "a.mp4", width=64, height=48, fps=Fraction(30), preset="superfast", crf=1)
    planes = picture(0)
    for number in range(10):
        planes[:] = picture(number)
        writer.write(planes, number)
    planes[:] = 0
    writer.close()
    assert len({int(frame[0, 0, 0]) for frame in iter_frames(tmp_path / "a.mp4")}) == 10


KILLED = """
import os, signal, sys
from pathlib import Path
from tests_videofile import write
write(Path(sys.argv[1]), list(range(int(sys.argv[2]))))
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_process_loses_at_most_the_last_picture(tmp_path) -> None:
    path = tmp_path / "a.mp4.part"
    script = KILLED.replace("tests_videofile", Path(__file__).stem)
    child = subprocess.run(
        [sys.executable, "-c", script, str(path), "50"],
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
    )
    assert child.returncode == -signal.SIGKILL
    info = salvage(path)
    assert info.frames >= 49
    assert info.error is None
    assert times(path) == [Fraction(number, 30) for number in range(info.frames)]
    remux(path, tmp_path / "b.mp4")
    assert boxes(tmp_path / "b.mp4") == [b"ftyp", b"free", b"mdat", b"moov"]
    copy = probe(tmp_path / "b.mp4")
    assert (copy.frames, copy.duration_seconds) == (info.frames, pytest.approx(info.frames / 30))


@pytest.mark.parametrize("cut", [1, 100, 10_000])
def test_salvage_cuts_off_a_torn_end(tmp_path, cut) -> None:
    path = tmp_path / "a.mp4.part"
    rng = np.random.default_rng(0)
    writer = VideoWriter(path, width=64, height=48, fps=Fraction(30), preset="superfast", crf=1)
    for number in range(10):
        writer.write(rng.integers(0, 256, (72, 64), dtype=np.uint8), number)
    torn = path.read_bytes()[:-cut]
    writer.close()
    path.write_bytes(torn)
    assert probe(path).error is not None or boxes(path)[-1] == b"moof"
    info = salvage(path)
    assert info.error is None
    assert 5 <= info.frames < 9
    assert salvage(path) == info


def test_salvage_leaves_a_finished_file_alone(tmp_path) -> None:
    write(tmp_path / "a.mp4", list(range(5))).close()
    before = (tmp_path / "a.mp4").read_bytes()
    assert salvage(tmp_path / "a.mp4").frames == 5
    assert (tmp_path / "a.mp4").read_bytes() == before


@pytest.mark.parametrize("content", [b"", b"\0\0\0", b"no video at all", bytes(100), b"\0\0\0\1mdat\0\0"])
def test_salvage_and_probe_of_rubbish_find_nothing_and_do_not_raise(tmp_path, content) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(content)
    info = salvage(path)
    assert info.frames == 0
    assert info.error is not None
    with pytest.raises(EncodeError):
        next(iter_frames(path))


def test_probe_of_a_missing_file_says_so() -> None:
    assert "No such file" in (probe(Path("missing.mp4")).error or "")


def test_publish_replaces_the_older_file_in_one_step(tmp_path) -> None:
    part, final = tmp_path / "a.mp4.part", tmp_path / "a.mp4"
    part.write_bytes(b"new")
    final.write_bytes(b"old")
    publish(part, final)
    assert final.read_bytes() == b"new"
    assert not part.exists()
    with pytest.raises(EncodeError) as caught:
        publish(part, final)
    assert caught.value.reason == "io"
    assert final.read_bytes() == b"new"


def test_a_path_is_never_taken_for_a_url(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("md5:a.mp4", "pipe:1", "a %d\udcff ö.mp4"):
        write(Path(name), [0, 1]).close()
        assert probe(tmp_path / name).frames == 2
    with pytest.raises(EncodeError, match="NUL"):
        write(Path("a\0.mp4"), [0])


@pytest.mark.parametrize("path", ["missing/a.mp4", "."])
def test_a_file_that_cannot_be_created_is_an_io_error(tmp_path, path) -> None:
    files = open_files()
    with pytest.raises(EncodeError, match="creating") as caught:
        write(tmp_path / path, [0])
    assert caught.value.reason == "io"
    assert open_files() == files


@pytest.mark.parametrize(
    "wrong", [{"width": 63}, {"width": 20_000}, {"preset": "nope"}, {"fps": Fraction(0)}, {"fps": Fraction(1001)}]
)
def test_settings_no_encoder_takes_are_an_encoder_error(tmp_path, wrong) -> None:
    settings = {"width": 64, "height": 48, "fps": Fraction(30), "preset": "superfast", "crf": 23, **wrong}
    files = open_files()
    with pytest.raises(EncodeError) as caught:
        VideoWriter(tmp_path / "a.mp4", **settings)
    assert caught.value.reason == "encoder"
    assert open_files() == files


def test_misuse_is_refused_and_harms_nothing(tmp_path) -> None:
    path = tmp_path / "a.mp4"
    writer = write(path, [0, 1])
    for planes, at in ((picture(0), 1), (picture(0), 0), (picture(0, 48, 62), 2), (picture(0)[:-1], 2)):
        with pytest.raises(EncodeError):
            writer.write(planes, at)
    writer.write(picture(2), 2)
    writer.close()
    writer.close()
    with pytest.raises(EncodeError, match="closed"):
        writer.write(picture(0), 3)
    assert probe(path).frames == 3


def test_closing_without_a_picture_leaves_no_file_open(tmp_path) -> None:
    files = open_files()
    write(tmp_path / "a.mp4", []).close()
    assert open_files() == files
    assert probe(tmp_path / "a.mp4").frames == 0


def test_a_video_that_no_decoder_takes_is_an_error(tmp_path) -> None:
    path = tmp_path / "a.mp4"
    write(path, [0, 1]).close()
    path.write_bytes(path.read_bytes().replace(b"avc1", b"zzz1"))
    for look in (probe, survey):
        assert "no video that can be decoded" in str(look(path).error)
    for use in (lambda: next(iter_frames(path)), lambda: remux(path, tmp_path / "b.mp4")):
        with pytest.raises(EncodeError, match="no video that can be decoded"):
            use()


@pytest.mark.usefixtures("tiny_files")
def test_a_full_disk_is_an_error_of_its_own_and_what_was_written_plays(tmp_path) -> None:
    path, files, written = tmp_path / "a.mp4.part", open_files(), 0
    writer = VideoWriter(path, width=64, height=48, fps=Fraction(30), preset="superfast", crf=0)
    rng = np.random.default_rng(0)
    with pytest.raises(EncodeError, match="no space left") as caught:  # noqa: PT012 - any of them may be the one
        for number in range(100):
            writer.write(rng.integers(0, 256, (72, 64), dtype=np.uint8), number)
            written += 1
    assert caught.value.reason == "disk_full"
    with pytest.raises(EncodeError) as caught:
        writer.close()
    assert caught.value.reason == "disk_full"
    writer.close()
    assert open_files() == files
    info = salvage(path)
    assert written - 1 <= info.frames <= written
    assert info.error is None


def test_the_options_of_x264_are_not_in_the_file_and_neither_copy_nor_crash_needs_them(tmp_path) -> None:
    path = tmp_path / "a.mp4"
    writer = VideoWriter(path, width=64, height=48, fps=Fraction(30), preset="flat", crf=23)
    for number in range(10):
        writer.write(picture(number), number)
    torn = path.read_bytes()
    writer.close()
    remux(path, tmp_path / "b.mp4")
    (tmp_path / "torn.mp4").write_bytes(torn)
    assert salvage(tmp_path / "torn.mp4").frames >= 9
    for name in ("a.mp4", "b.mp4", "torn.mp4"):
        assert b"x264 - core" not in (tmp_path / name).read_bytes()
        info = probe(tmp_path / name)
        assert info.error is None
        levels = [int(frame[24, 32, 0]) for frame in iter_frames(tmp_path / name)]
        assert np.allclose(levels, [(int(picture(n)[0, 0]) - 16) * 255 / 219 for n in range(info.frames)], atol=3)


@pytest.mark.parametrize("preset", ["flat", "ultrafast", "medium"])
def test_a_crf_of_0_loses_nothing_and_a_higher_one_makes_smaller_files(tmp_path, preset) -> None:
    planes = np.random.default_rng(0).integers(16, 236, (72, 64), dtype=np.uint8)
    sizes = []
    for crf in (0, 15, 23, 35, 51):
        path = tmp_path / f"{crf}.mp4"
        writer = VideoWriter(path, width=64, height=48, fps=Fraction(30), preset=preset, crf=crf)
        for number in range(3):
            writer.write(np.roll(planes, number, axis=1), number)
        writer.close()
        sizes.append(path.stat().st_size)
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > sizes[-1]
    with av.open(str(tmp_path / "0.mp4")) as container:
        first = next(container.decode(video=0)).to_ndarray()
    assert np.array_equal(first, planes)


@pytest.mark.parametrize("size", [(64, 48), (160, 210), (320, 240)])
def test_a_copy_keeps_every_property(tmp_path, size) -> None:
    write(tmp_path / "a.mp4", [0, 1, 2, 7, 8], width=size[0], height=size[1]).close()
    remux(tmp_path / "a.mp4", tmp_path / "b.mp4")
    assert probe(tmp_path / "a.mp4") == probe(tmp_path / "b.mp4")
    assert times(tmp_path / "a.mp4") == times(tmp_path / "b.mp4")
    data = (tmp_path / "b.mp4").read_bytes()
    assert data[data.rindex(b"colr") + 4 :].startswith(b"nclx" + struct.pack(">HHHB", 1, 13, 6, 0))
