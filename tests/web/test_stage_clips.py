"""A run in parts, and the clips that tell of it: those that ``offcam timelapse`` shows."""

from __future__ import annotations

import math

import pytest

import made
from offcam_runs import blocks, long_run
from offcam_runs.filmed import PICKS, read_filmed
from offcam_runs.run_ids import run_id
from offcamd.web import episode_cache


def told(client, folder, **params):
    answer = client.get(f"/api/runs/{run_id(folder)}/stages", params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


def numbers(answer, pick):
    return [stage[pick] and stage[pick]["number"] for stage in answer["stages"]]


def test_a_run_is_in_eight_parts_each_with_its_best_median_and_worst_clip(client, run):
    found = told(client, run)
    assert found["episodes"] == 5000
    assert [(each["begin"], each["end"]) for each in found["stages"]] == [(at, at + 625) for at in range(0, 5000, 625)]
    for begin, stage in zip(range(0, 5000, 625), found["stages"], strict=True):
        assert (stage["first"], stage["last"]) == (begin, begin + 624)
        ranked = sorted((n for n in range(begin, begin + 625) if n % 100 == 0), key=lambda n: (made.return_of(n), n))
        middle = ranked[(len(ranked) - 1) // 2]
        for pick, number in (("best", ranked[-1]), ("median", middle), ("worst", ranked[0])):
            one = stage[pick]
            assert (one["number"], one["episode"], one["env_index"], one["num_envs"]) == (number, number, 0, 1)
            assert one["clip"] == f"{made.STREAM.hex()}-{number // 100}"
            assert (one["return"], one["length"]) == (pytest.approx(made.return_of(number)), made.length_of(number))


def test_they_are_those_of_the_time_lapse_of_files_that_are_there(look, tmp_path, video):
    folder = made.make_run(tmp_path / "run", 90, 10, video=video)
    client = look(folder)
    told(client, folder)  # with all of them
    for number in (10, 80):
        (folder / f"rl-video-episode-{number}.mp4").unlink()
    for count in (1, 4, 8, 50):
        found, filmed = told(client, folder, count=count), read_filmed(folder)
        for pick in PICKS:
            assert numbers(found, pick) == [each.picked(pick) for each in filmed.stages(count)]
    assert 10 not in numbers(told(client, folder, count=90), "best")


def test_parts_without_a_clip_have_none_and_short_runs_fewer_parts(look, tmp_path, video):
    client = look(
        made.make_run(tmp_path / "three", 3, 1, video=video, stream=b"3" * 16),
        made.make_run(tmp_path / "sparse", 80, 40, video=video, stream=b"4" * 16),
        made.make_run(tmp_path / "none", 0, 0, stream=b"5" * 16),
    )
    assert numbers(told(client, tmp_path / "three"), "median") == [0, 1, 2]
    assert numbers(told(client, tmp_path / "sparse"), "best") == [0, None, None, None, 40, None, None, None]
    assert told(client, tmp_path / "none") == {"episodes": 0, "stages": []}


def test_a_return_that_is_no_number_is_none(look, tmp_path, video):
    folder = made.make_run(tmp_path / "run", 1000, 333, video=video)
    (stage,) = told(look(folder), folder, count=1)["stages"]
    assert math.isnan(made.return_of(999))
    assert (stage["worst"]["number"], stage["worst"]["return"]) == (999, None)


def test_those_of_a_long_run_are_the_same(run, look, monkeypatch):
    whole = [told(look(run), run, count=count) for count in (8, 100)]
    monkeypatch.setattr(long_run, "LONG", 100)
    monkeypatch.setattr(blocks, "BLOCK", 10)
    monkeypatch.setattr(episode_cache.EpisodeCache, "get", lambda *_: pytest.fail("all episodes were read"))
    client = look(run)
    assert [told(client, run, count=count) for count in (8, 100)] == whole
