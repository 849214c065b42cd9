"""The Hugging Face Hub's own package against a stand-in for the Hub: what is in the repository then."""

from __future__ import annotations

import csv
import io
from types import SimpleNamespace

import hub as stand_in
import pytest
import tqdm
from huggingface_hub import ModelCard, close_session, constants
from syncing import EPISODES, EVERY, send_again, train, wait_sent

import commandline
import offcam
from made import make_run, make_video
from offcam.sync.core import Position, after_clip, after_episodes
from offcam.sync.index import facts_of, look
from offcam.sync.sinks import hub as sink
from offcam.sync.worker import SyncWorker
from offcam_proto.errors import ConfigError
from offcam_runs.sync.process import SyncRequest
from offcam_runs.sync.state import read_all

pytestmark = [pytest.mark.integrations, pytest.mark.usefixtures("daemon")]

TO = "hub:repo=me/agents"
VIDEOS = [f"run/rl-video-episode-{number}.mp4" for number in range(0, EPISODES, EVERY)]
OTHERS = ["README.md", "run/README.md", "run/episodes.csv"]


@pytest.fixture
def hub(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("HF_TOKEN", "hf_of_the_test")
    monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")  # its uploads are spoken by a library of its own, to other servers
    monkeypatch.setenv("HF_HUB_DISABLE_TELEMETRY", "1")
    with stand_in.running() as found:
        monkeypatch.setenv("HF_ENDPOINT", found.url)
        monkeypatch.setattr(constants, "ENDPOINT", found.url)  # in this process it was read before
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(tqdm.tqdm, "monitor_interval", 0)  # its thread would stay
        template = found.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        yield found
        close_session()  # this process's connections


def test_a_run_is_a_folder_of_the_repository_and_is_uploaded_once(folder, hub):
    returns = train(folder, TO)
    state = wait_sent(folder)
    assert state.where == f"{hub.url}/datasets/me/agents/tree/main/run"
    assert sorted(hub.files) == sorted(VIDEOS + OTHERS)
    assert [hub.files[name] for name in VIDEOS] == [(folder / name[4:]).read_bytes() for name in VIDEOS]
    rows = list(csv.DictReader(io.StringIO(hub.files["run/episodes.csv"].decode())))
    assert [(int(row["episode"]), float(row["return"])) for row in rows] == list(enumerate(returns))
    assert f"| episodes | {EPISODES} |" in hub.files["run/README.md"].decode()
    assert hub.files["README.md"].startswith(b"---\ntags:\n- reinforcement-learning\n")
    assert [(made["name"], made["organization"], made["type"]) for made in hub.made] == [("agents", "me", "dataset")]
    commits, uploads = len(hub.commits), hub.uploads
    assert (commits, uploads) == (1, len(VIDEOS))
    send_again(folder)
    assert (len(hub.commits), hub.uploads) == (commits, uploads), "nothing has changed"


def test_what_the_repository_has_of_its_owner_is_left_alone(tmp_path, hub):
    hub.files |= {"README.md": b"mine", "model.zip": b"weights"}
    run = make_run(tmp_path / "run", 3, 1, video=make_video(tmp_path / "video.mp4"))
    assert offcam.sync(run, "hub", repo="me/agents", type="model", folder="videos/ppo").wait()
    assert (hub.files["README.md"], hub.files["model.zip"]) == (b"mine", b"weights")
    names = [*(f"rl-video-episode-{number}.mp4" for number in range(3)), "README.md", "episodes.csv"]
    assert hub.commits == [sorted(f"videos/ppo/{name}" for name in names)]


def test_a_model_s_own_card_has_its_return_and_beside_it_is_the_newest_video(tmp_path, hub):
    run = make_run(tmp_path / "run", 3, 1, video=make_video(tmp_path / "video.mp4"))
    assert offcam.sync(run, "hub", repo="me/agents", type="model").wait()
    (result,) = ModelCard(hub.files["README.md"].decode()).data.eval_results
    assert (result.task_type, result.dataset_name, result.metric_type) == (
        "reinforcement-learning", "CartPole-v1", "mean_reward",
    )  # fmt: skip
    returns = offcam.load(run).episodes.return_
    mean, _, std = result.metric_value.partition(" +/- ")
    assert [float(mean), float(std)] == pytest.approx([returns.mean(), returns.std()], abs=0.005)
    assert hub.files["replay.mp4"] == (run / "rl-video-episode-2.mp4").read_bytes()


def test_a_commit_that_is_refused_is_made_by_the_next_one(tmp_path, hub):
    hub.to_refuse = [500, 429, 502]
    run = make_run(tmp_path / "run", 3, 1, video=make_video(tmp_path / "video.mp4"))
    process = offcam.sync(run, TO)
    assert process.wait()
    state = wait_sent(run)
    assert state.failures >= 1
    assert len(hub.commits) == 1
    assert (state.sent_episodes, state.sent_clips) == (3, 3)


@pytest.mark.parametrize("status", [401, 403])
def test_a_wrong_token_is_said_at_once_and_with_the_right_one_it_goes_on(tmp_path, hub, status):
    hub.to_refuse = [status]
    run = make_run(tmp_path / "run", 3, 1, video=make_video(tmp_path / "video.mp4"))
    done = commandline.run("sync", str(run), "--to", TO)
    assert done.returncode == 2
    assert f"'hub' refuses it with HTTP {status}: " in done.stderr
    assert "run `hf auth login`" in done.stderr
    assert (hub.to_refuse, hub.commits) == ([], []), "asked once"
    (found,) = read_all(run)
    assert (found.state.failures, found.state.over) == (0, False)
    assert f"HTTP {status}" in found.state.error
    assert offcam.sync(run, TO).wait()
    assert len(hub.commits) == 1


def test_commits_are_made_by_time_too_and_with_the_episodes_less_often(tmp_path, hub, monkeypatch):
    now = SimpleNamespace(seconds=0.0)
    monkeypatch.setattr(sink, "time", SimpleNamespace(monotonic=lambda: now.seconds))
    facts = facts_of(str(make_run(tmp_path / "run", 3, 1, video=make_video(tmp_path / "video.mp4"))), None)
    found, position = sink.Tracker(facts, {"repo": "me/agents"}, {}), Position()
    for seconds in (0.0, 1.0, sink.BETWEEN_SECONDS, sink.BETWEEN_TABLES_SECONDS):
        now.seconds = seconds
        there = look(facts, position)
        found.send(there.batch)
        position = after_clip(position, there.rows, there.row) if there.row else after_episodes(position, there.batch)
    first, second, third = (f"run/rl-video-episode-{number}.mp4" for number in range(3))
    assert hub.commits == [[first, second], sorted([third, *OTHERS])]
    found.finish()
    assert len(hub.commits) == 2, "nothing is left"


def test_many_videos_are_several_commits(tmp_path, hub, monkeypatch):
    run = make_run(tmp_path / "run", sink.MOST_FILES + 3, 1, video=make_video(tmp_path / "video.mp4"))
    assert offcam.sync(run, TO).wait()
    assert [len(paths) for paths in hub.commits] == [sink.MOST_FILES, 3 + len(OTHERS)]
    assert hub.uploads == sink.MOST_FILES, "what it has in another file is not uploaded"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, "hub:repo=me/cartpole"),
        ({"repo": "me/x", "type": "space"}, "'space'"),
        ({"repo": "me/x", "private": "maybe"}, "'maybe'"),
        ({"repo": "me/x", "folder": "../x"}, "is no folder"),
    ],
)
def test_mistakes_are_said(tmp_path, hub, options, says):
    run = make_run(tmp_path / "run", 3, 0)
    with pytest.raises(ConfigError, match=says):
        SyncWorker(SyncRequest(folder=str(run), tracker="hub", options=options)).run()
    assert hub.made == []
