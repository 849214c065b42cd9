"""Encoders that make one video after another, and copies of videos that are not read back."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import av
import numpy as np
import pytest

from offcam_proto.errors import EncodeError
from offcamd.video import packet_file, picture_encoder
from offcamd.video.mp4 import VideoWriter
from offcamd.video.packet_file import PacketFile
from offcamd.video.picture_encoder import SpareEncoders
from offcamd.video.probe import probe
from offcamd.video.remux import remux

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

HEIGHT, WIDTH = 48, 64


@pytest.fixture
def opened(monkeypatch) -> list[object]:
    """The encoders that were opened."""
    made: list[object] = []

    class Noted(picture_encoder.PictureEncoder):
        def __init__(self, form):
            super().__init__(form)
            made.append(form)

    monkeypatch.setattr(picture_encoder, "PictureEncoder", Noted)
    return made


def noise(count: int, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.integers(16, 236, (HEIGHT * 3 // 2, WIDTH), dtype=np.uint8) for _ in range(count)]


def record(
    path: Path, pictures: list[np.ndarray], spares: SpareEncoders | None, pts: Sequence[int] | None = None, **changed
) -> VideoWriter:
    settings = {"width": WIDTH, "height": HEIGHT, "fps": Fraction(30), "preset": "flat", "crf": 10, **changed}
    writer = VideoWriter(path, spares=spares, **settings)
    for picture, at in zip(pictures, pts or range(len(pictures)), strict=True):
        writer.write(picture, at)
    writer.close()
    return writer


def decoded(path: Path) -> list[tuple[Fraction, bytes]]:
    with av.open(str(path)) as container:
        return [(frame.pts * frame.time_base, frame.to_ndarray().tobytes()) for frame in container.decode(video=0)]


def keyframes(path: Path) -> list[bool]:
    with av.open(str(path)) as container:
        return [packet.is_keyframe for packet in container.demux(video=0) if packet.dts is not None]


def test_a_video_by_an_encoder_that_made_others_is_the_one_that_a_new_encoder_makes(tmp_path, opened) -> None:
    spares = SpareEncoders()
    films = [noise(count, seed) for seed, count in enumerate((3, 20, 1, 7))]
    for number, film in enumerate(films):
        record(tmp_path / f"{number}.mp4", film, spares)
        record(tmp_path / f"{number}-alone.mp4", film, None)
    assert len(opened) == 1 + len(films)
    for number, film in enumerate(films):
        path, alone = tmp_path / f"{number}.mp4", tmp_path / f"{number}-alone.mp4"
        assert decoded(path) == decoded(alone)
        assert probe(path) == probe(alone)
        assert keyframes(path) == [True] + [False] * (len(film) - 1)
        assert b"x264 - core" not in path.read_bytes()


def test_gaps_in_one_video_do_not_shift_the_next(tmp_path) -> None:
    spares = SpareEncoders()
    record(tmp_path / "a.mp4", noise(3), spares, pts=(0, 10, 500))
    record(tmp_path / "b.mp4", noise(3), spares, pts=(4, 5, 9))
    assert [time for time, _ in decoded(tmp_path / "b.mp4")] == [0, Fraction(5, 30), Fraction(9, 30)]


def test_a_video_of_another_kind_gets_an_encoder_of_its_own(tmp_path, opened) -> None:
    spares = SpareEncoders()
    for number, changed in enumerate(({}, {"fps": Fraction(50)}, {"crf": 20}, {"preset": "ultrafast"}, {})):
        record(tmp_path / f"{number}.mp4", noise(2), spares, **changed)
    assert len(opened) == 4


def test_an_encoder_whose_rate_control_remembers_makes_one_video(tmp_path, opened) -> None:
    spares = SpareEncoders()
    for number in range(2):
        record(tmp_path / f"{number}.mp4", noise(2), spares, preset="ultrafast")
    assert len(opened) == 2


def test_an_encoder_whose_video_failed_makes_no_other_one(tmp_path, opened, monkeypatch) -> None:
    spares = SpareEncoders()
    writer = VideoWriter(
        tmp_path / "a.mp4", width=WIDTH, height=HEIGHT, fps=Fraction(30), preset="flat", crf=10, spares=spares
    )
    writer.write(noise(1)[0], 0)

    def fail(*_: object) -> None:
        raise OSError(5, "the disk is gone")

    with monkeypatch.context() as patched:
        patched.setattr(PacketFile, "write", fail)
        with pytest.raises(EncodeError, match="the disk is gone"):
            writer.write(noise(1)[0], 1)
        with pytest.raises(EncodeError, match="the disk is gone"):
            writer.close()
    record(tmp_path / "b.mp4", noise(2), spares)
    assert len(opened) == 2


def test_two_videos_at_a_time_have_two_encoders(tmp_path, opened) -> None:
    spares = SpareEncoders()
    settings = {"width": WIDTH, "height": HEIGHT, "fps": Fraction(30), "preset": "flat", "crf": 10, "spares": spares}
    film = noise(5)
    for first, second in (("a", "b"), ("c", "d")):
        writers = [VideoWriter(tmp_path / f"{name}.mp4", **settings) for name in (first, second)]
        for place, picture in enumerate(film):
            for writer in writers:
                writer.write(picture, place)
        for writer in writers:
            writer.close()
    assert len(opened) == 2
    assert len({tuple(decoded(tmp_path / f"{name}.mp4")) for name in "abcd"}) == 1


def test_no_more_spare_encoders_are_kept_than_there_is_memory_for(tmp_path, opened, monkeypatch) -> None:
    form = picture_encoder.VideoFormat(WIDTH, HEIGHT, Fraction(30), "flat", 10)
    monkeypatch.setattr(picture_encoder, "SPARE_BYTES", form.nbytes * 2)
    spares = SpareEncoders()
    rates = [Fraction(rate) for rate in (10, 20, 30)]
    for number, rate in enumerate([*rates, *rates]):
        record(tmp_path / f"{number}.mp4", noise(2), spares, fps=rate)
    assert len(opened) == 6  # each was pushed out by the two that came after it
    record(tmp_path / "last.mp4", noise(2), spares, fps=rates[-1])
    assert len(opened) == 6


@pytest.mark.parametrize("limit", ["KEPT_PACKETS", "KEPT_BYTES"])
def test_a_copy_from_memory_is_the_one_from_the_file_and_a_long_video_is_read_back(
    tmp_path, monkeypatch, limit
) -> None:
    read: list[Path] = []

    def noted(source: Path, target: Path) -> None:
        read.append(source)
        remux(source, target)

    monkeypatch.setattr(packet_file, "remux", noted)
    film = noise(10)
    record(tmp_path / "a", film, None, pts=[0, 1, 2, 3, 7, 8, 9, 30, 31, 32]).copy_to(tmp_path / "memory.mp4")
    assert not read
    monkeypatch.setattr(packet_file, limit, 5)
    record(tmp_path / "b", film, None, pts=[0, 1, 2, 3, 7, 8, 9, 30, 31, 32]).copy_to(tmp_path / "file.mp4")
    assert read == [tmp_path / "b"]
    memory, file = tmp_path / "memory.mp4", tmp_path / "file.mp4"
    assert decoded(memory) == decoded(file) == decoded(tmp_path / "a")
    assert probe(memory) == probe(file)
    assert memory.stat().st_size == file.stat().st_size < (tmp_path / "a").stat().st_size
