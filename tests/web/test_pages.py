"""Pages of episodes and clips, and which clip shows which episode."""

from __future__ import annotations

import csv
import io
import math
import os

import numpy as np
import pytest

import made
import runs
from journal_samples import write_journal
from offcam_proto.codec import pack_record
from offcam_runs.format import INDEX_NAME
from offcam_runs.run_ids import run_id
from offcamd.store.index import RunIndex
from offcamd.store.recovery import recover_folder
from run_samples import B, episode, stream


def test_a_run_says_what_numpy_does(client, base, run):
    (listed,) = client.get("/api/runs").json()["runs"]
    returns = np.array([made.return_of(number) for number in range(5000)])
    lengths = np.array([made.length_of(number) for number in range(5000)])
    finite = returns[np.isfinite(returns)]
    assert (listed["id"], listed["folder"], listed["name"]) == (run_id(run), str(run), "made")
    assert (listed["episodes"], listed["steps"], listed["streams"]) == (5000, lengths.sum(), 1)
    assert (listed["live"], listed["plain"], listed["problem"]) == (False, False, None)
    assert listed["steps_per_second"] == pytest.approx(50)
    found = {name: listed["return"][name] for name in ("mean", "std", "min", "max", "last100_mean")}
    assert found == pytest.approx(
        {
            "mean": finite.mean(),
            "std": finite.std(),
            "min": finite.min(),
            "max": finite.max(),
            "last100_mean": returns[-100:][np.isfinite(returns[-100:])].mean(),
        }
    )
    assert (listed["success_rate"], listed["success_rule"]) == (None, None)  # nobody said what success is
    assert "--success" in listed["success_why"]
    assert listed["length"]["std"] == pytest.approx(lengths.std())
    assert listed["clips"] == {"recording": 0, "final": 50, "aborted": 0, "recovered": 0}
    assert listed["dropped"] == {}
    detail = client.get(base).json()
    (stream,) = detail.pop("stream_list")
    assert detail == listed
    assert (stream["episodes"], stream["env_id"], stream["state"]) == (5000, "CartPole-v1", "closed")


def test_values_of_episodes(look, tmp_path):
    infos = [{"is_success": float(number % 3 == 0), "d": number / 2} if number % 2 else {} for number in range(300)]
    infos[1]["d"] = -math.inf
    folder = runs.write(tmp_path / "run", range(300), infos=infos)
    client, url = look(folder), f"/api/runs/{run_id(folder)}"
    described = client.get(url).json()
    known = [info["is_success"] for info in infos[-100:] if info]
    assert described["success_rate"] == pytest.approx(np.mean(known))
    assert (described["success_rule"], described["success_why"]) == ("is_success, of the last 100 episodes", None)
    assert described["values"] == ["is_success", "d"]
    page = client.get(f"{url}/episodes?limit=4").json()["episodes"]
    assert [row["info"] for row in page] == [{}, {"is_success": 0.0, "d": None}, {}, {"is_success": 1.0, "d": 1.5}]
    for asked, wanted in [
        ("min_value=1", [3, 9, 15]),
        ("max_value=0", [1, 5, 7]),
        ("value=d&min_value=149", [299]),
        ("value=d&max_value=0.5", [1]),
        ("value=absent&min_value=0", []),
    ]:
        found = client.get(f"{url}/episodes?limit=3&{asked}").json()["episodes"]
        assert [row["number"] for row in found] == wanted, asked
    rows = list(csv.DictReader(io.StringIO(client.get(f"{url}/episodes.csv").text)))
    assert (rows[0]["info"], rows[3]["info"]) == ("{}", '{"is_success": 1.0, "d": 1.5}')


def test_statistics_grow_with_the_run_and_stay_exact(look, tmp_path):
    folder = made.make_run(tmp_path / "run", 50, 0)
    client, url = look(folder), f"/api/runs/{run_id(folder)}"
    assert client.get(url).json()["episodes"] == 50
    assert client.get(f"{url}/curve").json()["total"] == 50
    index = RunIndex.open(folder)
    index.apply(made.STREAM, 51, [pack_record(made.episode(number, 0.0)) for number in range(50, 130)])
    returns = np.array([made.return_of(number) for number in range(130)])
    for _ in range(2):
        described = client.get(url).json()
        assert described["episodes"] == 130
        assert described["return"]["std"] == pytest.approx(returns.std(), rel=1e-12)
        assert described["return"]["max"] == returns.max()
        assert client.get(f"{url}/curve").json()["mean"] == pytest.approx(returns.tolist())
        index.close()


def test_a_folder_used_again_is_read_anew(look, tmp_path):
    folder = made.make_run(tmp_path / "run", 50, 0)
    client, url = look(folder), f"/api/runs/{run_id(folder)}"
    assert client.get(f"{url}/curve").json()["total"] == 50
    assert client.get(url).json()["episodes"] == 50
    (folder / INDEX_NAME).unlink()
    made.make_run(folder, 60, 0, stream=b"t" * 16)
    assert client.get(f"{url}/curve").json()["total"] == 60
    assert client.get(url).json()["steps"] == sum(map(made.length_of, range(60)))


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize(
    ("sort", "key"),
    [
        ("arrival", lambda each: each["number"]),
        ("episode", lambda each: each["episode"]),
        ("return", lambda each: -math.inf if each["return"] is None else each["return"]),
        ("length", lambda each: each["length"]),
        ("duration", lambda each: each["duration_seconds"]),
    ],
)
def test_episodes_are_sorted_and_paged(client, base, sort, key, order):
    pages = [
        client.get(f"{base}/episodes", params={"sort": sort, "order": order, "offset": offset, "limit": 1000}).json()
        for offset in range(0, 6000, 1000)
    ]
    assert [page["total"] for page in pages] == [5000] * 6
    assert [len(page["episodes"]) for page in pages] == [1000] * 5 + [0]
    rows = [row for page in pages for row in page["episodes"]]
    assert len({row["number"] for row in rows}) == 5000
    keys = [key(row) for row in rows]
    assert keys == sorted(keys, reverse=order == "desc")


def test_an_episode(client, base):
    (row,) = client.get(f"{base}/episodes", params={"offset": 300, "limit": 1}).json()["episodes"]
    assert row["started"] > made.BEGAN
    assert row == {
        "number": 300,
        "stream": made.STREAM.hex(),
        "session": 1,
        "env_index": 0,
        "episode": 300,
        "return": made.return_of(300),
        "length": made.length_of(300),
        "duration_seconds": made.length_of(300) / 50,
        "started": row["started"],
        "terminated": False,
        "truncated": True,
        "seed": 300,
        "info": {},
        "num_envs": 1,
        "clip": f"{made.STREAM.hex()}-3",
        "whole": True,
    }


@pytest.mark.parametrize(
    ("asked", "chosen"),
    [
        ({"min_return": "100"}, lambda number: made.return_of(number) >= 100),
        ({"max_return": "-1e1", "terminated": "true"}, lambda number: made.return_of(number) <= -10 and number % 3),
        ({"truncated": "1"}, lambda number: number % 3 == 0),
        ({"truncated": "false", "stream": made.STREAM.hex()}, lambda number: number % 3),
        ({"stream": "00ff"}, lambda _number: False),
        ({"env_index": "1"}, lambda _number: False),
        ({"seed": "37"}, lambda number: number == 37),
        ({"seed": "3_7"}, lambda _number: False),
    ],
)
def test_episodes_are_filtered(client, base, asked, chosen):
    page = client.get(f"{base}/episodes", params={**asked, "limit": 1000}).json()
    wanted = [number for number in range(5000) if chosen(number)]
    assert page["total"] == len(wanted)
    assert [row["number"] for row in page["episodes"]] == wanted[:1000]


def test_all_episodes_as_csv(client, base):
    reply = client.get(f"{base}/episodes.csv")
    assert reply.headers["content-type"].startswith("text/csv")
    assert "attachment" in reply.headers["content-disposition"]
    rows = list(csv.DictReader(io.StringIO(reply.text)))
    assert [int(row["number"]) for row in rows] == list(range(5000))
    assert float(rows[7]["return"]) == made.return_of(7)
    assert rows[999]["return"] == ""


def test_a_seed_in_csv_is_no_formula(look, tmp_path):
    folder = made.make_run(tmp_path / "run", 0, 0)
    index = RunIndex.open(folder)
    index.apply(made.STREAM, 1, [pack_record(made.episode(0, 0.0, seed="=1+1"))])
    index.close()
    client = look(folder)
    (row,) = csv.DictReader(io.StringIO(client.get(f"/api/runs/{run_id(folder)}/episodes.csv").text))
    assert row["seed"] == "'=1+1"


@pytest.mark.parametrize(
    ("asked", "first"),
    [
        ({}, 49),
        ({"sort": "oldest"}, 0),
        ({"sort": "episode", "order": "asc"}, 0),
        ({"sort": "return"}, max((n for n in range(50)), key=lambda n: made.return_of(100 * n))),
        ({"sort": "length", "order": "asc"}, min(range(50), key=lambda n: (made.length_of(100 * n), n))),
        ({"q": "EPISODE-1200"}, 12),
        ({"state": "final", "offset": "1"}, 48),
    ],
)
def test_clips(client, base, asked, first):
    page = client.get(f"{base}/clips", params={**asked, "limit": 1}).json()
    (clip,) = page["clips"]
    assert page["total"] == (1 if "q" in asked else 50)
    assert clip["key"] == f"{made.STREAM.hex()}-{first}"
    assert clip["name"] == f"rl-video-episode-{first * 100}"
    assert clip["return"] == made.return_of(first * 100)
    assert clip["video"] == f"{base}/clips/{clip['key']}/video"


def test_no_wildcards_in_a_search(client, base):
    assert client.get(f"{base}/clips", params={"q": "%"}).json()["total"] == 0
    assert client.get(f"{base}/clips", params={"q": "' OR 1=1 --"}).json()["total"] == 0


def test_a_clip_says_which_episodes_it_shows(client, base):
    clip = client.get(f"{base}/clips/{made.STREAM.hex()}-3").json()
    assert [row["number"] for row in clip["episodes"]] == [300]
    assert clip["frames"] == made.length_of(300) + 1


@pytest.mark.parametrize(
    ("number", "clip", "distance"), [(300, 3, 0), (301, 3, 1), (349, 3, 49), (351, 4, 49), (4999, 49, 99)]
)
def test_the_nearest_recorded_episode(client, base, number, clip, distance):
    found = client.get(f"{base}/nearest", params={"number": number}).json()
    assert found["episode"]["number"] == number
    assert found["clip"]["key"] == f"{made.STREAM.hex()}-{clip}"
    assert (found["exact"], found["distance"]) == (distance == 0, distance)


def test_nothing_is_near_where_nothing_was_recorded(look, tmp_path):
    folder = made.make_run(tmp_path / "run", 5, 0)
    found = look(folder).get(f"/api/runs/{run_id(folder)}/nearest?number=4").json()
    assert (found["episode"]["number"], found["clip"], found["exact"], found["distance"]) == (4, None, False, None)


def test_a_clip_of_several_episodes_that_begins_within_one(look, tmp_path):
    folder = made.make_run(tmp_path / "run", 10, 0)  # of 20, 21, 22, ... steps
    index = RunIndex.open(folder)
    records = [
        made.clip_record(0, 1, 0.0, name="rl-video-step-30", step=30, steps=40),  # steps 30 to 70: episodes 1, 2 and 3
        made.clip_record(1, 3, 0.0, name="rl-video-episode-3", step=63, steps=2),
        made.clip_record(2, 99, 0.0, name="rl-video-episode-99", step=5000, steps=2),  # which never ended
    ]
    index.apply(made.STREAM, 11, [pack_record(record) for record in records])
    for record in records:
        made.add_clip(index, folder, made.STREAM, record.clip, record.episode, None, record.name)
    index.close()
    client, url = look(folder), f"/api/runs/{run_id(folder)}"
    shown = [row["clip"] and row["clip"].rpartition("-")[2] for row in client.get(f"{url}/episodes").json()["episodes"]]
    assert shown == [None, "0", "0", "1", *[None] * 6]
    first, last = (client.get(f"{url}/clips/{made.STREAM.hex()}-{clip}").json()["episodes"] for clip in (0, 2))
    assert [(row["episode"], row["whole"]) for row in first] == [(1, False), (2, True), (3, False)]
    assert last == []
    assert not client.get(f"{url}/nearest?number=3").json()["exact"]  # though the clip began with it


def test_what_there_is_not(client, base):
    key = f"{made.STREAM.hex()}-3"
    for path, word in (
        ("/api/runs/ffffffffffff", "GET /api/runs"),
        ("/api/runs/ffffffffffff/episodes", "GET /api/runs"),
        ("/api/runs/..%2f..%2fetc/episodes", "openapi"),
        (f"{base}/clips/nope", "no clip"),
        (f"{base}/clips/{made.STREAM.hex()}-50", "no clip"),
        (f"{base}/clips/{made.STREAM.hex()}-{2**63}", "no clip"),
        (f"{base}/clips/{key}%00/video", "no clip"),
        (f"{base}/clips/..%2f{key}/video", "openapi"),
        (f"{base}/nearest?number=5000", "the last one is 4999"),
        ("/api/stats", "no daemon"),
        ("/static/../app.py", "openapi"),
        ("/static/..%2fapp.py", "openapi"),
    ):
        reply = client.get(path)
        assert reply.status_code == 404, path
        assert word in reply.json()["error"], path


@pytest.mark.parametrize(
    ("path", "values"),
    [
        ("episodes", {"limit": ("0", "1001", "-1", "1e3", "nan", "٣", "9" * 400, "1;drop", " ")}),
        ("episodes", {"offset": ("-1", str(2**63), "0x10", "1_0x")}),
        ("episodes", {"sort": ("seed", "return; DELETE"), "order": ("up",), "stream": ("xyz", "a" * 65)}),
        ("episodes", {"min_return": ("nan", "inf", "-inf", "1e999", "x"), "max_return": ("NaN",)}),
        ("episodes", {"terminated": ("maybe",), "truncated": ("2",), "env_index": ("-1", "1.5")}),
        ("curve", {"x": ("wall",), "y": ("reward",), "points": ("0", "10001"), "window": ("0", "-5", "1e5", "100001")}),
        ("curve", {"from": ("nan", "abc"), "to": ("inf",)}),
        ("nearest", {"number": ("-1", "one", str(2**80))}),
        ("clips", {"sort": ("size",), "state": ("replaced",), "q": ("x" * 201, "a\0b"), "limit": ("2000",)}),
    ],
)
def test_values_that_make_no_sense_are_refused_with_the_fix(client, base, path, values):
    for name, words in values.items():
        for word in words:
            reply = client.get(f"{base}/{path}", params={name: word})
            assert reply.status_code == 400, (name, word, reply.text)
            assert reply.json()["error"].startswith(name)
    twice = client.get(f"{base}/{path}?sort=a&sort=b&x=a&x=b&number=1&number=2")
    assert twice.status_code == 400


def test_a_run_that_cannot_be_read_says_why_and_the_others_go_on(look, tmp_path, run):
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / INDEX_NAME).write_bytes(b"SQLite format 3\0" + b"x" * 5000)
    linked = tmp_path / "linked"
    linked.mkdir()
    (linked / "clip.mp4").write_bytes(b"no video")
    client = look(tmp_path, run)
    runs = {each["name"]: each for each in client.get("/api/runs").json()["runs"]}
    assert set(runs) == {"broken", "linked", "made"}
    assert "damaged" in runs["broken"]["problem"] or "database" in runs["broken"]["problem"]
    assert runs["broken"]["return"]["mean"] is None
    for path in ("", "/episodes", "/curve", "/clips", "/episodes.csv", "/nearest?number=0"):
        reply = client.get(f"/api/runs/{runs['broken']['id']}{path}")
        assert reply.status_code == 409, path
        assert str(broken) in reply.json()["error"]
    assert runs["made"]["episodes"] == 5000
    (linked / INDEX_NAME).symlink_to(run / INDEX_NAME)
    assert client.get(f"/api/runs/{runs['linked']['id']}").status_code == 409


def test_a_folder_of_plain_videos_is_shown(look, tmp_path, video):
    folder = tmp_path / "videos"
    folder.mkdir()
    for number in (0, 8):
        os.link(video, folder / f"rl-video-episode-{number}.mp4")
    (folder / "torn-episode-9.mp4").write_bytes(video.read_bytes()[:300])
    (folder / "elsewhere.mp4").symlink_to("/etc/passwd")
    client = look(tmp_path)
    (listed,) = client.get("/api/runs").json()["runs"]
    assert (listed["plain"], listed["episodes"], listed["env_id"]) == (True, 0, None)
    assert listed["clips"] == {"recording": 0, "final": 2, "aborted": 1, "recovered": 0}
    clips = client.get(f"/api/runs/{listed['id']}/clips?sort=episode&order=asc").json()["clips"]
    assert [(clip["episode"], clip["frames"], clip["width"]) for clip in clips][:2] == [(0, 21, 96), (8, 21, 96)]
    assert clips[0]["return"] is None
    assert clips[2]["state"] == "aborted"
    assert clips[2]["error"]
    assert client.get(clips[1]["video"]).content == video.read_bytes()
    assert client.get(clips[1]["poster"]).headers["content-type"] == "image/jpeg"
    assert client.get(clips[2]["poster"]).status_code == 404


def test_what_is_pending_is_shown_and_stays_once_it_is_taken_in(look, tmp_path):
    folder = tmp_path / "run"
    write_journal(folder, *map(episode, range(4)))
    client = look(tmp_path)

    def shown():
        (listed,) = client.get("/api/runs").json()["runs"]
        rows = client.get(f"/api/runs/{listed['id']}/episodes").json()["episodes"]
        curve = client.get(f"/api/runs/{listed['id']}/curve").json()
        assert listed["plain"] is False
        assert listed["episodes"] == len(rows) == curve["total"]
        return [row["return"] for row in rows]

    assert shown() == [10.0, 11.0, 12.0, 13.0]
    write_journal(folder, *map(episode, range(6)))
    assert shown() == [10.0, 11.0, 12.0, 13.0, 14.0, 15.0]
    recover_folder(folder)
    assert shown() == [10.0, 11.0, 12.0, 13.0, 14.0, 15.0]
    write_journal(folder, episode(6), episode(7), opening=stream(B))
    assert shown()[4:] == [14.0, 15.0, 16.0, 17.0]
    write_journal(folder, episode(8), first_seq=7)
    recover_folder(folder)  # in an order that nobody has seen yet
    assert shown()[6:] == [16.0, 17.0, 18.0]


def test_runs_are_found_three_levels_deep_and_no_link_is_followed(look, tmp_path, run):
    for depth in (1, 3, 4):
        made.make_run(tmp_path.joinpath(*"abcd"[:depth]), 1, 0)
    (tmp_path / "link").symlink_to(run)
    (tmp_path / ".hidden").mkdir()
    made.make_run(tmp_path / ".hidden" / "run", 1, 0)
    names = {each["folder"] for each in look(tmp_path).get("/api/runs").json()["runs"]}
    assert names == {str(tmp_path / "a"), str(tmp_path / "a/b/c")}


def test_the_newest_session_is_shown_unless_another_is_asked_for(look, tmp_path):
    folder = runs.write(tmp_path / "run", [1.0, 2.0, 3.0], stream=b"1" * 16)
    runs.write(folder, [10.0, 20.0], stream=b"2" * 16, session=2)
    client, run = look(folder), run_id(folder)
    for asked, shown, returns in (
        ("", 2, [10.0, 20.0]),
        ("2", 2, [10.0, 20.0]),
        ("1", 1, [1.0, 2.0, 3.0]),
        ("all", None, [1.0, 2.0, 3.0, 10.0, 20.0]),
    ):
        for url, given in ((f"/api/runs/{run}", {"session": asked}), (f"/api/runs/{run}@{asked}".rstrip("@"), {})):
            detail = client.get(url, params=given).json()
            assert (detail["session"], detail["sessions"]) == (shown, [1, 2])
            assert (detail["episodes"], detail["return"]["max"]) == (len(returns), max(returns))
            page = client.get(f"{url}/episodes", params=given).json()
            assert [item["return"] for item in page["episodes"]] == returns
            assert client.get(f"{url}/curve", params=given).json()["total"] == len(returns)
            rows = list(csv.DictReader(client.get(f"{url}/episodes.csv", params=given).text.splitlines()))
            assert [int(row["session"]) for row in rows] == [1 + (value > 5) for value in returns]
    both = client.get("/api/group", params={"ids": f"{run}@1,{run}", "window": 1}).json()
    assert both["runs"] == 2
    assert client.get(f"/api/runs/{run}@3/curve").status_code == 404
    assert client.get(f"/api/runs/{run}/episodes?session=x").status_code == 400
