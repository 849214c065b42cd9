"""Scenes of videos that are made here, whose pictures are as bright as their times."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

import films
from offcam_proto.errors import ConfigError
from offcam_runs.episodes import Episode
from offcamd import stories
from offcamd.stories.animated import animated
from offcamd.stories.film import joined, side_by_side
from offcamd.stories.scene import Scene, Told
from offcamd.video.drawing import written
from offcamd.video.mp4 import VideoWriter


def scene(path, fps, width, height, shown, frames):
    writer = VideoWriter(path, width=width, height=height, fps=Fraction(fps), preset="flat", crf=5)
    for at in shown:
        i420 = np.full((height * 3 // 2, width), 128, np.uint8)
        i420[:height] = 40 + 4 * at
        writer.write(i420, at)
    writer.close()
    episode = Episode(0, 0, 0, 7, 1.5, frames - 1, math.nan, math.nan, True, False, None, {})
    return Scene(path, Fraction(fps), width, height, 0, frames, episode, "run", reset=0)


def bright(rgb):
    return round((rgb.mean() * 219 / 255 + 16 - 40) / 4)


@pytest.fixture
def scenes(tmp_path):
    (tmp_path / "of").mkdir()
    return [
        scene(tmp_path / "of" / "a.mp4", 30, 32, 32, [0, 1, 2, 3], 6),
        scene(tmp_path / "of" / "b.mp4", 20, 48, 40, range(5), 5),
    ]


def test_sizes_and_rates_that_differ(scenes, tmp_path):
    made = joined(scenes, tmp_path / "made.mp4", speed=Fraction(1))
    shots = list(films.shots(tmp_path / "made.mp4"))
    assert {shot.rgb.shape for shot in shots} == {(40, 48, 3)}
    assert (made.frames, made.width, made.height, made.fps, made.seconds) == (14, 48, 40, 30, pytest.approx(14 / 30))
    found = {round(shot.time * 30): bright(shot.rgb[10:30, 14:34]) for shot in shots}
    assert found == {0: 0, 1: 1, 2: 2, 3: 3, 5: 3, 6: 0, 8: 1, 9: 2, 10: 3, 12: 4, 13: 4}
    assert shots[0].rgb[:3].max() < 10  # black around
    assert shots[-1].rgb[:3].min() > 30


@pytest.mark.parametrize(("fps", "shown"), [(None, [0, 1, 3, 4]), (10, [0, 1, 4])])
def test_an_overlay_tells_of_the_picture_beneath(tmp_path, monkeypatch, fps, shown):
    made = scene(tmp_path / "a.mp4", 20, 96, 96, [0, 1, 3, 4], 5)
    steps = np.arange(5)
    told = Told(steps, steps * 1.5, np.cumsum(steps * 1.5))
    seen = {}

    def note(rgb, text):
        seen[text] = bright(rgb)
        return written(rgb, text)

    monkeypatch.setattr(stories.animated, "written", note)
    target = tmp_path / "made.gif"
    animated(replace(made, told=told), target, speed=Fraction(1), fps=fps and Fraction(fps), overlay=True)
    sums = [f"return {1.5 * sum(range(step + 1)):.6g}" for step in range(5)]
    words = [f"episode 7, step {step}, reward {step * 1.5:.6g}, {sums[step]}" for step in range(5)]
    words[0] = "episode 7, step 0, return 0"
    assert seen == {words[step]: step for step in shown}


@pytest.mark.parametrize("make", ["joined", "side_by_side", ".gif", ".webp"])
def test_who_is_told_of_progress_may_end_it_and_nothing_but_the_target_is_left(scenes, tmp_path, make):
    told, target = [], tmp_path / f"made{make if make[0] == '.' else '.mp4'}"

    def tell(done, total):
        told.append((done, total))

    def stop(done, total):
        if done > 2:
            raise SystemExit

    for progress in (tell, stop):
        try:
            if make == "joined":
                joined(scenes, target, speed=Fraction(1), progress=progress)
            elif make == "side_by_side":
                side_by_side(scenes, ["", ""], target, speed=Fraction(1), progress=progress)
            else:
                animated(scenes[1], target, speed=Fraction(1), progress=progress)
        except SystemExit:
            assert progress is stop
        else:
            assert progress is tell
        assert {path.name for path in tmp_path.iterdir()} <= {"of", target.name}
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert len({total for _, total in told}) == 1
    assert told[-1][0] == told[-1][1]


def test_what_cannot_be_shown_is_said(scenes, tmp_path):
    with pytest.raises(ConfigError, match="at most 9 videos, got 10"):
        side_by_side(scenes * 5, [""] * 10, tmp_path / "made.mp4", speed=Fraction(1))
    with pytest.raises(ConfigError, match="3000 frames a second"):
        joined(scenes, tmp_path / "made.mp4", speed=Fraction(100))
    with pytest.raises(ConfigError, match=r"it is shown from 0 to 0\.25 s"):
        scenes[1].between(0.25, None)
    assert [path.name for path in tmp_path.iterdir()] == ["of"]
