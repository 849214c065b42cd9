"""A recorder on each of Ray's nodes: all that its workers played is recorded once, whoever dies."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import s3

import commandline
import fetching
import films
import offcam
from offcam_proto.errors import ConfigError
from offcam_runs.run import read_run
from waiting import HANG_SECONDS

pytest.importorskip("ray", reason="not in the environment of .ci/integrations")
pytestmark = pytest.mark.integrations

# More of all: OFFCAM_TEST_RAY="24 625 12 7"
WORKERS, EPISODES, DEATHS, SEED = map(int, os.environ.get("OFFCAM_TEST_RAY", "6 120 3 1").split())


def test_workers_of_three_nodes_while_actors_daemons_workers_and_a_node_die(
    tmp_path, runtime, offcam_command, monkeypatch
):
    folder, played = tmp_path / "runs", tmp_path / "played"
    played.mkdir()
    script = Path(__file__).with_name("ray_cluster.py")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    words = map(str, (script, folder, played, WORKERS, EPISODES, DEATHS, SEED))
    done = subprocess.run(
        [sys.executable, *words],
        env=environment, capture_output=True, text=True, timeout=HANG_SECONDS, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    told = json.loads(next(line for line in done.stdout.splitlines() if line.startswith("{")))
    for address in told["addresses"].values():
        assert offcam_command("stop", "--endpoint", address).returncode == 0
    assert offcam_command("recover", str(folder)).returncode in (0, 1)
    assert len(told["died"]) == DEATHS
    finished = {int(number): where for number, where in told["finished"].items()}
    killed = {int(who.removeprefix("worker ")) for who in told["died"] if who.startswith("worker ")}
    of_the_node, cut = set(range(2, WORKERS, 3)), {number for number, where in finished.items() if not where}
    assert of_the_node <= cut <= killed | of_the_node  # who was killed may have been at the end already
    total: Counter[Path] = Counter()
    for number, where in finished.items():
        run = folder / f"node-{told['nodes'][number % 3][:12]}"
        assert where in ("", str(run))
        stored = stored_of(run, number)
        lines = [line.split() for line in (played / f"{number}.txt").read_text().splitlines()]
        expected = {int(episode): float(total) for episode, total in lines}
        assert len(stored) - len(expected) in ((0,) if where else (0, 1))  # one may have ended untold
        assert expected.items() <= stored.items()
        total[run] += len(stored)
    print(f"{total.total()} episodes, each once; died: {', '.join(told['died'])}, a node")
    for run in folder.iterdir():
        films.check(run)
    with s3.running() as storage:
        for name, value in storage.surroundings(tmp_path).items():
            monkeypatch.setenv(name, value)
        url = f"s3://{s3.BUCKET}/ppo"
        for run in total:
            done = offcam_command("sync", str(run), "--to", f"{url}/{run.name}")
            assert done.returncode == 0, done.stderr
        assert on_one_page(url) == {
            run.name: (count, len(offcam.load(run, session="all").clips)) for run, count in total.items()
        }


def on_one_page(url):
    """Of each run that the page over object storage shows, how many episodes and clips it has; a clip of each plays."""
    found = {}
    with subprocess.Popen([*commandline.COMMAND, "view", url, "--json"], stdout=subprocess.PIPE, text=True) as page:
        try:
            shown = json.loads(page.stdout.readline())["url"]
            for run in fetching.fetch(f"{shown}/api/runs?session=all").json()["runs"]:
                clips = fetching.fetch(f"{shown}/api/runs/{run['id']}/clips?session=all&limit=1000").json()
                video = fetching.fetch(shown + next(clip["video"] for clip in clips["clips"] if clip["video"]))
                assert (video.status_code, video.content[4:8]) == (200, b"ftyp")
                found[run["title"]] = run["episodes"], clips["total"]
        finally:
            page.terminate()
    return found


def stored_of(run, worker):
    """What is in the index of a worker's episodes: their returns by their numbers, each there once."""
    (stream,) = {clip.stream for clip in read_run(run, "all").clips if clip.name.startswith(f"worker-{worker}-")}
    rows = [row for row in films.episodes(run) if row.stream == stream]
    assert max(Counter(row.episode for row in rows).values()) == 1
    return {row.episode: row.return_ for row in rows}


@pytest.mark.parametrize(
    ("folder", "why"),
    [
        ("ftp://bucket/run", "is in no object storage"),
        ("runs/ppo", "each of Ray's workers has another working directory"),
    ],
)
def test_a_folder_that_workers_would_not_have(folder, why):
    from offcam.integrations.ray import record  # noqa: PLC0415 - where it is installed

    with pytest.raises(ConfigError, match=why):
        record(None, folder)


def test_a_limit_is_of_runs_in_object_storage_and_a_size():
    from offcam.integrations.ray import record  # noqa: PLC0415 - as above

    with pytest.raises(ConfigError, match="local_limit is for runs in object storage, and /runs/ppo is a folder"):
        record(None, "/runs/ppo", local_limit="20GB")
    with pytest.raises(ConfigError, match="local_limit must be a size such as"):
        record(None, "file:///bucket/ppo", local_limit="much")


def test_without_ray_it_is_said_so():
    from offcam.integrations.ray import record  # noqa: PLC0415

    with pytest.raises(ConfigError, match=r"ray\.init"):
        record(None, "/runs/ppo")


def test_tasks_trials_and_workers_of_train_are_set_up_by_a_hook(tmp_path, runtime, offcam_command):
    folder = tmp_path / "runs"
    script = Path(__file__).with_name("ray_setup.py")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(
        [sys.executable, str(script), str(folder)],
        env=environment, capture_output=True, text=True, timeout=HANG_SECONDS, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    told = json.loads(next(line for line in done.stdout.splitlines() if line.startswith('{"recorder"')))
    assert offcam_command("stop", "--endpoint", told["recorder"]).returncode == 0
    workers = {"tasks": (3, 3), "tune-2": (1, 2), "tune-4": (1, 4), "train": (2, 5)}  # and the episodes of each
    assert Counter(file.partition("/")[0] for file in told["had"]) == {
        run: count for run, (count, _) in workers.items()
    }
    assert {had["OFFCAM_ADDR"] for had in told["had"].values()} == {told["recorder"]}
    assert len({had["OFFCAM_SESSION"] for had in told["had"].values()}) == 1
    for run, (count, episodes) in workers.items():
        assert len(films.episodes(folder / run)) == count * episodes
        films.check(folder / run)


def test_workers_record_to_object_storage_while_who_sends_is_killed(tmp_path, runtime, offcam_command):
    url = f"file://{tmp_path}/bucket/ppo"
    script = Path(__file__).with_name("ray_objects.py")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(
        [sys.executable, str(script), url, "40"],
        env=environment, capture_output=True, text=True, timeout=HANG_SECONDS, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    told = json.loads(next(line for line in done.stdout.splitlines() if line.startswith("{")))
    assert (told["sent"], told["left"]) == (True, 0)
    for address in told["addresses"].values():
        assert offcam_command("stop", "--endpoint", address).returncode == 0
    assert len(told["folders"]) == 2
    places = []
    for folder in told["folders"]:
        copy = offcam.load(f"{url}/{Path(folder).name}", session="all")
        assert len(copy.episodes) == len(films.episodes(folder)) == 2 * 2 * 40
        assert len(copy.clips) == 2 * 2 * 4
        for clip in copy.clips:
            there, here = Path(clip.fetch()), Path(folder, clip.file)
            assert there.stat().st_size == clip.file_bytes
            assert not here.exists() or there.read_bytes() == here.read_bytes()
        evicted = {clip.evicted for clip in offcam.load(folder, session="all").clips}
        places.append(evicted - {None})
        assert len(evicted) == 1, "all of them, or none"
    assert sorted(map(len, places)) == [0, 1], "of the node that has no room, all are in the storage alone"
