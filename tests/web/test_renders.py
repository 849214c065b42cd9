"""Episodes that nobody rendered become videos because somebody who looks asks over HTTP."""

from __future__ import annotations

import contextlib
import os

import gymnasium as gym
import httpx
import jsonschema
import pytest

import films
import offcam
from envs import play
from offcam_runs.database import open_to_read
from offcam_runs.run import read_run
from offcam_runs.run_ids import run_id
from offcam_runs.steps.places import totals
from offcamd.web.openapi import description
from triggers import never
from waiting import HANG_SECONDS, wait_until

pytest.importorskip("xxhash")


@pytest.fixture
def client(serve, endpoint, monkeypatch):
    """A client of a daemon of this test's own, that is on the page which it serves."""
    _process, ready = serve()
    monkeypatch.setenv("OFFCAM_ADDR", endpoint.url)
    url = dict(word.split("=", 1) for word in ready.split() if "=" in word)["http"]
    with httpx.Client(base_url=url, timeout=HANG_SECONDS, headers={"origin": url}) as found:
        yield found


def record(folder, episodes=3):
    env = offcam.record(gym.make("CartPole-v1"), folder, source="replay", episode_trigger=never)
    play(env, episodes, seed=3)
    env.close()


def ended(client, url):
    answers = []

    def over():
        answers.append(client.get(url).raise_for_status().json())
        return answers[-1]["state"] in ("done", "failed")

    wait_until(over, "it was rendered, or cannot be", lambda: answers[-1:])
    return answers[-1]


def test_one_that_is_asked_for_is_rendered_once(client, folder):
    record(folder)
    run = f"/api/runs/{run_id(folder)}"
    url = f"{run}/episodes/render?number=1"
    assert client.get(run).raise_for_status().json()["replayable"]
    before = client.get(url).json()
    assert (before["state"], before["clip"], before["replayable"]) == ("none", None, True)
    assert before["command"] == f"offcam render {folder} --episode 1"
    assert read_run(folder).clips == ()  # to look changes nothing

    asked = client.post(url)
    assert asked.status_code == 200, asked.text
    assert asked.json()["state"] in ("waiting", "rendering")
    done = ended(client, url)
    assert (done["state"], done["why"]) == ("done", None)
    (clip,) = read_run(folder).clips
    assert (clip.episode, done["clip"]) == (1, f"{clip.stream_id}-{clip.clip}")
    films.check(folder)
    assert client.get(f"{run}/clips/{done['clip']}/video").status_code == 200
    shown = client.get(f"{run}/clips/{done['clip']}").json()
    assert (shown["verified"], shown["diverged_at"], shown["diverged_why"]) == (True, None, None)
    steps = client.get(f"{run}/clips/{done['clip']}/steps").json()  # the ones that it was made of
    assert (steps["complete"], steps["found"], steps["time"][:2]) == (True, shown["length"] + 1, [0, 0.02])
    assert client.post(url).json() == done  # it is there
    assert len(read_run(folder).clips) == 1
    document = description()
    for answer in (before, done):
        jsonschema.validate(answer, {**document, "$ref": "#/components/schemas/Rendering"})


def test_one_that_does_not_happen_again_stays_known_with_its_reason(client, folder, look):
    env = offcam.record(gym.make("CartPole-v1"), folder, source="replay", episode_trigger=never)
    play(env, 1, seed=3)
    env.unwrapped.gravity = 5.0  # which is on no tape
    play(env, 1, seed=4)
    env.close()
    run = f"/api/runs/{run_id(folder)}"
    url = f"{run}/episodes/render?number=1"
    assert client.post(url).status_code == 200
    failed = ended(client, url)
    assert (failed["state"], failed["clip"], failed["diverged_at"]) == ("failed", None, 1)
    assert failed["why"].startswith("it did not happen again: observation, reward or flags")
    assert client.get(f"{run}/clips").json()["total"] == 0  # it is no video
    assert sum(client.get(run).json()["clips"].values()) == 0
    (clip,) = read_run(folder).clips
    assert (clip.verified, clip.diverged_at) == (False, 1)
    other = look(folder)  # who was not there asks the run
    assert other.get(url).json() == failed
    assert not other.get(f"{run}/episodes/render?number=0").json()["why"]


def test_of_several_envs_in_a_run_it_is_the_one_that_was_asked_for(client, folder):
    envs = [offcam.record(gym.make("CartPole-v1"), folder, source="replay", episode_trigger=never) for _ in range(2)]
    for seed, env in enumerate(envs):
        play(env, 2, seed=10 * seed)
    for env in envs:
        env.close()
    wanted = read_run(folder).episodes[3]
    url = f"/api/runs/{run_id(folder)}/episodes/render?number=3"
    stream = read_run(folder).streams[wanted.stream].stream
    answer = client.post(url).json()
    assert (answer["stream"], answer["episode"]) == (stream, wanted.episode)
    assert answer["command"].endswith(f" --stream {stream}")
    assert ended(client, url)["state"] == "done"
    run = read_run(folder)
    (clip,) = run.clips
    assert run.streams[clip.stream].replays == stream


@pytest.fixture
def stuck(client, folder, tmp_path, monkeypatch):
    """The run of an env that will hang, and the file that has the pids of those in which it does."""
    gym.register("Stuck-v0", "stuck_env:Stuck")
    env = offcam.record(gym.make("Stuck-v0"), folder, source="replay", episode_trigger=never)
    play(env, 4)
    env.close()
    gym.registry.pop("Stuck-v0")
    monkeypatch.setenv("STUCK", str(tmp_path / "pids"))
    return tmp_path / "pids"


def test_it_is_told_how_far_one_is(stuck, client, folder, tmp_path, monkeypatch, look):
    monkeypatch.delenv("STUCK")
    monkeypatch.setenv("GATE", str(tmp_path / "gate"))
    here = look(folder)
    here.headers["origin"] = str(here.base_url)
    url = f"/api/runs/{run_id(folder)}/episodes/render?number=0"
    assert here.get(url).json()["percent"] is None
    assert here.post(url).json()["percent"] is None  # it is not known yet how it happens again
    wait_until(lambda: here.get(url).json()["percent"] == 40, "the first three pictures of six are made")
    halfway = here.get(url).json()
    assert halfway["state"] == "rendering"
    (tmp_path / "gate").touch()
    done = ended(here, url)
    assert (done["state"], done["percent"]) == ("done", None)
    document = description()
    jsonschema.validate(halfway, {**document, "$ref": "#/components/schemas/Rendering"})


def test_the_newest_episode_of_a_training_that_goes_on(client, folder):
    env = offcam.record(gym.make("CartPole-v1"), folder, source="replay", episode_trigger=never)
    play(env, 2, seed=3)
    env.reset()
    env.step(0)
    run = f"/api/runs/{run_id(folder)}"
    url = f"{run}/episodes/render?number=1"
    wait_until(lambda: client.get(url).status_code == 200, "its end is in the index")
    wait_until(lambda: client.get(run).json()["replayable"], "the run is known to have a tape")
    found = client.get(url).json()
    assert (found["state"], found["replayable"], found["why"]) == ("none", True, None)
    assert run_steps(folder) == 0  # all are with the training
    assert client.post(url).status_code == 200
    done = ended(client, url)
    assert (done["state"], done["why"]) == ("done", None)
    (clip,) = read_run(folder).clips
    assert (clip.episode, clip.verified, clip.length) == (1, True, read_run(folder).episodes[1].length)
    assert run_steps(folder) == 0  # nor had it to send them for that
    env.close()
    assert offcam.load(folder).steps(1).complete


def run_steps(folder):
    with open_to_read(folder, session="all") as database:
        return totals(database).rows


def test_one_that_was_recorded_otherwise(client, folder):
    env = offcam.RecordVideo(gym.make("CartPole-v1", render_mode="rgb_array"), folder, never, steps=True)
    env = offcam.RecordEpisodeStatistics(env)
    play(env, 1)
    env.close()
    url = f"/api/runs/{run_id(folder)}/episodes/render?number=0"
    refused = client.post(url)
    assert refused.status_code == 409
    assert "source='replay'" in refused.json()["error"]
    assert not client.get(f"/api/runs/{run_id(folder)}").json()["replayable"]
    assert client.post(url.replace("number=0", "number=1")).status_code == 404
    assert client.post(url.replace("number=0", "number=x")).status_code == 400


def is_gone(pid):
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 0)
        return False
    return True


def test_it_has_its_time_and_a_queue_has_an_end(stuck, folder, look, monkeypatch):
    monkeypatch.setattr("offcamd.web.renders.MOST_WAITING", 1)
    here = look(folder)
    here.headers["origin"] = str(here.base_url)
    url = f"/api/runs/{run_id(folder)}/episodes/render?number="
    asked = here.post(f"{url}0")
    assert asked.status_code == 200, asked.text
    assert asked.json()["state"] in ("waiting", "rendering")
    wait_until(lambda: stuck.exists() and stuck.read_text(), "it hangs")
    assert here.get(f"{url}0").json()["state"] == "rendering"
    waiting = here.post(f"{url}1").json()
    assert (waiting["state"], waiting["ahead"]) == ("waiting", 1)
    assert here.post(f"{url}1").json() == waiting  # once is enough
    refused = here.post(f"{url}2")
    assert refused.status_code == 429
    assert "1 episodes wait" in refused.json()["error"]
    (pid,) = map(int, stuck.read_text().split())
    monkeypatch.delenv("STUCK")  # for the next one
    monkeypatch.setattr("offcamd.web.renders.RENDER_SECONDS", 0.0)
    failed = ended(here, f"{url}0")
    assert (failed["state"], failed["why"]) == ("failed", "it took longer than 0 s")
    wait_until(lambda: is_gone(pid), "the process that hung has left")
    monkeypatch.setattr("offcamd.web.renders.RENDER_SECONDS", 600.0)
    if ended(here, f"{url}1")["state"] == "failed":  # its time was over, too
        assert here.post(f"{url}1").status_code == 200  # again
    assert ended(here, f"{url}1")["state"] == "done"
