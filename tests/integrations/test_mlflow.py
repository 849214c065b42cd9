"""MLflow with its SQLite store: what is sent twice is stored once, and into the user's run."""

from __future__ import annotations

import os
import shutil
import signal

import mlflow
import pytest
from mlflow.tracking import MlflowClient
from syncing import EPISODES, EVERY, send_again, train, wait_sent

import offcam
from made import make_run, make_video
from waiting import wait_until

pytestmark = [pytest.mark.integrations, pytest.mark.usefixtures("daemon")]

VIDEOS = [f"offcam/rl-video-episode-{number}.mp4" for number in sorted(range(0, EPISODES, EVERY), key=str)]


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    """A store without runs: to make one takes seconds."""
    path = tmp_path_factory.mktemp("mlflow") / "empty.db"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(path.parent)  # where it will have its artifacts
        MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def client(database, tmp_path, monkeypatch):
    shutil.copy(database, tmp_path / "mlflow.db")
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    mlflow.set_tracking_uri(uri)
    yield MlflowClient(uri)
    mlflow.set_tracking_uri(None)
    mlflow.tracking._tracking_service.utils._tracking_store_registry.get_store(uri).engine.dispose()


def history(client, run_id, name):
    return sorted((each.step, each.value) for each in client.get_metric_history(run_id, name))


def test_it_is_in_the_users_run_beside_the_users_points_and_stored_once(folder, client):
    with mlflow.start_run() as run:
        returns = train(folder, "mlflow", lambda episode, return_: mlflow.log_metric("own", return_, step=episode))
        wait_sent(folder)
    run_id = run.info.run_id
    send_again(folder)
    assert history(client, run_id, "own") == list(enumerate(returns))
    assert history(client, run_id, "offcam/return") == list(enumerate(returns))
    ended = [int((each.started + each.duration) * 1000) for each in offcam.load(folder).episodes]
    told = sorted((each.step, each.timestamp) for each in client.get_metric_history(run_id, "offcam/return"))
    assert told == list(enumerate(ended))
    assert sorted(each.path for each in client.list_artifacts(run_id, "offcam")) == VIDEOS
    assert len(client.search_runs(["0"])) == 1


def test_without_a_run_of_the_users_it_has_its_own_which_ends(folder, client):
    returns = train(folder, "mlflow")
    wait_sent(folder)
    (run,) = client.search_runs(["0"])
    assert (run.info.run_name, run.info.status) == (folder.name, "FINISHED")
    assert history(client, run.info.run_id, "offcam/return") == list(enumerate(returns))


def test_each_thing_is_there_once_though_its_process_is_killed_in_the_midst(tmp_path, client):
    run = make_run(tmp_path / "run", 3000, 500, video=make_video(tmp_path / "video.mp4"))

    def stored():
        found = client.search_runs(["0"])
        return history(client, found[0].info.run_id, "offcam/return") if found else []

    sending = offcam.sync(run, "mlflow")
    wait_until(stored, "it has stored something")
    os.kill(sending.pid, signal.SIGKILL)
    sending.wait()
    assert offcam.sync(run, "mlflow").wait()
    assert [step for step, _ in stored()] == list(range(3000))
    (own,) = client.search_runs(["0"])
    there = [each.path for each in client.list_artifacts(own.info.run_id, "offcam")]
    assert sorted(there) == sorted(f"offcam/rl-video-episode-{number}.mp4" for number in range(0, 3000, 500))
