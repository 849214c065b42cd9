"""Nothing here writes into the state of whoever runs the tests."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _state_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
