"""trackio with its own files: nothing is sent twice, and the user's run is left alone."""

from __future__ import annotations

import os
import signal

import pytest
import trackio
from syncing import EPISODES, EVERY, send_again, train, wait_sent

import offcam
from made import make_run, make_video
from offcam_runs.sync.state import read_all
from waiting import wait_until

pytestmark = [pytest.mark.integrations, pytest.mark.usefixtures("daemon")]


@pytest.fixture(autouse=True)
def _files_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    for module in (trackio.utils, trackio.sqlite_storage):
        monkeypatch.setattr(module, "TRACKIO_DIR", tmp_path / "trackio")
    monkeypatch.setattr(trackio.utils, "MEDIA_DIR", tmp_path / "trackio" / "media")


def rows(project, run):
    return trackio.sqlite_storage.SQLiteStorage.get_logs(project, run)


def test_it_is_in_a_run_beside_the_users_and_stored_once(folder, tmp_path):
    trackio.init("cartpole", name="mine", embed=False)
    returns = train(folder, "trackio", lambda episode, return_: trackio.log({"own": return_}))
    trackio.finish()
    wait_sent(folder)
    for _ in range(2):
        assert [row["own"] for row in rows("cartpole", "mine")] == returns
        found = rows("cartpole", "mine-offcam")
        assert sorted((row["offcam/episode"], row["offcam/return"]) for row in found if "offcam/return" in row) == list(
            enumerate(returns)
        )
        assert sorted(row["offcam/episode"] for row in found if "offcam/video" in row) == list(
            range(0, EPISODES, EVERY)
        )
        assert len(list((tmp_path / "trackio" / "media").rglob("*.mp4"))) == EPISODES // EVERY
        send_again(folder)


def test_it_joins_the_users_run_and_leaves_its_points_and_its_config(folder, tmp_path):
    trackio.init("cartpole", name="mine", embed=False, config={"lr": 0.5})
    trackio.log({"own": -1.0})
    wait_until(lambda: rows("cartpole", "mine"), "the user's run is there", list)
    sync = "trackio:name=mine,resume=must"
    returns = train(folder, sync, lambda episode, return_: trackio.log({"own": return_}))
    trackio.finish()
    wait_sent(folder)
    for _ in range(2):
        found = rows("cartpole", "mine")
        assert [row["own"] for row in found if "own" in row] == [-1.0, *returns]
        assert sorted((row["offcam/episode"], row["offcam/return"]) for row in found if "offcam/return" in row) == list(
            enumerate(returns)
        )
        assert len([row for row in found if "offcam/video" in row]) == EPISODES // EVERY
        assert trackio.sqlite_storage.SQLiteStorage.get_run_config("cartpole", "mine")["lr"] == 0.5
        assert [each.name for each in trackio.Api().runs("cartpole")] == ["mine"]
        send_again(folder)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ("resume=must", "say which one"),
        ("resume=must,name=mine,server_url=http://127.0.0.1:9", "for trackio's own files"),
        ("resume=never", "`must` or `allow`"),
    ],
)
def test_a_run_that_cannot_be_joined(folder, options, why):
    train(folder, f"trackio:{options}")
    wait_until(lambda: any(why in sent.state.error for sent in read_all(folder)), why, lambda: read_all(folder))


def test_what_a_killed_process_had_not_stored_is_there_once_in_the_end(tmp_path):
    """trackio stores what it was given by a thread, all at once: a batch that is noted as sent may be lost with it."""
    run = make_run(tmp_path / "run", 3000, 500, video=make_video(tmp_path / "video.mp4"))
    sending = offcam.sync(run, "trackio:project=cartpole")
    wait_until(lambda: (found := read_all(run)) and found[0].state.sent_episodes, "a batch is noted")
    os.kill(sending.pid, signal.SIGKILL)
    sending.wait()
    assert offcam.sync(run, "trackio:project=cartpole").wait()
    found = rows("cartpole", "run")
    for name, numbers in (("return", range(3000)), ("video", range(0, 3000, 500))):
        assert sorted(row["offcam/episode"] for row in found if f"offcam/{name}" in row) == list(numbers)
