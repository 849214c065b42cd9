from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest

from offcam_proto.errors import EncodeError
from offcamd.video.mp4 import VideoWriter
from offcamd.video.probe import pictures, probe
from offcamd.video.tracks import Span, add_tracks

RATES = [Fraction(30), Fraction(30_000, 1001), Fraction(25, 2), Fraction(1000), Fraction(1, 3)]


def video(path, fps, shown):
    """A video whose pictures are as bright as their times."""
    writer = VideoWriter(path, width=32, height=32, fps=fps, preset="flat", crf=10)
    for at in shown:
        i420 = np.full((48, 32), 128, np.uint8)
        i420[:32] = 16 + 2 * at
        writer.write(i420, at)
    writer.close()
    return path


def seen(path, fps, *part):
    return [(each.at, round((each.rgb.mean() * 219 / 255) / 2)) for each in pictures(path, fps, *part)]


@pytest.mark.parametrize("fps", RATES, ids=str)
def test_texts_and_chapters_are_where_they_were_put(tmp_path, fps):
    source, target = video(tmp_path / "a.mp4", fps, range(90)), tmp_path / "b.mp4"
    texts = [Span(place, place + 1, f"step {place} \u00b1") for place in range(60)] + [Span(70, 90, "last")]
    add_tracks(source, target, fps, captions=iter(texts), chapters=[Span(0, 40, "one"), Span(40, 90, "two \u00e9")])
    before, after = probe(source), probe(target)
    assert (after.frames, after.fps, after.error) == (90, fps, None)
    assert after.duration_seconds == pytest.approx(before.duration_seconds, abs=1e-3)
    with av.open(str(target)) as file:
        track = file.streams.subtitles[0]
        found = [(p.pts, p.duration, bytes(p)[2:].decode()) for p in file.demux(track) if p.size > 2]
        tick = float(1 / fps) / float(track.time_base)
        chapters = file.chapters()
    assert found == [(round(s.begin * tick), round((s.end - s.begin) * tick), s.text) for s in texts]
    ends = [(each["start"] * float(each["time_base"]), each["metadata"]["title"]) for each in chapters]
    assert ends == [(0, "one"), (pytest.approx(float(40 / fps), abs=1e-3), "two \u00e9")]


def test_without_texts_there_is_no_track_and_a_text_is_cut_to_what_fits(tmp_path):
    source, target = video(tmp_path / "a.mp4", Fraction(30), range(3)), tmp_path / "b.mp4"
    add_tracks(source, target, Fraction(30))
    with av.open(str(target)) as file:
        assert len(file.streams) == 1
    add_tracks(source, target, Fraction(30), captions=[Span(0, 3, "x" * 70_000)])
    with av.open(str(target)) as file:
        assert max(packet.size for packet in file.demux(subtitles=0)) == 2**16 + 1


def test_what_cannot_be_copied_is_said(tmp_path):
    with pytest.raises(EncodeError, match=r"nothing\.mp4"):
        add_tracks(tmp_path / "nothing.mp4", tmp_path / "b.mp4", Fraction(30))


# --- parts of a video -------------------------------------------------------------------------------------


@pytest.mark.parametrize("fps", RATES, ids=str)
def test_a_part_is_decoded_from_what_is_shown_at_its_begin(tmp_path, fps):
    kept = [0, 1, 2, 5, 6, 40, 41, *range(60, 100)]
    path = video(tmp_path / "a.mp4", fps, kept)
    assert seen(path, fps) == [(at, at) for at in kept]
    assert seen(path, fps, 5, 41) == [(5, 5), (6, 6), (40, 40)]
    assert seen(path, fps, 30) == [(30, 6), *((at, at) for at in kept if at > 30)]  # the one before it is shown then
    assert seen(path, fps, 50, 55) == [(50, 41)]
    assert seen(path, fps, 97) == [(97, 97), (98, 98), (99, 99)]
