"""Episodes that nobody rendered become videos because somebody who looks asks over HTTP."""

from __future__ import annotations

import gymnasium as gym
import httpx
import jsonschema
import pytest

import films
import offcam
from envs import play
from offcam_runs.discover import run_id
from offcam_runs.run import read_run
from offcamd.web.openapi import description
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
    env = offcam.record(gym.make("CartPole-v1"), folder, source="replay", episode_trigger=lambda _: False)
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
    assert client.post(url).json() == done  # it is there
    assert len(read_run(folder).clips) == 1
    document = description()
    for answer in (before, done):
        jsonschema.validate(answer, {**document, "$ref": "#/components/schemas/Rendering"})


def test_one_that_does_not_happen_again_stays_known_with_its_reason(client, folder, look):
    env = offcam.record(gym.make("CartPole-v1"), folder, source="replay", episode_trigger=lambda _: False)
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
