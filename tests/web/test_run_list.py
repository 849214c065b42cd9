"""The list of runs: what became of each, how it went, and which of them are asked for."""

from __future__ import annotations

import math
import signal
import subprocess
import sys
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from starlette.datastructures import QueryParams
from test_live import wait_for

import made
import runs
from offcam_proto.messages import OpenClip
from offcam_runs.folder_lock import FolderLock
from offcam_runs.format import INDEX_NAME
from offcam_runs.run_ids import by_id
from offcam_runs.running import RECENT
from offcamd.store.index import RunIndex
from offcamd.web.openapi import description
from offcamd.web.params import MOST_TEXT, Query
from offcamd.web.queries import MOST_ROWS
from offcamd.web.runlist import SORTS, runs_page
from offcamd.web.runs import RunDescriptions
from offcamd.web.sparklines import MOST_POINTS
from sources import FixedSource

HERE = Path(__file__).parent
A, B = b"a" * 16, b"b" * 16


def opened(folder, stream, began=made.BEGAN):
    """The index of a run with a stream that is open."""
    index = RunIndex.open(folder)
    index.open_stream(made.open_stream(folder, stream, began), made.PEER)
    return index


def over(folder, stream, *, lost, began=made.BEGAN):
    """A stream that was half a second long."""
    index = opened(folder, stream, began)
    index.close_stream(stream, lost=lost, ended=began + 0.5)
    index._db.execute("UPDATE streams SET session = 1")  # as of one that resumes
    index.close()


@pytest.fixture(scope="module")
def root(tmp_path_factory, video):
    """A run of each state."""
    root = tmp_path_factory.mktemp("listed")
    made.make_run(root / "ppo" / "ended", 30, 10, video=video, began=made.BEGAN + 3)
    crashed = runs.write(root / "dqn" / "crashed", [math.nan] * 5, env_id="LunarLander-v3", stream=A)
    over(crashed, A, lost=True)
    over(root / "dqn" / "resumed", A, lost=True)
    over(root / "dqn" / "resumed", B, lost=False, began=made.BEGAN + 1)
    opened(root / "ppo" / "lost", A).close()
    (root / "broken").mkdir()
    (root / "broken" / INDEX_NAME).write_bytes(b"this is no database " * 500)
    return root


@pytest.fixture
def listed(look, root):
    return look(root)


def names(client, **given):
    reply = client.get("/api/runs", params=given)
    assert reply.status_code == 200, reply.text
    jsonschema.validate(reply.json(), answer())
    return [run["name"] for run in reply.json()["runs"]]


def answer():
    document = description()
    schema = document["paths"]["/api/runs"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    return {**document, **schema}


def test_what_became_of_each(listed):
    found = {run["name"]: run["state"] for run in listed.get("/api/runs").json()["runs"]}
    assert found == {"ended": "ended", "crashed": "crashed", "resumed": "ended", "lost": "lost", "broken": "lost"}


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("", {"ended", "crashed", "resumed", "lost", "broken"}),
        ("ended", {"ended", "resumed"}),
        ("not ended", {"crashed", "lost", "broken"}),
        ("live", set()),
        ("env:cartpole lost", {"lost"}),
        ("folder:ppo episodes>10", {"ended"}),
        ("episodes=0", {"resumed", "lost"}),  # how many the broken one has nobody knows
        ("best>=10 clips=3 envs=1 dropped=0 steps>600 length<40", {"ended"}),
        ("lunar -return<=0 -return>0", {"crashed"}),
        ("success>=0", set()),
        ("name:ED -ppo", {"crashed", "resumed"}),
    ],
)
def test_those_that_are_asked_for(listed, query, wanted):
    assert set(names(listed, query=query)) == wanted


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"query": "live retrun>5"}, "at column 6: unknown field 'retrun'; did you mean `return`?"),
        ({"query": '"'}, "at column 1: this quote is never closed"),
        ({"query": "x" * (MOST_TEXT + 1)}, f"query is a text of at most {MOST_TEXT} characters"),
        ({"sort": "size"}, "sort is one of came, "),
        ({"limit": MOST_ROWS + 1}, f"limit is a whole number from 1 to {MOST_ROWS}"),
    ],
)
def test_what_cannot_be_asked_for_is_said(listed, given, said):
    reply = listed.get("/api/runs", params=given)
    assert reply.status_code == 400
    assert said in reply.json()["error"]


@pytest.mark.parametrize(
    ("sort", "wanted"),
    [
        ("name", ["broken", "crashed", "ended", "lost", "resumed"]),
        ("started", ["crashed", "resumed", "lost", "ended", "broken"]),
        ("env", ["resumed", "ended", "lost", "crashed", "broken"]),
        ("state", ["resumed", "ended", "crashed", "broken", "lost"]),
        ("episodes", ["lost", "resumed", "crashed", "ended", "broken"]),
        ("best", ["ended", "broken", "crashed", "resumed", "lost"]),
    ],
)
def test_sorted(listed, sort, wanted):
    assert sorted(names(listed)) == sorted(wanted)
    key = {run["name"]: SORTS[sort](run) for run in listed.get("/api/runs").json()["runs"]}
    assert [key[name] for name in names(listed, sort=sort)] == [key[name] for name in wanted]
    known = [key[name] for name in wanted if key[name] is not None]
    unknown = [None] * (len(wanted) - len(known))
    assert [key[name] for name in names(listed, sort=sort, order="desc")] == known[::-1] + unknown


def test_pages_of_it(listed):
    whole = names(listed, sort="name")
    assert [name for offset in range(0, 6, 2) for name in names(listed, sort="name", limit=2, offset=offset)] == whole
    page = listed.get("/api/runs", params={"query": "ended", "limit": 1, "offset": 1}).json()
    assert (page["total"], page["offset"], len(page["runs"])) == (2, 1, 1)


def test_the_newest_clip(listed, video):
    newest = {run["name"]: run for run in listed.get("/api/runs").json()["runs"]}
    clip = newest["ended"]["newest_clip"]
    assert clip == {"key": f"{made.STREAM.hex()}-2", "episode": 20, "return": made.return_of(20)}
    url = f"/api/runs/{newest['ended']['id']}/clips/{clip['key']}"
    assert listed.get(f"{url}/video").content == video.read_bytes()
    assert listed.get(f"{url}/poster").content[:2] == b"\xff\xd8"
    assert newest["lost"]["newest_clip"] is None


def test_one_that_is_being_recorded_is_not_the_newest(look, tmp_path, video):
    folder = made.make_run(tmp_path / "run", 20, 10, video=video)
    index = opened(folder, A)
    frames = {"rows": 1, "cols": 1, "frame_bytes": 96 * 64 * 3, "fps": 50.0}
    opens = OpenClip(handle=0, clip=0, name="next", part=1, episode=20, step=0, started=made.BEGAN, **frames)
    index.clip_opened(A, opens, "next.mp4")
    index._db.execute("UPDATE streams SET session = 1")
    index.close()
    (run,) = look(tmp_path).get("/api/runs").json()["runs"]
    assert run["clips"]["recording"] == 1
    assert run["newest_clip"]["episode"] == 10


def means(returns):
    """What a sparkline is: the mean of the last finite returns at each of its places."""
    points = min(MOST_POINTS, len(returns))
    ends = [len(returns) * place // points for place in range(1, points + 1)]
    parts = [np.array(returns[max(0, end - RECENT) : end]) for end in ends]
    return [part[np.isfinite(part)].mean() if np.isfinite(part).any() else None for part in parts]


@pytest.mark.parametrize("episodes", [1, 39, 41, 5003])
def test_the_sparkline_is_the_mean_of_the_last_episodes_at_each_of_its_places(look, tmp_path, episodes):
    returns = [100 * math.sin(number / 700) for number in range(episodes)]
    returns[episodes // 2 :: 50] = [math.inf] * len(returns[episodes // 2 :: 50])
    returns[-1], returns[-2 % episodes] = math.nan, -math.inf
    client = look(runs.write(tmp_path / "run", returns))
    (run,) = client.get("/api/runs").json()["runs"]
    wanted = means(returns)
    assert [mean is None for mean in run["sparkline"]] == [mean is None for mean in wanted]
    assert np.array(run["sparkline"], float) == pytest.approx(np.array(wanted, float), rel=1e-4, nan_ok=True)
    last = np.array([run["return"]["last100_mean"]], float)
    assert np.array(run["sparkline"][-1:], float) == pytest.approx(last, rel=1e-4, nan_ok=True)


def test_the_sparkline_is_of_the_session_that_is_shown(look, tmp_path):
    runs.write(tmp_path / "run", [5.0] * 60)
    runs.write(tmp_path / "run", [float(number) for number in range(50)], session=2, stream=B)
    client = look(tmp_path / "run")
    (run,) = client.get("/api/runs").json()["runs"]
    assert run["sparkline"] == pytest.approx(means(range(50)))
    assert client.get(f"/api/runs/{run['id']}@1").json()["sparkline"] == [5.0] * MOST_POINTS
    everything = client.get(f"/api/runs/{run['id']}@all").json()["sparkline"]
    assert everything == pytest.approx(means([5.0] * 60 + list(range(50))), rel=1e-4)


def test_one_that_another_daemon_records_is_live(root):
    folder = root / "ppo" / "lost"
    described = RunDescriptions(FixedSource(folders=by_id([folder])))
    assert [run["state"] for run in described.all()] == ["lost"]
    lock = FolderLock.acquire(folder, "another daemon")
    try:
        assert [run["state"] for run in described.all()] == ["live"]
    finally:
        lock.release()


def test_of_no_runs():
    assert runs_page([], Query(QueryParams())) == {"total": 0, "offset": 0, "runs": []}


TRAINING = """
import sys, envs, offcam
env = offcam.record(envs.Barcode(5), sys.argv[1])
while True:
    env.reset()
    while not any(env.step(0)[2:4]): pass
    print(flush=True)
"""


@pytest.mark.parametrize(("gone", "state"), [("training", "crashed"), ("both", "lost")])
def test_a_training_that_is_killed(serve, endpoint, tmp_path, monkeypatch, look, gone, state):
    monkeypatch.setenv("OFFCAM_ADDR", endpoint.url)
    process, ready = serve()
    monkeypatch.setenv("PYTHONPATH", str(HERE.parent))
    folder = tmp_path / "run"
    watcher = look(tmp_path)
    with subprocess.Popen([sys.executable, "-c", TRAINING, folder], stdout=subprocess.PIPE) as training:
        training.stdout.readline()
        seen = wait_for(lambda: watcher.get("/api/runs").json()["runs"], lambda found: found and found[0]["episodes"])
        assert [run["state"] for run in seen] == ["live"]
        if gone == "both":
            process.send_signal(signal.SIGKILL)
            process.wait()
        training.kill()
    wait_for(lambda: watcher.get("/api/runs").json()["runs"][0]["state"], lambda found: found == state)
    assert ready
