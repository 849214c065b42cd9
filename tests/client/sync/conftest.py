"""A state of its own for each test, a tracker of another package or in memory, and a place in an object store."""

from __future__ import annotations

import os

import pytest

from made import make_video
from moody import MoodyTracker, plug
from offcam.sync import worker
from offcam.sync.sinks import memory


@pytest.fixture(autouse=True)
def _state_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def tracker(tmp_path, monkeypatch):
    package = tmp_path / "plugged"
    plug(package)
    monkeypatch.syspath_prepend(package)
    monkeypatch.setenv(
        "PYTHONPATH", os.pathsep.join([str(package), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    )
    found = MoodyTracker(tmp_path / "tracker")
    yield found
    found.kill()  # of a test that failed


@pytest.fixture
def url(tmp_path):
    return f"file://{tmp_path}/objects/run"


@pytest.fixture
def video(tmp_path):
    return make_video(tmp_path / "video.mp4")


@pytest.fixture
def sent(monkeypatch):
    """What the sink in memory is sent."""
    monkeypatch.setattr(memory.Tracker, "sent", [])
    monkeypatch.setattr(memory.Tracker, "to_raise", [])
    monkeypatch.setattr(worker, "wait_seconds", lambda failures, spread: 0.0)
    return memory.Tracker.sent
