"""A state of its own for each test, a tracker of another package, and a place in an object store."""

from __future__ import annotations

import os

import pytest

from made import make_video
from moody import MoodyTracker, plug


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
