"""W&B online, with a stand-in for its backend: what arrives there, also where it refuses or is away for a while."""

from __future__ import annotations

import importlib
import os
import signal
import sys
from pathlib import Path

import gymnasium as gym
import pytest
import wandb
import wandb_backend as stand_in
from syncing import EPISODES, EVERY, play_logged, send_again, train, wait_sent

import commandline
import offcam
from commandline import WAIT_SECONDS
from films import clips, shots
from made import make_run, make_video
from offcam.integrations import wandb as adapter
from offcam.sync.core import Position
from offcam.sync.index import facts_of, look
from offcam_runs.sync.state import read_all
from waiting import wait_until

pytestmark = [pytest.mark.integrations, pytest.mark.usefixtures("daemon")]

TO = "wandb:project=cartpole"
MADE, MADE_EVERY = 10, 2
VIDEOS = MADE // MADE_EVERY
LINES = MADE + VIDEOS
REFUSED = [401] * 100


@pytest.fixture
def backend(tmp_path, monkeypatch):
    (tmp_path / "files").mkdir()
    variables = {"MODE": "online", "SILENT": "true", "DIR": str(tmp_path / "files"), "ERROR_REPORTING": "false"}
    with stand_in.running() as found:
        for name, value in {**variables, "API_KEY": stand_in.KEY, "BASE_URL": found.url}.items():
            monkeypatch.setenv(f"WANDB_{name}", value)
        yield found
        wandb.teardown()


@pytest.fixture
def made(tmp_path):
    return make_run(tmp_path / "run", MADE, MADE_EVERY, video=make_video(tmp_path / "video.mp4"))


def all_there(backend, folder):
    """Require all of a made run's lines, once each and in order, and each video's bytes."""
    run = backend.run_for("offcam")
    assert [line["_step"] for line in run.lines] == list(range(LINES))
    assert [number for number, _ in run.column("offcam/return", "offcam/episode")] == list(range(MADE))
    recorded = {number: folder / f"rl-video-episode-{number}.mp4" for number in range(0, MADE, MADE_EVERY)}
    assert run.videos("offcam/video") == {number: path.read_bytes() for number, path in recorded.items()}
    assert run.complete


def decoded(data, folder):
    """How many pictures a video has, as it was uploaded."""
    path = folder / "uploaded.mp4"
    path.write_bytes(data)
    return len(list(shots(path)))


def test_a_training_is_a_run_beside_the_users_with_each_video(folder, backend, tmp_path):
    run = wandb.init(project="cartpole", name="mine")
    returns = train(folder, "wandb", lambda episode, return_: run.log({"own": return_}, step=episode + 1))
    run.finish()
    wait_sent(folder)
    assert backend.run_for("").column("own") == list(enumerate(returns, 1))
    sent = backend.run_for("offcam")
    assert (sent.project, sent.group, sent.title, sent.complete) == ("cartpole", run.id, "mine-offcam", True)
    assert sent.column("offcam/return", "offcam/episode") == list(enumerate(returns))
    videos = sent.videos("offcam/video")
    assert list(videos) == list(range(0, EPISODES, EVERY))
    for number, data in videos.items():
        name = f"rl-video-episode-{number}.mp4"
        assert data == (folder / name).read_bytes()
        assert decoded(data, tmp_path) == clips(folder)[name].frames


def test_in_the_users_own_run_each_step_of_theirs_is_there_and_each_video(folder, backend, tmp_path):
    run = wandb.init(project="cartpole")
    env = adapter.record(gym.make("CartPole-v1", render_mode="rgb_array"), folder, every=2)

    def log(episode, return_):
        env.wait_video(WAIT_SECONDS)  # so that each is there before the next step
        run.log({"own": return_}, step=episode + 1)

    returns = play_logged(env, 8, log)
    env.close()
    run.finish()
    found = backend.run_for("")
    assert found.column("own") == list(enumerate(returns, 1))
    shown = [video["path"] for _, video in found.column("offcam/video")]
    shown += [path for _, videos in found.column("offcam/videos") for path in videos["filenames"]]
    recorded = [clip.frames for clip in clips(folder).values()]
    assert len(shown) == 4
    assert sorted(decoded(found.files[path], tmp_path) for path in shown) == sorted(recorded)


def test_sent_again_it_is_there_once(made, backend):
    assert offcam.sync(made, TO).wait()
    all_there(backend, made)
    uploaded = backend.asked.count("file")
    send_again(made)
    all_there(backend, made)
    of_its_own = 4  # settings and the like, of each time
    assert backend.asked.count("file") == uploaded + of_its_own


@pytest.mark.parametrize(
    "refuses",
    [
        {"RunResumeStatus": [stand_in.AWAY, 500]},
        {"RunResumeStatus": [404]},
        {"UpsertBucket": [500]},
        {"CreateRunFiles": [stand_in.AWAY, 500]},
        {"lines": [stand_in.AWAY, 500]},
        {"lines": [404]},
        {"file": [stand_in.AWAY, 500]},
        {"file": [403] * (LINES + MADE)},
        {"Run": [404]},
    ],
    ids=str,
)
def test_what_is_refused_for_a_while_is_there_in_the_end(made, backend, refuses):
    backend.refuses |= refuses
    assert offcam.sync(made, TO).wait()
    all_there(backend, made)
    assert not any(backend.refuses.values())


def test_a_wrong_key_is_said_at_once_and_with_the_right_one_it_goes_on(made, backend, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "f" * 40)
    done = commandline.run("sync", str(made), "--to", TO)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "'wandb' refuses it with HTTP 401: " in line
    assert "run `wandb login`, or set WANDB_API_KEY" in line
    assert backend.asked == ["RunResumeStatus"], "asked once"
    monkeypatch.setenv("WANDB_API_KEY", stand_in.KEY)
    assert offcam.sync(made, TO).wait()
    all_there(backend, made)


def test_a_key_that_is_revoked_meanwhile_is_said_and_nothing_counts_as_sent(made, backend):
    backend.refuses |= {"lines": REFUSED, "Run": REFUSED}
    done = commandline.run("sync", str(made), "--to", TO)
    assert done.returncode == 2
    assert "'wandb' refuses it with HTTP 401: " in done.stderr
    (found,) = read_all(made)
    assert (found.state.sent_episodes, found.state.behind_episodes, found.state.behind_clips) == (0, MADE, VIDEOS)
    backend.refuses.clear()
    assert offcam.sync(made, TO).wait()
    all_there(backend, made)


def test_lines_that_are_elsewhere_as_those_of_offline_mode_are_not_missed(made, backend):
    facts = facts_of(str(made), None)
    found = importlib.import_module("offcam.sync.sinks.wandb").Tracker(facts, {"project": "cartpole"}, {"step": 5})
    assert found.send(look(facts, Position()).batch) == {"step": 5 + MADE}
    found.finish()
    assert [line["_step"] for line in backend.run_for("offcam").lines] == list(range(5, 5 + MADE))


def test_without_a_key_it_says_so(made, backend, monkeypatch, tmp_path):
    monkeypatch.delenv("WANDB_API_KEY")
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    done = commandline.run("sync", str(made), "--to", TO)
    assert (done.returncode, backend.asked) == (2, [])
    assert "No API key configured. Use `wandb login` to log in." in done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="a process's children are read from /proc")
@pytest.mark.parametrize("whole", [False, True], ids=["wandb's own process", "the sender, too"])
def test_what_is_killed_before_the_videos_are_there_loses_none(made, backend, whole):
    backend.refuses["file"] = [500] * 1000
    process = offcam.sync(made, TO)
    wait_until(lambda: [len(run.lines) for run in backend.runs.values()] == [LINES], "the lines are there")
    core = wandb_core(process.pid)
    if whole:
        os.kill(process.pid, signal.SIGKILL)
        assert not process.wait()
    os.kill(core, signal.SIGKILL)
    assert not backend.run_for("offcam").files
    backend.refuses.clear()
    assert offcam.sync(made, TO).wait() if whole else process.wait()
    all_there(backend, made)


def wandb_core(sender):
    """The pid of W&B's own process that a sender has."""
    children = Path(f"/proc/{sender}/task/{sender}/children").read_text().split()
    (found,) = (int(pid) for pid in children if "wandb-core" in Path(f"/proc/{pid}/cmdline").read_text())
    return found
