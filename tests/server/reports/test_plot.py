"""Figures: that they are drawn from every kind of run, and that what is in them is what was recorded."""

from __future__ import annotations

import math
import re
import warnings

import numpy as np
import pytest
from matplotlib import image
from matplotlib.axes import Axes

import runs
from offcam_proto.errors import ConfigError
from offcam_runs.discover import labels, run_folders
from offcam_runs.run import read_run
from offcamd.reports import plot
from offcamd.reports.plot import PALETTE, FigureLine, FigureStyle, draw

RANDOM = np.random.default_rng(0)


def line(folder, returns, name="run", **more):
    return FigureLine(name, (read_run(runs.write(folder / name, returns, **more)),))


def texts(file):
    return " ".join(re.findall(r"<text[^>]*>([^<]*)</text>", file.read_text()))


def colours(file):
    """How many pixels of a PNG have each of the palette's first colours."""
    pixels = (image.imread(file)[..., :3] * 255).round().astype(int)
    wanted = [tuple(int(colour[place : place + 2], 16) for place in (1, 3, 5)) for colour in PALETTE[:3]]
    return [int((pixels == np.array(colour)).all(axis=-1).sum()) for colour in wanted]


@pytest.mark.parametrize("ending", ["png", "svg", "pdf"])
@pytest.mark.parametrize(
    "returns",
    [
        [],
        [17.0],
        [math.nan],
        [3.0, 3.0, 3.0],
        [1.0, math.nan, math.inf, -math.inf, 2.0] * 30,
        [*RANDOM.normal(size=60), 1e308, -1e308, *RANDOM.normal(size=60)],
    ],
    ids=["none", "one", "nan", "equal", "odd", "huge"],
)
def test_every_run_has_a_figure(tmp_path, returns, ending):
    file = tmp_path / f"figure.{ending}"
    lines = [line(tmp_path, returns)] if returns else []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        draw(lines, FigureStyle(), file)
    head = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[ending]
    assert file.read_bytes().startswith(head)
    if ending == "svg":
        wanted = "no finished episodes yet" if not returns else "CartPole-v1"
        assert wanted in texts(file)


def test_what_a_figure_says(tmp_path):
    file = tmp_path / "figure.svg"
    draw([line(tmp_path, [1.0, math.nan, *RANDOM.normal(size=300), 1e9], "my $run_1$")], FigureStyle(window=25), file)
    for words in (
        *("CartPole-v1", "Episode", "Return", "Length (steps)", "single episodes", "moving average of 25 episodes"),
        *("my $run_1$, 303 episodes", "1 return not finite", "1 extreme return beyond the axis"),
    ):
        assert words in texts(file), words


def test_of_a_long_run_every_so_manieth_episode_is_drawn(tmp_path, monkeypatch):
    monkeypatch.setattr(plot, "MOST_DRAWN", 40)
    points = []
    draw_line = Axes.plot
    monkeypatch.setattr(
        Axes, "plot", lambda self, x, *rest, **how: (points.append(len(x)), draw_line(self, x, *rest, **how))[1]
    )
    file = tmp_path / "figure.svg"
    draw([line(tmp_path, RANDOM.normal(size=303))], FigureStyle(window=25), file)
    assert "303 episodes; 1 in 8 drawn" in texts(file)
    assert points == 4 * [38]  # single episodes and average, of returns and of lengths


def test_a_value_is_drawn_in_place_of_the_lengths(tmp_path):
    infos = [{"is_success": float(number % 2)} if number % 10 else {} for number in range(100)]
    lines = [line(tmp_path, range(100), infos=infos)]
    np.testing.assert_equal(
        lines[0].runs[0].curve("is_success").y, [info.get("is_success", math.nan) for info in infos]
    )
    assert lines[0].runs[0].episodes.summary("is_success").mean == pytest.approx(50 / 90)
    draw(lines, FigureStyle(value="is_success"), tmp_path / "figure.svg")
    shown = texts(tmp_path / "figure.svg")
    assert "is_success" in shown
    assert "Length" not in shown
    with pytest.raises(ConfigError, match="no episode has a value 'd': there are is_success"):
        draw(lines, FigureStyle(value="d"), tmp_path / "figure.svg")


def test_several_runs_have_a_colour_and_a_name_each(tmp_path):
    lines = [line(tmp_path, RANDOM.normal(place, 1, 200), f"_run {place}") for place in range(3)]
    draw(lines, FigureStyle(raw=False), tmp_path / "figure.png")
    assert min(colours(tmp_path / "figure.png")) > 500
    draw(lines, FigureStyle(title="A & B"), tmp_path / "figure.svg")
    assert "A &amp; B" in texts(tmp_path / "figure.svg")
    for place in range(3):
        assert f"_run {place}" in texts(tmp_path / "figure.svg")


def test_seeds_are_one_curve_with_its_method(tmp_path):
    members = [line(tmp_path, RANDOM.normal(size=100 + 10 * place), f"seed-{place}").runs[0] for place in range(4)]
    look = FigureStyle("step", statistic="median", confidence=0.9)
    draw([FigureLine("ppo", tuple(members))], look, tmp_path / "figure.svg")
    found = texts(tmp_path / "figure.svg")
    assert "ppo (4 seeds)" in found
    assert "moving average of 10 episodes; median over seeds, 90 % bootstrap interval" in found
    assert "Environment steps" in found


def test_time_is_in_a_unit_that_fits(tmp_path):
    for steps, unit in ((100, "(s)"), (5_000, "(min)"), (500_000, "(h)")):
        run = line(tmp_path, [1.0, 2.0, 3.0], f"run {steps}", lengths=[steps] * 3)
        draw([run], FigureStyle("time"), tmp_path / "figure.svg")
        assert f"Time since the run began {unit}" in texts(tmp_path / "figure.svg")


def test_the_same_figure_is_the_same_file(tmp_path):
    one = line(tmp_path, RANDOM.normal(size=50))
    for ending in ("png", "svg", "pdf"):
        draw([one], FigureStyle(), tmp_path / f"1.{ending}")
        draw([one], FigureStyle(), tmp_path / f"2.{ending}")
        assert (tmp_path / f"1.{ending}").read_bytes() == (tmp_path / f"2.{ending}").read_bytes()


def test_a_window_longer_than_a_run_leaves_its_episodes(tmp_path):
    lines = [line(tmp_path, RANDOM.normal(size=size), f"run {size}") for size in (20, 300)]
    draw(lines, FigureStyle(window=100, raw=False), tmp_path / "figure.png")
    red, _, blue = (image.imread(tmp_path / "figure.png")[..., place] for place in range(3))
    assert (blue > red + 0.3).sum() > 500
    assert (red > blue + 0.3).sum() > 500


# --- columns ----------------------------------------------------------------------------------------------


def test_columns_of_a_run(tmp_path):
    run = read_run(runs.write(tmp_path / "run", [1.0, math.nan, 3.0]))
    np.testing.assert_equal(run.episodes.return_, [1.0, math.nan, 3.0])
    assert run.episodes.length.tolist() == [10, 11, 12]
    assert (run.episodes.ended - runs.BEGAN).tolist() == pytest.approx([0.10, 0.21, 0.33], abs=1e-6)
    assert (run.episodes.terminated.tolist(), run.episodes.truncated.tolist()) == (
        [True, True, False],
        [False, False, True],
    )
    assert (run.env_ids, run.began) == (("CartPole-v1",), runs.BEGAN)
    assert run.episodes[-2:].length.tolist() == [11, 12]
    assert run.episodes[-9:].length.tolist() == [10, 11, 12]


def test_a_folder_of_runs_means_its_runs(tmp_path):
    inner = [runs.write(tmp_path / "ppo" / name, [1.0]) for name in ("seed-0", "seed-1")]
    assert run_folders([tmp_path / "ppo", inner[0].parent / "seed-9"]) == [inner, [tmp_path / "ppo" / "seed-9"]]
    with pytest.raises(ConfigError, match="twice"):
        run_folders([tmp_path / "ppo", inner[1]])
    assert labels(inner) == ["seed-0", "seed-1"]
    assert labels([tmp_path / "a" / "x", tmp_path / "b" / "x"]) == ["a/x", "b/x"]
    assert labels([]) == []
