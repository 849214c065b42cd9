"""A real daemon that records a real env, watched over HTTP as a page, Prometheus and a player watch it."""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import os
import subprocess
import sys

import gymnasium as gym
import httpx
import jsonschema
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as prometheus

import offcam
from offcam_runs.format import DROP_REASONS
from offcamd.cli.query import ask_stats
from offcamd.video.probe import probe
from offcamd.web.metrics import BREACHES, ENDED_STATES
from waiting import HANG_SECONDS, wait_until


def wait_for(ask, meets):
    """What is asked over HTTP can only be asked again."""
    found = [ask()]
    wait_until(lambda: meets(found[-1]) or found.append(ask()), "an answer is as it should be", lambda: found[-1])
    return found[-1]


@pytest.fixture
def client(serve, endpoint, monkeypatch):
    """A client of a daemon of this test's own, which the wrappers of this test record with."""
    _process, ready = serve()
    monkeypatch.setenv("OFFCAM_ADDR", endpoint.url)
    url = dict(word.split("=", 1) for word in ready.split() if "=" in word)["http"]
    with httpx.Client(base_url=url, timeout=HANG_SECONDS) as found:
        yield found


def cartpole(folder, **options):
    env = gym.make("CartPole-v1", render_mode="rgb_array")
    return offcam.RecordEpisodeStatistics(offcam.RecordVideo(env, str(folder), **options))


def play(env, episodes, seed=0):
    env.action_space.seed(seed)
    returns = []
    for number in range(episodes):
        env.reset(seed=seed + number)
        for _ in itertools.count():
            _, _, terminated, truncated, info = env.step(env.action_space.sample())
            if terminated or truncated:
                returns.append(info["episode"]["r"])
                break
    return returns


def test_a_training_is_seen_while_it_goes_on_and_when_it_is_over(client, tmp_path):
    folder = tmp_path / "run"
    env = cartpole(folder, episode_trigger=lambda number: number % 2 == 0)
    returns = play(env, 4)
    run = wait_for(lambda: client.get("/api/runs").json()["runs"], lambda runs: runs and runs[0]["episodes"] >= 4)[0]
    assert (run["live"], run["folder"], run["env_id"]) == (True, str(folder), "CartPole-v1")
    stats = client.get("/api/stats").json()
    assert stats["memory"]["daemon_rss_bytes"] > 10 << 20
    (watched,) = stats["memory"]["clients"]
    assert watched["pid"] == os.getpid()
    assert watched["rss_bytes"] > 10 << 20
    assert stats["versions"]["python"].startswith(f"{sys.version_info.major}.{sys.version_info.minor}")
    assert {"av", "numpy", "pyzmq", "starlette"} <= set(stats["versions"])
    returns += play(env, 2, seed=10)
    env.close()
    url = f"/api/runs/{run['id']}"
    run = wait_for(lambda: client.get(url).json(), lambda found: not found["live"])
    assert run["episodes"] == 6
    assert run["return"]["mean"] == pytest.approx(sum(returns) / 6)
    assert run["clips"] == {"recording": 0, "final": 3, "aborted": 0, "recovered": 0}
    rows = client.get(f"{url}/episodes").json()["episodes"]
    assert [row["return"] for row in rows] == returns
    assert [row["clip"] is not None for row in rows] == [True, False] * 3
    assert client.get(f"{url}/curve").json()["mean"] == returns
    clip = client.get(f"{url}/nearest?number=2").json()["clip"]
    assert clip["return"] == returns[2]
    copy = tmp_path / "copy.mp4"
    copy.write_bytes(client.get(clip["video"]).content)
    info = probe(copy)
    assert (info.frames, info.width, info.height, info.error) == (clip["frames"], 600, 400, None)
    assert client.get(clip["poster"]).content[:2] == b"\xff\xd8"


def events_of(client, most):
    """Events of the stream as (name, value), until there were so many."""
    with client.stream("GET", "/api/events") as reply:
        assert reply.headers["content-type"].startswith("text/event-stream")
        assert reply.headers["cache-control"] == "no-store"
        name = ""
        for line in reply.iter_lines():
            if line.startswith("event: "):
                name = line.removeprefix("event: ")
            elif line.startswith("data: "):
                yield name, json.loads(line.removeprefix("data: "), parse_constant=pytest.fail)
                most -= 1
                if not most:
                    return


def test_events_tell_of_a_run_as_it_grows(client, tmp_path):
    env = cartpole(tmp_path / "run", episode_trigger=lambda _number: False)
    play(env, 1)
    episodes, snapshots, seed = [], 0, 0
    with contextlib.closing(events_of(client, 100)) as events:
        for name, value in events:
            if name == "stats":
                assert "runs" not in value
                assert value["pid"] > 0
                snapshots += 1
            else:
                assert name == "run"
                assert math.isfinite(value["return"]["mean"] or 0)
                episodes.append(value["episodes"])
                seed += 1
                play(env, 1, seed)  # each news makes the next
            if len(set(episodes)) >= 3:
                break
    assert episodes == sorted(episodes)
    assert snapshots >= 2
    env.close()


def test_who_listens_does_not_keep_the_daemon_from_leaving(serve):
    process, ready = serve()
    url = dict(word.split("=", 1) for word in ready.split() if "=" in word)["http"]
    with httpx.Client(base_url=url, timeout=HANG_SECONDS) as client, client.stream("GET", "/api/events") as reply:
        lines = reply.iter_lines()
        next(lines)
        process.terminate()
        with contextlib.suppress(httpx.RemoteProtocolError):  # or it ends the stream by itself
            for _ in lines:
                pass
    _, err = process.communicate(timeout=HANG_SECONDS)
    assert process.returncode == 0
    assert "Traceback" not in err
    assert "did not stop" not in err


def samples(families):
    return {(sample.name, *sample.labels.values()): sample.value for family in families for sample in family.samples}


def test_metrics_begin_at_zero_with_every_label_and_count(client, tmp_path):
    before = samples(prometheus(client.get("/metrics").text))
    for reason in DROP_REASONS:
        assert before["offcam_frames_dropped_total", reason] == 0
    for state in ENDED_STATES:
        assert before["offcam_clips_total", state] == 0
    for reason in BREACHES:
        assert before["offcam_refused_messages_total", reason] == 0
    for name in ("frames_offered", "frames_encoded", "episodes"):
        assert before[f"offcam_{name}_total",] == 0
    for name in ("encode", "queue_wait"):
        assert before[f"offcam_{name}_seconds_count",] == before[f"offcam_{name}_seconds_bucket", "+Inf"] == 0
    env = cartpole(tmp_path / "run", episode_trigger=lambda _number: True)
    play(env, 2)
    env.close()
    stats = wait_for(lambda: client.get("/api/stats").json(), lambda found: found["clips"]["final"] == 2)
    after = samples(prometheus(client.get("/metrics").text))
    frames = stats["frames"]["encoded"]
    assert frames > 10
    assert after["offcam_frames_encoded_total",] == after["offcam_encode_seconds_count",] == frames
    assert after["offcam_queue_wait_seconds_bucket", "+Inf"] == frames
    assert 0 < after["offcam_encode_seconds_sum",] < HANG_SECONDS
    assert after["offcam_clips_total", "final"] == after["offcam_episodes_total",] == 2
    assert after["offcam_resident_memory_bytes",] > 10 << 20
    assert set(before) == set(after)


def test_metrics_are_openmetrics_for_who_accepts_it(client):
    reply = client.get("/metrics", headers={"accept": "application/openmetrics-text; version=1.0.0"})
    assert reply.headers["content-type"].startswith("application/openmetrics-text")
    found = samples(openmetrics(reply.text))
    assert found["offcam_frames_offered_total",] == 0
    plain = client.get("/metrics")
    assert plain.headers["content-type"].startswith("text/plain")
    families = {family.name: family for family in prometheus(plain.text)}
    assert all(family.documentation for family in families.values())
    assert {family.type for family in families.values()} == {"counter", "gauge", "histogram"}


def test_buckets_add_up(client, tmp_path):
    env = cartpole(tmp_path / "run", episode_trigger=lambda _number: True)
    play(env, 1)
    env.close()
    stats = wait_for(lambda: client.get("/api/stats").json(), lambda found: found["clips"]["final"] == 1)
    for name in ("encode_seconds", "queue_wait_seconds"):
        counts = [count for _, count in stats[name]["buckets"]]
        assert counts == sorted(counts)
        assert counts[-1] <= stats[name]["count"] == stats["frames"]["encoded"]


def test_the_same_statistics_over_the_other_endpoint(client, endpoint, tmp_path):
    env = cartpole(tmp_path / "run", episode_trigger=lambda _number: True)
    play(env, 1)
    over_http, over_zmq = client.get("/api/stats").json(), ask_stats(endpoint)
    assert set(over_http) == {*over_zmq, "sync"}  # which whoever shows it reads from the folders
    for key in ("pid", "versions", "endpoint", "http", "started", "clients"):
        assert over_http[key] == over_zmq[key]
    assert over_zmq["memory"]["clients"][0]["pid"] == os.getpid()
    env.close()


def test_ready_until_it_stops(client):
    assert client.get("/readyz").status_code == 200
    assert client.get("/healthz").text == "ok"


NUMBERED = [f"/api/runs/{{id}}/{what}" for what in ("nearest", "episodes/render", "episodes/steps")]


def test_answers_are_as_described(client, tmp_path):
    env = cartpole(tmp_path / "run", episode_trigger=lambda number: number == 0)
    play(env, 2)
    env.reset()
    document = client.get("/openapi.json").json()
    wait_for(lambda: client.get("/api/runs").json()["runs"], lambda runs: runs and runs[0]["episodes"] == 2)
    wait_for(lambda: client.get("/api/stats").json(), lambda found: found["clips"]["final"] == 1)
    run = client.get("/api/runs").json()["runs"][0]["id"]
    key = client.get(f"/api/runs/{run}/clips").json()["clips"][0]["key"]
    checked = 0
    for path, item in document["paths"].items():
        if "get" not in item:  # what changes something: tests/web/test_pinned_clips.py, test_animations_made.py
            continue
        answer = item["get"]["responses"]["200"]["content"]
        numbered = dict.fromkeys(NUMBERED, "?number=1")
        compared = f"?group=one:{run}&group=other:{run}"
        query = {"/api/group": f"?ids={run}", "/api/statistics": compared, **numbered}.get(path, "")
        if path == "/api/events" or path.endswith("/live"):  # of what is being recorded: tests/web/test_live_video.py
            continue
        reply = client.get(path.format(id=run, key=key, number=1) + query)
        assert reply.status_code == 200, path
        (media_type,) = answer
        assert reply.headers["content-type"].partition(";")[0] == media_type
        if media_type == "application/json":
            schema = {"$ref": f"#/paths/{path.replace('/', '~1')}/get/responses/200/content/application~1json/schema"}
            jsonschema.validate(reply.json(), {**document, **schema})
            checked += 1
    assert checked == 16
    env.close()


def test_steps_that_are_not_written_are_said_everywhere(client, folder, offcam_command):
    env = offcam.RecordVideo(gym.make("CartPole-v1"), folder, lambda _: False, source="replay", steps_limit=1)
    for _ in range(100):
        env.reset()
        for _ in range(30):
            env.step(0)
    env.close()
    dropped = offcam.load(folder).step_totals.dropped
    assert list(dropped) == ["limit"]
    stats = client.get("/api/stats").json()
    assert stats["steps"]["dropped"] == dropped
    assert json.loads(offcam_command("status", "--json").stdout)["steps"] == stats["steps"]
    assert f"rows dropped: {dropped['limit']:,} limit" in offcam_command("status").stdout
    assert f'offcam_steps_dropped_total{{reason="limit"}} {float(dropped["limit"])}' in client.get("/metrics").text
    assert client.get("/api/runs").json()["runs"][0]["dropped_steps"] == dropped


def test_nothing_of_the_page_is_loaded_before_it_is_ready(tmp_path):
    modules = "offcamd.daemon.service, offcamd.web.server, offcamd.daemon.run_source, offcamd.web.source"
    code = f"import sys, {modules}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"starlette", "uvicorn", "prometheus_client", "anyio", "psutil", "offcam_runs.analysis"} & set(loaded)
