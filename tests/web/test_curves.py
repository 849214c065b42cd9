"""Learning curves, decimated and of groups of runs, against numpy's own words."""

from __future__ import annotations

import math
import sqlite3
from contextlib import closing

import numpy as np
import pytest

import made
import runs
from offcam_proto.codec import pack_record
from offcam_runs.analysis import smooth
from offcam_runs.format import INDEX_NAME
from offcam_runs.run_ids import run_id
from offcam_runs.streams import began, read_streams
from offcamd.store.index import RunIndex
from offcamd.web import curves, smooth_cache
from offcamd.web.episode_cache import EpisodeCache
from offcamd.web.reading import reading
from offcamd.web.smooth_cache import SmoothCache

RETURNS = np.array([made.return_of(number) for number in range(5000)])
LENGTHS = np.array([made.length_of(number) for number in range(5000)])


def floats(values):
    return np.array([math.nan if value is None else value for value in values])


def test_a_curve_with_a_point_for_each_episode(client, base):
    curve = client.get(f"{base}/curve", params={"points": 5000}).json()
    assert (curve["total"], curve["decimated"], curve["x"], curve["y"]) == (5000, False, "episode", "return")
    assert curve["first"] == curve["xs"] == list(range(5000))
    assert set(curve["count"]) == {1}
    for name in ("mean", "min", "max"):
        np.testing.assert_array_equal(floats(curve[name]), RETURNS)


def test_a_decimated_curve_keeps_what_is_highest_and_lowest(client, base):
    curve = client.get(f"{base}/curve", params={"points": 300, "window": 50}).json()
    assert curve["decimated"]
    assert len(curve["xs"]) == len(curve["mean"]) == 295  # 17 episodes each, the last of two
    assert sum(curve["count"]) == 5000
    for place, (first, count) in enumerate(zip(curve["first"], curve["count"], strict=True)):
        part = RETURNS[first : first + count]
        assert curve["mean"][place] == pytest.approx(np.nanmean(part))
        assert (curve["min"][place], curve["max"][place]) == (np.nanmin(part), np.nanmax(part))
        end = first + count
        if end < 50:
            assert curve["average"][place] is None
        else:
            assert curve["average"][place] == pytest.approx(np.nanmean(RETURNS[end - 50 : end]))


def test_a_bucket_without_a_number_has_none(client, base):
    curve = client.get(f"{base}/curve", params={"from": 999, "to": 999}).json()
    assert (curve["total"], curve["xs"], curve["mean"], curve["min"]) == (1, [999], [None], [None])


@pytest.mark.parametrize("asked", [{"from": "1e300"}, {"to": "-1"}, {"from": "50", "to": "40"}])
def test_a_part_where_nothing_is(client, base, asked):
    curve = client.get(f"{base}/curve", params=asked).json()
    assert (curve["total"], curve["xs"], curve["first"], curve["average"]) == (0, [], [], [])


def test_by_steps_and_by_time(client, base):
    steps = np.cumsum(LENGTHS)
    by_step = client.get(f"{base}/curve", params={"x": "step", "y": "length", "points": 5000}).json()
    assert by_step["xs"] == steps.tolist()
    assert by_step["mean"] == LENGTHS.tolist()
    by_time = client.get(f"{base}/curve", params={"x": "time", "y": "duration", "points": 5000}).json()
    np.testing.assert_allclose(by_time["xs"], steps / 50, atol=1e-5)  # an epoch's seconds have no more digits
    part = client.get(f"{base}/curve", params={"x": "step", "from": 1000, "to": 2000, "points": 10000}).json()
    assert part["total"] == ((steps >= 1000) & (steps <= 2000)).sum()
    assert 1000 <= part["xs"][0] < part["xs"][-1] <= 2000
    average = client.get(f"{base}/curve", params={"x": "step", "points": 10000}).json()["average"]
    assert part["average"] == average[part["first"][0] :][: part["total"]]  # of the whole run's episodes


def test_a_run_without_an_episode(look, tmp_path):
    folder = made.make_run(tmp_path / "run", 0, 0)
    client, url = look(folder), f"/api/runs/{run_id(folder)}"
    assert client.get(f"{url}/curve").json()["total"] == 0
    assert client.get(f"{url}/episodes").json() == {"total": 0, "offset": 0, "episodes": []}
    assert client.get(f"/api/group?ids={run_id(folder)}").json()["xs"] == []
    assert client.get(f"{url}/nearest?number=0").status_code == 404
    assert client.get(url).json()["return"]["mean"] is None


def test_numbers_that_json_does_not_have(look, tmp_path):
    folder = made.make_run(tmp_path / "run", 0, 0)
    index = RunIndex.open(folder)
    odd = (math.inf, -math.inf, math.nan, 1e308, 1e308, 2.0)
    values = [made.episode(n, math.nan, return_=value, duration=math.inf) for n, value in enumerate(odd)]
    index.apply(made.STREAM, 1, [pack_record(value) for value in values])
    index.close()
    client, url = look(folder), f"/api/runs/{run_id(folder)}"
    curve = client.get(f"{url}/curve", params={"points": 2, "window": 2}).json()
    assert curve["mean"] == [None, None]  # of nothing, and of what is too large to be added up
    assert curve["max"] == [None, 1e308]
    assert client.get(url).json()["return"]["max"] == 1e308
    rows = client.get(f"{url}/episodes").json()["episodes"]
    assert [row["return"] for row in rows] == [None, None, None, 1e308, 1e308, 2.0]
    assert client.get(f"{url}/curve?x=time&y=duration").json()["mean"] == [None] * 6


def test_marks_say_why_their_videos_were_kept(look, tmp_path):
    client, folder = look(made.make_run(tmp_path / "run", 40, 10)), tmp_path / "run"
    with closing(sqlite3.connect(folder / INDEX_NAME)) as database, database:
        database.execute("UPDATE clips SET keep_reason = 'worst(1), failures()' WHERE episode = 20")
    found = client.get(f"/api/runs/{run_id(folder)}/curve").json()["recorded"]
    assert (found["numbers"], found["reasons"]) == ([0, 10, 20, 30], [None, None, "worst(1), failures()", None])


def test_a_group_of_seeds(look, tmp_path):
    folders = [made.make_run(tmp_path / f"seed{seed}", 200 + seed, 0) for seed in range(3)]
    for seed, folder in enumerate(folders[1:], 1):
        index = RunIndex.open(folder)
        with index.transaction():
            index._db.execute(
                "UPDATE episodes SET return = return + ?", (10 * seed,)
            )  # the quickest way to other returns
        index.close()
    client = look(*folders)
    ids = ",".join(run_id(folder) for folder in folders)
    group = client.get("/api/group", params={"ids": ids, "window": 1, "points": 100}).json()
    assert (group["runs"], group["interval"], len(group["xs"])) == (3, 0.95, 100)
    for place, x in enumerate(group["xs"]):
        value = made.return_of(int(x))
        assert group["mean"][place] == pytest.approx(value + 10)
        assert group["iqm"][place] == pytest.approx(value + 10)  # of three values none is left out
        assert (group["low"][place], group["high"][place]) == (pytest.approx(value), pytest.approx(value + 20))
    alone = client.get("/api/group", params={"ids": run_id(folders[0]), "window": 50}).json()
    assert alone["runs"] == 1
    assert set(alone["low"]) == {None}
    assert client.get("/api/group?ids=ffffffffffff").status_code == 404
    for bad in ("", ",", ",".join(["a"] * 65)):
        assert client.get("/api/group", params={"ids": bad}).status_code == 400


def test_a_value_of_the_episodes(look, tmp_path):
    infos = [{"is_success": float(number % 2), "d": number / 4} if number else {} for number in range(6)]
    told = runs.write(tmp_path / "told", [1.0] * 6, infos=infos)
    silent, new = runs.write(tmp_path / "silent", [1.0] * 6), runs.write(tmp_path / "new", [])
    client = look(tmp_path)
    base = f"/api/runs/{run_id(told)}"
    found = client.get(f"{base}/curve", params={"y": "d", "window": 2}).json()
    assert (found["y"], found["mean"]) == ("d", [None, 0.25, 0.5, 0.75, 1.0, 1.25])
    assert client.get(f"{base}/curve", params={"y": "is_success", "window": 5}).json()["average"][-1] == 0.6
    for url, refused in (("curve?y=dd", "return, length, duration, is_success, d"), ("curve?y=", "")):
        answer = client.get(f"{base}/{url}")
        assert (answer.status_code, refused in answer.text) == (400 if refused else 200, True)
    assert client.get(f"/api/runs/{run_id(silent)}/curve?y=d").status_code == 400
    assert client.get(f"/api/runs/{run_id(new)}/curve?y=d").json()["total"] == 0  # its episodes may have it
    group = {"y": "d", "window": 1, "ids": f"{run_id(told)},{run_id(silent)}"}
    assert client.get("/api/group", params=group).json()["runs"] == 1  # of those that have it
    assert client.get("/api/group", params={**group, "ids": run_id(silent)}).status_code == 400


def test_columns_are_kept_for_the_latest_runs_only(tmp_path):
    folders = [made.make_run(tmp_path / str(number), 100, 0) for number in range(3)]
    cache = EpisodeCache(most_bytes=2 * 100 * 74)
    for folder in folders:
        with reading(folder) as database:
            assert len(cache.get(folder, database, read_streams(database))) == 100
    assert [folder for folder, _ in cache._runs._kept] == folders[1:]


def test_a_reader_that_began_earlier_sees_what_there_was_then(tmp_path):
    folder = made.make_run(tmp_path / "run", 10, 0)
    index, cache = RunIndex.open(folder), EpisodeCache()
    with reading(folder) as before:
        assert len(cache.get(folder, before, read_streams(before))) == 10
        index.apply(made.STREAM, 11, [pack_record(made.episode(10, 0.0))])
        with reading(folder) as after:
            kept = cache.get(folder, after, read_streams(after))
            assert len(kept) == 11
        assert len(cache.get(folder, before, read_streams(before))) == 10
        with reading(folder) as again:
            assert cache.get(folder, again, read_streams(again)) is kept
    index.close()


def test_a_group_that_did_not_change_is_not_worked_out_again(look, tmp_path, monkeypatch):
    folders = [made.make_run(tmp_path / name, 20, 0) for name in "ab"]
    client = look(*folders)
    asked = f"/api/group?ids={','.join(map(run_id, folders))}&window=5"
    worked_out, group = [], curves.group
    monkeypatch.setattr(curves, "group", lambda *given: worked_out.append(1) or group(*given))
    first, second = client.get(asked).json(), client.get(asked).json()
    assert (second, len(worked_out)) == (first, 1)
    assert client.get(asked + "&x=step").json()["x"] == "step"
    for folder in folders:
        made.make_run(folder, 60, 0, stream=b"t" * 16, began=made.BEGAN + 1e6)
    assert len(client.get(asked).json()["xs"]) > len(first["xs"])
    assert len(worked_out) == 3


@pytest.mark.parametrize("x", ["episode", "step", "time"])
def test_a_moving_average_that_grows_is_that_of_all(tmp_path, x, monkeypatch):
    folder = tmp_path / "run"
    cache, read = SmoothCache(), []
    whole = smooth_cache.read_episodes
    monkeypatch.setattr(smooth_cache, "read_episodes", lambda *given: read.append(len(t := whole(*given))) or t)
    numbers = [math.nan if n % 7 == 3 else math.inf if n == 11 else float(n * n % 53) for n in range(60)]
    with closing(RunIndex.open(folder)) as index:
        with index.transaction():
            index.open_stream(made.open_stream(folder), made.PEER)
        for begin, end in ((0, 0), (0, 1), (1, 4), (4, 5), (5, 40), (40, 60)):
            bodies = [
                made.episode(n, made.BEGAN + (n if n != 20 else -5), return_=numbers[n]) for n in range(begin, end)
            ]
            if bodies:
                index.apply(made.STREAM, begin + 1, list(map(pack_record, bodies)))
            read.clear()
            with reading(folder) as database:
                streams = read_streams(database)
                found = cache.get(folder, database, streams, y_name="return", x_name=x, window=5)
                fresh = SmoothCache().get(folder, database, streams, y_name="return", x_name=x, window=5)
            assert sum(read[:2]) == end - begin, "what was read before is not read again"
            table = EpisodeCache().get  # the same by all episodes at once
            with reading(folder) as database:
                expected = smooth(table(folder, database, streams).curve("return", x, began=began(streams.values())), 5)
            for each in (found, fresh):
                np.testing.assert_allclose(each.x, expected.x)
                np.testing.assert_allclose(each.average, expected.average)
