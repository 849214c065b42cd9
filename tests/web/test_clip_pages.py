"""Clips beside clips: those before and after one; and what a vector env's show of its sub-environments."""

from __future__ import annotations

import sqlite3

import pytest

import made
import runs
from offcam_proto.codec import pack_record
from offcam_runs.format import INDEX_NAME
from offcam_runs.run_ids import run_id
from offcamd.store.index import RunIndex


def test_the_videos_of_a_run_whose_index_cannot_be_read_are_shown(look, tmp_path, video):
    folder = made.make_run(tmp_path / "run", 300, 100, video=video)
    (folder / INDEX_NAME).write_bytes(b"this is no database" * 500)
    client = look(tmp_path)
    (listed,) = client.get("/api/runs").json()["runs"]
    assert listed["problem"]
    assert listed["clips"] == {"recording": 0, "final": 3, "aborted": 0, "recovered": 0}
    url = f"/api/runs/{listed['id']}"
    clips = client.get(f"{url}/clips?sort=episode&order=asc").json()["clips"]
    assert [(clip["episode"], clip["return"], clip["length"]) for clip in clips] == [
        (n, None, None) for n in (0, 100, 200)
    ]
    assert client.get(clips[0]["video"]).content == video.read_bytes()
    assert client.get(clips[1]["poster"]).status_code == 200
    assert client.get(f"{url}/clips/{clips[1]['key']}").json()["episodes"] == []
    assert client.get(f"{url}/clips/{clips[1]['key']}/neighbours").json()["total"] == 3
    assert client.get(f"{url}/episodes").status_code == 409  # which nobody knows


@pytest.mark.parametrize(
    ("clip", "asked", "before", "after", "total"),
    [
        (30, {}, 31, 29, 50),
        (49, {}, None, 48, 50),
        (0, {"sort": "newest"}, 1, None, 50),
        (30, {"sort": "oldest"}, 29, 31, 50),
        (12, {"q": "episode-12"}, None, None, 1),
        (3, {"q": "episode-12"}, 12, None, 2),  # which it is not in
        (3, {"state": "aborted"}, None, None, 1),
    ],
)
def test_the_clips_before_and_after_one(client, base, clip, asked, before, after, total):
    key = f"{made.STREAM.hex()}-{{}}".format
    found = client.get(f"{base}/clips/{key(clip)}/neighbours", params=asked).json()
    wanted = {"before": before, "after": after}
    assert {name: found[name] for name in wanted} == {n: None if c is None else key(c) for n, c in wanted.items()}
    assert found["total"] == total
    listed = [each["key"] for each in client.get(f"{base}/clips", params=asked).json()["clips"]]
    if key(clip) in listed:
        assert found["place"] == listed.index(key(clip))


def test_the_parts_of_a_video_know_each_other(look, tmp_path, video):
    folder = made.make_run(tmp_path / "run", 300, 100, video=video)
    index = RunIndex.open(folder)
    for clip, part in ((7, 2), (8, 3)):
        opening = made.open_clip(clip, 100, part=part)
        index.clip_opened(made.STREAM, opening, f"{opening.name}-part{part}.mp4")
    index.close()
    client, url = look(tmp_path), f"/api/runs/{run_id(folder)}/clips/{made.STREAM.hex()}"
    found = {clip: client.get(f"{url}-{clip}").json() for clip in (0, 1, 7, 8)}
    keys = [f"{made.STREAM.hex()}-{clip}" for clip in (1, 7, 8)]
    assert [found[clip]["parts"] for clip in (1, 7, 8)] == [keys] * 3
    assert [found[clip]["part"] for clip in (1, 7, 8)] == [1, 2, 3]
    assert found[0]["parts"] == [found[0]["key"]]


def test_a_clip_that_cannot_be_watched_is_nobodys_neighbour(look, tmp_path, video):
    folder = made.make_run(tmp_path / "run", 300, 100, video=video)
    with sqlite3.connect(folder / INDEX_NAME) as database:
        database.execute("UPDATE clips SET file = NULL, state = 'aborted' WHERE clip = 1")
    database.close()
    url = f"/api/runs/{run_id(folder)}/clips/{made.STREAM.hex()}"
    client = look(folder)
    assert client.get(f"{url}-2/neighbours").json()["after"] == f"{made.STREAM.hex()}-0"
    assert client.get(f"{url}-3/neighbours").status_code == 404
    assert client.get(f"{url}-2/neighbours?sort=size").status_code == 400


def test_neighbours_are_of_the_same_session(look, tmp_path, video):
    folder = made.make_run(tmp_path / "run", 300, 100, video=video)
    runs.write(folder, [1.0], stream=b"2" * 16, session=2)
    url = f"/api/runs/{run_id(folder)}/clips/{made.STREAM.hex()}-1/neighbours"
    found = look(folder).get(url).json()
    assert (found["before"], found["after"]) == (f"{made.STREAM.hex()}-2", f"{made.STREAM.hex()}-0")


def test_episodes_of_other_sub_environments_are_shown_if_they_ended_during_the_clip(look, tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    index = RunIndex.open(folder)
    index.open_stream(made.open_stream(folder, num_envs=2, vector=True), made.PEER)
    began = made.BEGAN
    records = [
        made.episode(0, began, duration=10.0),
        made.episode(0, began, duration=12.0, env_index=1),
        made.episode(1, began + 12, duration=5.0, env_index=1),
        made.episode(1, began + 10, duration=10.0),
        made.episode(2, began + 17, duration=9.0, env_index=1),
        made.clip_record(0, 1, began + 10.0, steps=made.length_of(1)),
    ]
    index.apply(made.STREAM, 1, [pack_record(record) for record in records])
    opened = made.add_clip(index, folder, made.STREAM, 0, 1, None)
    assert opened is None
    with sqlite3.connect(folder / INDEX_NAME) as database:
        database.execute("UPDATE clips SET started = ?", (began + 10.0,))
    database.close()
    index.close()
    client, url = look(folder), f"/api/runs/{run_id(folder)}"
    rows = client.get(f"{url}/episodes").json()["episodes"]
    assert [row["clip"] is not None for row in rows] == [False, True, True, True, False]
    assert [row["whole"] for row in rows] == [False, False, True, True, False]  # the second began before the clip
    clip = client.get(f"{url}/clips/{made.STREAM.hex()}-0").json()
    assert (clip["number"], clip["num_envs"], clip["env_index"], clip["envs"]) == (3, 2, 0, [0, 1])
    assert clip["grid"] == [1, 1]  # as it was opened
    assert [(row["number"], row["env_index"], row["whole"]) for row in clip["episodes"]] == [
        (3, 0, True),
        (1, 1, False),
        (2, 1, True),
    ]
    for number, exact, distance in ((1, False, 0), (2, True, 0), (3, True, 0), (4, False, 1)):
        found = client.get(f"{url}/nearest?number={number}").json()
        assert (found["exact"], found["distance"]) == (exact, distance), number


def test_a_clip_that_was_cut_within_an_episode_has_what_ended_before_that(look, tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    index = RunIndex.open(folder)
    index.open_stream(made.open_stream(folder, num_envs=3, vector=True), made.PEER)
    began, length = made.BEGAN, made.length_of(0)
    records = [
        made.episode(0, began, duration=4.0, env_index=1),
        made.episode(0, began, duration=8.0, env_index=2),
        made.episode(0, began, duration=10.0),
        made.clip_record(0, 0, began, steps=length // 2),  # of 10 s the first 5
    ]
    index.apply(made.STREAM, 1, [pack_record(record) for record in records])
    made.add_clip(index, folder, made.STREAM, 0, 0, None)
    index.close()
    client, url = look(folder), f"/api/runs/{run_id(folder)}"
    clip = client.get(f"{url}/clips/{made.STREAM.hex()}-0").json()
    assert [(row["env_index"], row["whole"]) for row in clip["episodes"]] == [(0, False), (1, True)]
    assert [client.get(f"{url}/nearest?number={n}").json()["exact"] for n in range(3)] == [True, False, False]
