"""`offcam.show` where there is no notebook, and the HTML that one would have. In Jupyter: tests/integrations."""

from __future__ import annotations

import base64
import io
import math
import re
import sys

import pytest

import offcam
import runs
from envs import Barcode, play
from made import make_run, make_video
from offcam_runs.filmed import PICKS, read_filmed
from offcam_runs.shown import MOST_BYTES, Shown


def embedded(html):
    found = re.findall(r'<video controls [^>]*src="data:video/mp4;base64,([^"]+)"', html)
    return [base64.b64decode(data) for data in found]


def test_an_env_is_shown_as_it_is_now(daemon, folder, capsys):
    env = offcam.record(Barcode(length=5), folder, every=1)
    play(env, 3)
    env.flush()
    offcam.show(env)
    heads, row, curve, newest, before, first, *parts = capsys.readouterr().out.splitlines()
    assert heads.split()[:4] == ["run", "env", "episodes", "steps"]
    assert row.split()[0] == str(folder)
    assert "  3         15  " in row
    assert curve == "return ▁▁▁"
    assert newest.startswith(f"{folder / 'rl-video-episode-2.mp4'}: episode 2, return 5, 5 steps, 6 frames at ")
    assert before.startswith(f"{folder / 'rl-video-episode-1.mp4'}: ")
    assert first.startswith(f"{folder / 'rl-video-episode-0.mp4'}: ")
    assert parts == [
        f"episodes {n + 1} to {n + 1} of all: "
        + ", ".join(f"{pick} 5 ({folder}/rl-video-episode-{n}.mp4)" for pick in PICKS)
        for n in range(3)
    ]
    env.close()


def test_its_html_has_the_curve_and_the_newest_videos(daemon, folder):
    env = offcam.record(Barcode(length=5), folder, every=1)
    play(env, 3)
    env.close()
    html = Shown((offcam.load(folder),), videos=2)._repr_html_()
    assert embedded(html) == [(folder / f"rl-video-episode-{number}.mp4").read_bytes() for number in (2, 1)]
    assert html.count("<polyline") == 2
    assert "currentColor" in html
    assert re.search(r"#[0-9a-f]{6}|\bblack\b|\bwhite\b", re.sub('base64,[^"]+', "", html)) is None, (
        "a colour of its own"
    )


def test_its_html_has_the_best_the_median_and_the_worst_of_each_part_once(daemon, folder):
    env = offcam.record(Barcode(), folder, every=1)
    for length in range(1, 25):
        env.unwrapped.length = length
        play(env)
    env.close()
    run = offcam.load(folder)
    html = Shown((run,), videos=0, filmed=read_filmed(folder))._repr_html_()
    assert embedded(html) == [
        (folder / f"rl-video-episode-{number}.mp4").read_bytes()
        for part in range(8)
        for number in (3 * part + 2, 3 * part + 1, 3 * part)
    ]
    assert "episodes 4 to 6 of all" in html
    assert "<b>median: episode 4</b>: return 5" in html
    assert len(embedded(Shown((run,), videos=0)._repr_html_())) == 0


def test_the_parts_have_what_room_the_newest_videos_leave(tmp_path):
    video = make_video(tmp_path / "video.mp4")
    with video.open("ab") as file:
        file.write(bytes(300_000))
    folder = make_run(tmp_path / "run", 16, 1, video=video)
    html = Shown((offcam.load(folder),), videos=2, filmed=read_filmed(folder))._repr_html_()
    assert len(embedded(html)) == 4
    assert html.count("The video is too large for a notebook") > 2
    assert len(html.encode()) <= MOST_BYTES


def test_all_of_it_is_bounded_and_what_has_no_room_is_named(tmp_path):
    video = make_video(tmp_path / "video.mp4")
    with video.open("ab") as file:
        file.write(bytes(700_000))
    run = offcam.load(make_run(tmp_path / "run", 4, 1, video=video))
    html = Shown((run,))._repr_html_()
    assert len(embedded(html)) == 2
    assert 1_800_000 < len(html.encode()) <= MOST_BYTES
    assert f"<code>{run.clips[1].path}</code>" in html


def test_runs_of_a_folder_are_drawn_together_and_so_are_those_of_patterns(tmp_path, capsys):
    for name, best in (("a", 9), ("b", 7)):
        runs.write(tmp_path / "all" / name, [1, best])
    offcam.show(tmp_path / "all")
    said = capsys.readouterr().out
    assert [line for line in said.splitlines() if "return ▁" in line] == ["return ▁█ a", "return ▁█ b"]
    offcam.show([tmp_path / "all" / "*"], videos=0)
    offcam.show(offcam.load([tmp_path / "all" / "*"]))
    assert capsys.readouterr().out == said * 2
    both = offcam.load([tmp_path / "all" / "*"])
    html = Shown(both.runs)._repr_html_()
    assert html.count("<polyline") == html.count("&#9632;") == 2
    offcam.show(both[0], quantity="length")
    assert "length ▁█\n" in capsys.readouterr().out


def test_hostile_names_and_numbers(tmp_path, capsys):
    run = offcam.load(runs.write(tmp_path / "<script>", [math.nan, 1e308, -1e308], env_id="<b>&"))
    offcam.show(run)
    html = Shown((run, run))._repr_html_()
    assert "<script>" not in html
    assert "<b>&" not in html


def test_a_terminal_that_has_no_such_letters_gets_others(tmp_path, monkeypatch):
    out = io.TextIOWrapper(io.BytesIO(), "ascii")
    monkeypatch.setattr(sys, "stdout", out)
    offcam.show(runs.write(tmp_path / "run", [1, 2]))
    out.flush()
    assert b"return ??" in out.buffer.getvalue()


def test_mistakes_are_said(tmp_path, daemon):
    with pytest.raises(offcam.NotARunFolder, match="is no run folder"):
        offcam.show(tmp_path)
    with pytest.raises(offcam.ConfigError, match="is not recorded"):
        offcam.show(Barcode())
    folder = runs.write(tmp_path / "run", [1, 2])
    with pytest.raises(offcam.ConfigError, match="distance"):
        offcam.show(folder, quantity="distance")
    for videos in (-1, True, "3"):
        with pytest.raises(offcam.ConfigError, match="videos is how many"):
            offcam.show(folder, videos=videos)
    with pytest.raises(offcam.ConfigError, match="session"):
        offcam.show(folder, session=7)


def test_where_recording_is_off_nothing_is_shown(monkeypatch, folder, capsys):
    monkeypatch.setenv("OFFCAM", "off")
    offcam.show(offcam.record(Barcode(), folder))
    assert capsys.readouterr().out == "nothing is recorded yet\n"
