"""Groups of runs, compared over the API as `offcam compare` compares them."""

from __future__ import annotations

import threading

import jsonschema
import pytest

import runs
from commandline import only_json, run
from offcam_runs.run_ids import run_id
from offcamd.web import statistics
from offcamd.web.openapi import description
from waiting import wait_until


@pytest.fixture
def algorithms(tmp_path):
    """Two algorithms: five seeds of one, three of the other."""
    for name, scores in {"ppo": [1.0, 2, 3, 4, 50], "dqn": [2.0, 2.5, 3]}.items():
        for seed, score in enumerate(scores):
            runs.write(tmp_path / name / f"seed{seed}", [0.0] * 10 + [score] * 10, lengths=[10] * 20)
    return tmp_path


def group(folder):
    return f"{folder.name}:{','.join(run_id(run) for run in sorted(folder.iterdir()))}"


def test_the_numbers_are_those_of_the_command_line(algorithms, look):
    folders = [algorithms / "ppo", algorithms / "dqn"]
    asked = {"group": [group(folder) for folder in folders], "threshold": "3.5", "last": "10"}
    found = look(algorithms).get("/api/statistics", params=asked).json()
    said = run("compare", *folders, "--threshold", "3.5", "--last", "10", "--json").stdout
    assert found == only_json(said)
    assert [each["runs"] for each in found["groups"]] == [5, 3]
    assert any("dqn has 3" in warning for warning in found["warnings"])
    jsonschema.validate(found, {**description(), "$ref": "#/components/schemas/Statistics"})


@pytest.mark.parametrize(
    ("groups", "status", "words"),
    [
        (["ppo"], 400, "group is given 2 to 8 times, got 1"),
        (["ppo", "ppo"], 400, "another name each"),
        (["ppo", ":nobody"], 400, "group is NAME:ID"),
        (["ppo", "no:0123456789ab"], 404, "there is no run '0123456789ab'"),
        (["ppo"] * 9, 400, "at most 8 times"),
    ],
)
def test_what_cannot_be_compared_is_said(algorithms, look, groups, status, words):
    given = [group(algorithms / name) if ":" not in name else name for name in groups]
    reply = look(algorithms).get("/api/statistics", params={"group": given})
    assert (reply.status_code, words in reply.json()["error"]) == (status, True), reply.text


def test_runs_without_an_env_in_common_cannot_be_compared(algorithms, look):
    runs.write(algorithms / "other" / "seed0", [1.0] * 5, lengths=[10] * 5, env_id="Other-v0")
    asked = {"group": [group(algorithms / "ppo"), group(algorithms / "other")]}
    reply = look(algorithms).get("/api/statistics", params=asked)
    assert (reply.status_code, "no env in common" in reply.json()["error"]) == (404, True)


def test_it_is_computed_once_until_a_run_has_grown(algorithms, look, monkeypatch):
    computed = []
    compare_runs = statistics.compare_runs
    monkeypatch.setattr(statistics, "compare_runs", lambda *a, **k: computed.append(a) or compare_runs(*a, **k))
    client = look(algorithms)
    asked = {"group": [group(algorithms / "ppo"), group(algorithms / "dqn")]}
    first, again = (client.get("/api/statistics", params=asked).json() for _ in range(2))
    assert (first, len(computed)) == (again, 1)
    assert client.get("/api/statistics", params={**asked, "last": "5"}).json() != first
    runs.write(algorithms / "dqn" / "seed0", [90.0] * 20, lengths=[10] * 20, stream=b"t" * 16, session=2)
    grown = client.get("/api/statistics", params=asked).json()
    assert (len(computed), grown != first) == (3, True)


def test_runs_that_are_too_many_or_too_long_are_left_to_the_command_line(algorithms, look, monkeypatch):
    client = look(algorithms)
    asked = {"group": [group(algorithms / "ppo"), group(algorithms / "dqn")]}
    monkeypatch.setattr(statistics, "MOST_EPISODES", 159)
    reply = client.get("/api/statistics", params=asked)
    assert (reply.status_code, "160 episodes" in reply.json()["error"]) == (400, True)
    monkeypatch.setattr(statistics, "MOST_EPISODES", 160)
    assert client.get("/api/statistics", params=asked).status_code == 200
    monkeypatch.setattr(statistics, "MOST_RUNS", 7)
    assert client.get("/api/statistics", params=asked).status_code == 400


def test_one_at_a_time_is_computed_and_few_wait(algorithms, look, monkeypatch):
    begun, go_on = threading.Semaphore(0), threading.Event()

    def slow(*_given, **_more):
        begun.release()
        go_on.wait()
        raise statistics.BadQuery("over")

    monkeypatch.setattr(statistics, "compare_runs", slow)
    client = look(algorithms)
    asked = {"group": [group(algorithms / "ppo"), group(algorithms / "dqn")]}
    statuses = []

    def ask():
        statuses.append(client.get("/api/statistics", params=asked).status_code)

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    begun.acquire()
    wait_until(lambda: len(statuses) == 2, "those beyond the few are refused")
    go_on.set()
    for thread in threads:
        thread.join()
    assert statuses[:2] == [429] * 2
    assert statuses[2:] == [400] * 4
