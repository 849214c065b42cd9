"""What the API and the metrics say of runs that are sent to trackers."""

from __future__ import annotations

import time

import jsonschema
import pytest

from made import make_run
from offcam_runs.file_lock import FileLock
from offcam_runs.run_ids import run_id
from offcam_runs.sync.state import SyncState, file_of, lock_of, read_all, write_state
from offcamd.web.metrics import sync_metrics
from offcamd.web.openapi import description


@pytest.fixture
def sent(tmp_path):
    """A run that is sent to two places, of which one is behind."""
    folder = make_run(tmp_path / "run", 3, 0)
    behind = SyncState(
        tracker="wandb", options={"project": "x"}, session=1, created="1", where="here", sent_episodes=2,
        behind_episodes=1, behind_since=time.time() - 60, failures=4, evicted_bytes=7,
        error="HTTP Error 500", error_at=5.0,
    )  # fmt: skip
    for state in (behind, SyncState(tracker="mlflow", options={}, session=1, created="1", failures=1, over=True)):
        file = file_of(folder, state.tracker, 1, state.options)
        file.parent.mkdir(exist_ok=True)
        write_state(file, state)
    return folder


def test_a_run_says_how_far_it_was_sent(sent, look):
    base = f"/api/runs/{run_id(sent)}"
    found = look(sent).get(base).json()
    mlflow, wandb = found["sync"]
    assert (mlflow["tracker"], mlflow["over"], mlflow["lag_seconds"], mlflow["working"]) == ("mlflow", True, 0, False)
    assert (wandb["behind_episodes"], wandb["failures"], wandb["error"]) == (1, 4, "HTTP Error 500")
    assert wandb["lag_seconds"] >= 60
    document = description()
    jsonschema.validate(found, {**document, "$ref": "#/components/schemas/RunDetail"})
    assert look(sent).get("/api/runs").json()["runs"][0]["sync"] == read_back(sent)


def read_back(folder):
    return [
        {**each.as_dict(), "lag_seconds": pytest.approx(each.as_dict()["lag_seconds"], abs=30)}
        for each in read_all(folder)
    ]


def test_the_metrics_have_it_of_all_runs_together(sent):
    lock = FileLock.take(lock_of(read_all(sent)[1].file), 0o644)
    try:
        stats = {"runs": [{"folder": str(sent)}, {"folder": "/nowhere"}]}
        found = {family.name: family.samples[0].value for family in sync_metrics(stats["runs"])}
    finally:
        lock.release()
    assert (found["offcam_sync_workers"], found["offcam_sync_failing"]) == (1, 1)
    assert found["offcam_sync_lag_seconds"] >= 60
    assert (found["offcam_sync_behind_episodes"], found["offcam_sync_failures"]) == (1, 5)
    assert found["offcam_sync_evicted_bytes"] == 7
