"""Which clips are asked for: by what their episodes were like, and why they were kept."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest
from starlette.datastructures import QueryParams

import made
from offcam_proto.codec import pack_record
from offcam_runs.format import INDEX_NAME
from offcam_runs.run_ids import run_id
from offcamd.store.index import RunIndex
from offcamd.web.clip_filters import filters
from offcamd.web.params import Query
from offcamd.web.reading import reading

EVERY = range(0, 5000, 100)


def numbers(client, url, **given):
    """Of the episodes of those that are found, in order."""
    answer = client.get(url, params={"sort": "oldest", "limit": 1000, **given})
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert found["total"] == len(found["clips"])
    return [clip["number"] for clip in found["clips"]]


@pytest.mark.parametrize(
    ("given", "holds"),
    [
        ({"min_return": 20}, lambda n: made.return_of(n) >= 20),
        ({"min_return": -20, "max_return": 20.5}, lambda n: -20 <= made.return_of(n) <= 20.5),
        ({"min_length": 25}, lambda n: made.length_of(n) >= 25),
        ({"max_length": 20, "end": "terminated"}, lambda n: made.length_of(n) <= 20 and n % 3 > 0),
        ({"end": "truncated"}, lambda n: n % 3 == 0),
        ({"end": "aborted"}, lambda _: False),
        ({"seed": "300"}, lambda n: n == 300),
        ({"seed": "x"}, lambda _: False),
        ({"env_index": 0}, lambda _: True),
        ({"keep": "worst"}, lambda _: False),
    ],
)
def test_those_that_fit_are_found(client, base, given, holds):
    assert numbers(client, f"{base}/clips", **given) == [n for n in EVERY if holds(n)]


def test_by_the_reason_for_which_they_are_kept_and_how_they_were_cut_off(look, tmp_path):
    folder = made.make_run(tmp_path / "run", 50, 10)
    with closing(sqlite3.connect(folder / INDEX_NAME)) as database, database:
        database.execute("UPDATE clips SET keep_reason = 'Worst(3), failures()' WHERE episode = 20")
        database.execute("UPDATE clips SET state = 'aborted' WHERE episode = 30")
    client, url = look(folder), f"/api/runs/{run_id(folder)}/clips"
    assert numbers(client, url, keep="wORST(") == numbers(client, url, keep="failures") == [20]
    assert numbers(client, url, end="aborted") == [30]
    neighbours = client.get(f"{url}/{made.STREAM.hex()}-2/neighbours", params={"keep": "worst"}).json()
    assert (neighbours["place"], neighbours["total"]) == (0, 1)


def test_an_episode_that_came_to_no_end_is_unfinished_once_that_is_known(look, tmp_path):
    folder = made.make_run(tmp_path / "run", 50, 10)
    url = f"/api/runs/{run_id(folder)}/clips"

    def unfinished(change):
        with closing(sqlite3.connect(folder / INDEX_NAME)) as database, database:
            database.execute(change)
        client, clips = look(folder), {}  # a new one each: no daemon changes an episode, or removes it
        for end in ("", "unfinished"):
            clips[end] = client.get(url, params={"sort": "oldest", "end": end}).json()["clips"]
        told = [clip["episode"] for clip in clips[""] if clip["unfinished"]]
        assert [clip["episode"] for clip in clips["unfinished"]] == told
        return told

    assert unfinished("UPDATE streams SET ended = NULL") == []
    assert unfinished("UPDATE episodes SET terminated = 0, truncated = 0 WHERE episode = 30") == [30]
    assert unfinished("DELETE FROM episodes WHERE episode = 20") == [20, 30]
    assert unfinished("UPDATE clips SET complete = NULL WHERE episode = 20") == [30], "its client has not told of it"
    assert unfinished("UPDATE clips SET complete = 1") == [20, 30]
    assert unfinished("DELETE FROM episodes WHERE episode >= 40") == [20, 30], "it may go on still"
    assert unfinished("UPDATE clips SET state = 'recording' WHERE episode = 20") == [30]
    assert unfinished("UPDATE streams SET ended = 1") == [30, 40]
    assert unfinished("DELETE FROM episodes") == [], "none are counted"


def test_those_of_a_vector_env_are_found_by_its_first_sub_environment_or_by_which_they_show(look, tmp_path):
    folder = tmp_path / "run"
    index = RunIndex.open(folder)
    with index.transaction():
        index.open_stream(made.open_stream(folder, num_envs=3, vector=True), made.PEER)
        rows = [
            made.episode(0, made.BEGAN, env_index=env, seed=7 + env, terminated=env == 1, truncated=env != 1)
            for env in (0, 1, 2)
        ]
        index.apply(made.STREAM, 1, [pack_record(row) for row in rows])
        for clip in range(2):
            made.add_clip(index, folder, made.STREAM, clip, 0, None, name=f"rl-video-{clip}")
    index._db.execute("UPDATE clips SET envs = '[1]' WHERE clip = 1")
    index.close()
    client, url = look(folder), f"/api/runs/{run_id(folder)}/clips"

    def clips(**given):
        return [
            (clip["name"][-1], clip["seed"], clip["terminated"], clip["truncated"])
            for clip in client.get(url, params={"sort": "oldest", **given}).json()["clips"]
        ]

    every = clips()
    assert every == [("0", 7, False, True), ("1", 8, True, False)]
    assert clips(env_index=1) == every
    assert clips(env_index=2) == every[:1]
    assert clips(seed="8") == clips(end="terminated") == every[1:]


def test_an_episode_is_looked_for_by_an_index(run):
    conditions, given = filters(Query(QueryParams(end="terminated", seed="1")), run)
    assert given == {"seed": "1"}
    with reading(run) as database:
        for condition in conditions:
            listed = "SELECT stream, clip, episode, envs FROM clips JOIN streams ON streams.id = stream_id"
            asked = f"EXPLAIN QUERY PLAN SELECT 1 FROM ({listed}) AS listed WHERE {condition}"  # noqa: S608
            plan = [row[-1] for row in database.execute(asked, given)]
            assert any("shown USING INDEX episodes_by_number" in row for row in plan), plan
