"""Curves as SVG and as text: what is drawn is what there is, in whatever colours the page has."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from offcam_runs.analysis import Smooth
from offcam_runs.chart import BOTTOM, COLOURS, HEIGHT, LEFT, POINTS, RIGHT, TOP, WIDTH, Line, sparkline, svg


def line(y, name="run", average=None):
    values = np.array(y, float)
    return Line(name, Smooth(np.arange(values.size) * 1.0, values, values if average is None else np.array(average)))


def polylines(html):
    drawing = ET.fromstring(html[: html.index("</svg>") + 6])  # noqa: S314 - our own
    found = drawing.findall("polyline")
    return [[tuple(map(float, pair.split(","))) for pair in each.attrib["points"].split()] for each in found]


def test_a_curve_spans_the_drawing_and_a_gap_is_left_out():
    average, raw = polylines(svg([line([0, 10, math.nan, 5], average=[math.nan, 5, 5, 5])], "return"))[::-1]
    assert [raw[0], raw[1]] == [
        (LEFT, HEIGHT - BOTTOM),
        (pytest.approx(LEFT + (WIDTH - LEFT - RIGHT) / 3, abs=0.1), TOP),
    ]
    assert len(raw) == len(average) == 3
    assert raw[-1][0] == WIDTH - RIGHT


def test_the_axes_say_from_where_to_where():
    html = svg([line([-3, 120_000])], "len<gth")
    assert re.findall(r">([^<]+)</text>", html) == ["120,000", "-3", "0", "1", "len&lt;gth by episode"]
    assert set(re.findall(r'(?:stroke|fill)="([^"]+)"', html)) == {"none", "currentColor"}


def test_of_a_long_curve_each_piece_has_its_least_and_its_greatest():
    y = np.zeros(100_000)
    y[[5_000, 70_001]] = [9, -9]
    _, raw = polylines(svg([line(y)], "return"))
    assert POINTS // 4 < len(raw) <= POINTS
    heights = [height for _, height in raw]
    assert (heights.count(TOP), heights.count(HEIGHT - BOTTOM)) == (1, 1)


def test_several_runs_have_their_averages_and_a_legend():
    html = svg([line([1, 2], f"<{number}>") for number in range(3)], "return")
    assert len(polylines(html)) == 3
    assert re.findall(r'<span style="color:(#\w+)">&#9632;</span> &lt;(\d)&gt;', html) == [
        (colour, str(number)) for number, colour in enumerate(COLOURS[:3])
    ]


@pytest.mark.parametrize("lines", [[], [line([])], [line([math.nan, math.inf])]], ids=["none", "empty", "not finite"])
def test_of_nothing_there_is_no_drawing(lines):
    assert svg(lines, "return") == ""


@pytest.mark.parametrize("y", [[3.0], [2.0] * 5, [1e308, -1e308], [5e-324, 0]])
def test_odd_ranges_stay_in_the_drawing(y):
    for points in polylines(svg([line(y)], "return")):
        assert all(LEFT <= x <= WIDTH - RIGHT and TOP <= height <= HEIGHT - BOTTOM for x, height in points)


@pytest.mark.parametrize(
    ("y", "drawn"),
    [
        ([0, 1, 2, 3, 4, 5, 6, 7], "▁▂▃▄▅▆▇█"),
        ([1, math.nan, 2], "▁ █"),
        ([4, 4], "▁▁"),
        ([], ""),
        ([math.nan], ""),
        ([1e308, -1e308], "█▁"),
    ],
)
def test_a_line_of_bars(y, drawn):
    assert sparkline(np.array(y, float)) == drawn


def test_a_line_of_bars_is_no_longer_than_a_terminal_and_averages():
    assert sparkline(np.repeat([0.0, 7.0, 3.5], 4_000), width=3) == "▁█▅"
    assert len(sparkline(np.arange(1e5))) == 60
